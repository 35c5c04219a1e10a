"""Quantities as people write them: durations, sizes, percentages and stages. The only parsers."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Literal

NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_BYTES = {
    "B": 1.0,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
}
DURATION = r"(?=[0-9])" + "".join(rf"(?:\s*{NUMBER}\s*{unit})?" for unit in _SECONDS)
"""A duration: ``10m``, ``3m30s``, ``1h30m``; the units fall, each at most once."""
SIZE = rf"{NUMBER}\s*({'|'.join(_BYTES)})"
PERCENTAGE = rf"{NUMBER}\s*%"
NUMBER_ALONE = r"-?[0-9]+(?:\.[0-9]+)?"
STAGE = r"(?:canary-)?(100|[1-9][0-9]?)\s?%?"
"""A stage: ``10``, ``10%`` or ``canary-10``."""


def parse_seconds(text: Any) -> float:
    """Seconds from text such as ``10m`` or ``3m30s``; a ``float`` (already parsed) passes.

    Raises ValueError if a unit is missing or unknown.
    """
    if isinstance(text, float):
        return text
    found = re.fullmatch(DURATION, text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(
            f"{_quoted(text)} needs a number with one of the units {', '.join(_SECONDS)}, "
            "such as 10m or 1h30m"
        )
    units = zip(found.groups(), _SECONDS.values(), strict=True)
    return sum(float(number) * seconds for number, seconds in units if number is not None)


def parse_bytes(text: Any) -> float:
    """Bytes from text such as ``2.5GB``; a ``float`` passes. Raises as `parse_seconds`."""
    if isinstance(text, float):
        return text
    found = re.fullmatch(SIZE, text) if isinstance(text, str) else None
    if found is None:
        known = ", ".join(_BYTES)
        raise ValueError(
            f"{_quoted(text)} needs a number with one of the units {known}, such as 2.5GB"
        )
    return float(found[1]) * _BYTES[found[2]]


def parse_percentage(text: Any) -> float:
    """1.5 from ``150%``; a ``float`` (already a share) passes.

    A bare whole number is refused: ``2`` could mean 2 % or 200 %.
    """
    if isinstance(text, float):
        return text
    found = re.fullmatch(PERCENTAGE, text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{_quoted(text)} needs a percentage, such as 0.5%")
    return float(Decimal(found[1]) / 100)


def parse_share(text: Any) -> float:
    """A share between 0 and 1 from text such as ``2%``; otherwise as `parse_percentage`."""
    share = parse_percentage(text)
    if not 0 <= share <= 1:
        raise ValueError(f"{_quoted(text)} is not between 0% and 100%")
    return share


def complement(share: float) -> float:
    """What is missing to 100 %, as exact as the share is written: 10 % for 90 %."""
    return float(1 - Decimal(repr(share)))


Unit = Literal["bytes", "seconds", "count", "share"]


def parse_amount(text: Any) -> tuple[float, Unit]:
    """A number and its unit from ``2.5GB``, ``30s``, ``80%`` or ``200`` (a plain number).

    A percentage may exceed 100 %. Raises ValueError for anything else.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return float(text), "count"
    if isinstance(text, str):
        if re.fullmatch(PERCENTAGE, text):
            return parse_percentage(text), "share"
        if re.fullmatch(NUMBER_ALONE, text):
            return float(text), "count"
        if re.fullmatch(SIZE, text):
            return parse_bytes(text), "bytes"
        if re.fullmatch(DURATION, text):
            return parse_seconds(text), "seconds"
    raise ValueError(
        f"{_quoted(text)} needs a number, alone or with a unit, such as 2.5GB, 30s, 80% or 200"
    )


def parse_stage(text: str) -> int:
    """The weight of ``10``, ``10%`` or ``canary-10``. Raises ValueError for anything else."""
    found = re.fullmatch(STAGE, text.strip())
    if found is None:
        raise ValueError(f"{_quoted(text)} is not a stage: a percentage from 1 to 100, such as 10")
    return int(found[1])


def parse_stages(text: str) -> tuple[int, ...]:
    """The weights of a list such as ``1,10,100``. Raises ValueError as `parse_stage`."""
    return tuple(parse_stage(part) for part in text.split(","))


def _quoted(text: Any) -> str:
    shown = repr(text)
    return shown if len(shown) <= 60 else shown[:57] + "..."
