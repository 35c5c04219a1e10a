"""Numbers as people read them in a check's result."""

from __future__ import annotations

from math import exp, floor, log, log10


def percent(share: float) -> str:
    """A share as a percentage with three significant digits: ``1.23 %``.

    Just below 100 two digits of what is missing: ``99.95 %`` is not ``100 %``.
    """
    found = 100 * share
    if 99 < found < 100:
        digits = min(9, 1 - floor(log10(100 - found)))
        return f"{found:.{digits}f}".rstrip("0") + " %"
    return f"{found:.3g} %"


def amount(value: float, unit: str) -> str:
    """A value in its unit; bytes in the largest decimal unit that keeps it above 1."""
    if unit == "share":
        return percent(value)
    if unit == "bytes":
        for size, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
            if value >= size:
                return f"{value / size:.3g} {name}"
        return f"{value:.0f} B"
    return f"{value:g} s" if unit == "seconds" else f"{value:g}"


def reading(value: float, unit: str) -> str:
    """A measured value: as `amount`, but to three significant digits; whole numbers stay whole."""
    if unit in ("share", "bytes") or value == round(value):
        return amount(value, unit)
    return amount(round(value) if abs(value) >= 1000 else float(f"{value:.3g}"), unit)


def odds(log_evidence: float) -> str:
    """Evidence as people read it: ``12500``, beyond e^20 as a power of ten."""
    if log_evidence > 20:
        return f"10^{log_evidence / log(10):.0f}"
    return f"{exp(log_evidence):.0f}"


def count(number: float, noun: str) -> str:
    """``1 request``, ``12 requests``; whole numbers, as counters are."""
    return f"{number:.0f} {noun}{'' if round(number) == 1 else 's'}"


def names(found: list[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(found[:most])
    return shown if len(found) <= most else f"{shown} and {len(found) - most} more"
