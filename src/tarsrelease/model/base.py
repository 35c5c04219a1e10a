"""Frozen values, no unknown keys, and quantities that are written with their unit."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    WithJsonSchema,
)


class Value(BaseModel):
    """A frozen value; an unknown key is an error, so that a typing mistake cannot pass unseen."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "B": 1.0,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
}
_NUMBER = r"(\d+(?:\.\d+)?)"


def _with_unit(text: Any, units: dict[str, float], example: str) -> float:
    match = re.fullmatch(rf"{_NUMBER}\s*([A-Za-z]+)", text) if isinstance(text, str) else None
    if match is None or match[2] not in units:
        known = ", ".join(units)
        raise ValueError(
            f"{text!r} needs a number with one of the units {known}, such as {example}"
        )
    return float(match[1]) * units[match[2]]


def parse_seconds(text: Any) -> float:
    """Seconds from text such as ``10m``; a ``float`` (a value already parsed) passes.

    Raises ValueError where the unit is missing or unknown.
    """
    return text if isinstance(text, float) else _with_unit(text, _SECONDS, "10m")


def parse_bytes(text: Any) -> float:
    """Bytes from text such as ``2.5GB``; a ``float`` passes. Raises as `parse_seconds`."""
    return text if isinstance(text, float) else _with_unit(text, _BYTES, "2.5GB")


def parse_share(text: Any) -> float:
    """A share between 0 and 1 from text such as ``2%``; a ``float`` (already a share) passes.

    A bare whole number is refused: ``2`` could mean 2 % or 200 %.
    """
    if isinstance(text, float):
        share = text
    else:
        match = re.fullmatch(rf"{_NUMBER}\s*%", text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"{text!r} needs a percentage, such as 0.5%")
        share = float(match[1]) / 100
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is not between 0% and 100%")
    return share


def _stays_inside(path: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._/+-]+", path) or {"", ".", ".."} & set(path.split("/")):
        raise ValueError(f"{path!r} is not a plain relative path inside the bundle")
    return path


def _quantity(parse: Any, pattern: str, example: str) -> Any:
    schema = {"type": "string", "pattern": pattern, "examples": [example]}
    return BeforeValidator(parse), WithJsonSchema(schema, mode="validation")


_seconds = _quantity(parse_seconds, rf"^{_NUMBER}\s*(ms|s|m|h|d)$", "10m")
_bytes = _quantity(parse_bytes, rf"^{_NUMBER}\s*(B|kB|MB|GB|KiB|MiB|GiB)$", "2.5GB")
_share = _quantity(parse_share, rf"^{_NUMBER}\s*%$", "0.5%")

_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Seconds = Annotated[float, _seconds[0], _seconds[1]]
"""A duration in seconds, written as ``10m``."""
Bytes = Annotated[float, _bytes[0], _bytes[1]]
"""An amount of memory in bytes, written as ``2.5GB``."""
Share = Annotated[float, _share[0], _share[1]]
"""A share between 0 and 1, written as ``0.5%``."""
Name = Annotated[str, StringConstraints(pattern=_NAME, max_length=53)]
"""A name that Kubernetes and Helm accept (RFC 1123 label; 53 is Helm's limit for a release)."""
Version = Annotated[
    str, StringConstraints(pattern=r"^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$")
]
"""A semantic version without a leading v (semver.org, 2.0.0)."""
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""A content digest as OCI writes it (image-spec, descriptor)."""
FileName = Annotated[str, AfterValidator(_stays_inside)]
"""A path inside a bundle: relative, without ``.`` or ``..``."""
