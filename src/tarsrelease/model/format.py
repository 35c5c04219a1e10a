"""Format numbers for people: durations, percentages, sizes, counts. The only formatter.

`quantities.parse_seconds` can read a duration of whole seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, floor, log, log10


def duration(seconds: float | None) -> str:
    """``5.1ms``, ``0.35s``, ``12s``, ``3m20s``, ``2h5m``, ``1d``; ``never`` for None."""
    if seconds is None:
        return "never"
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if 0 < seconds < 0.1:
        return f"{seconds * 1000:.2g}ms"
    if seconds < 9.95:
        return f"{seconds:.2g}s"
    whole = round(seconds)
    units = (("d", whole // 86400), ("h", whole // 3600 % 24), ("m", whole // 60 % 60))
    parts = [(unit, number) for unit, number in (*units, ("s", whole % 60))]
    first = next(at for at, (_, number) in enumerate(parts) if number)
    return "".join(f"{number}{unit}" for unit, number in parts[first : first + 2] if number)


def percent(share: float) -> str:
    """A share as a percentage with three significant digits: ``1.23 %``; never 0 or 100 by
    rounding: just below 100 two digits of what is missing, ``99.95 %``."""
    found = 100 * share
    if found in (0, 100):
        return f"{found:.0f} %"
    if 0 < found < 0.0005:
        return "< 0.001 %"
    if 99.9995 < found < 100:
        return "> 99.999 %"
    if 99 < found < 100:
        return f"{found:.{1 - floor(log10(100 - found))}f}".rstrip("0") + " %"
    return f"{found:.3g} %"


def size(found: float) -> str:
    """Bytes in kB, MB or GB (powers of ten, as configuration has them)."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if found >= factor:
            return f"{found / factor:.3g} {unit}"
    return f"{found:.0f} B"


def amount(value: float, unit: str) -> str:
    """`value` in the unit ``share``, ``bytes``, ``seconds``, ``count`` or any other word."""
    match unit:
        case "share":
            return percent(value)
        case "bytes":
            return size(value)
        case "seconds":
            return duration(value)
        case "count":
            whole = value == round(value)
            return f"{value:,.0f}".replace(",", " ") if whole else f"{value:g}"
    return f"{value:g} {unit}".rstrip()


def reading(value: float, unit: str) -> str:
    """A measured value: as `amount`, but to three significant digits; whole numbers stay whole."""
    if unit in ("share", "bytes", "seconds"):
        return amount(value, unit)
    if value != round(value):
        value = round(value) if abs(value) >= 1000 else float(f"{value:.3g}")
    return amount(value, unit) if unit == "count" else f"{value:g}"


def odds(log_evidence: float) -> str:
    """An e-value as text: ``12500``, beyond e^20 as a power of ten."""
    if log_evidence > 20:
        return f"10^{log_evidence / log(10):.0f}"
    return f"{exp(log_evidence):.0f}"


def count(number: float, noun: str) -> str:
    """``1 request``, ``12 requests``; whole numbers, as counters are."""
    return f"{number:.0f} {noun}{'' if round(number) == 1 else 's'}"


def names(found: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(found[:most])
    return shown if len(found) <= most else f"{shown} and {len(found) - most} more"
