"""Values as people read them: percentages, bytes, seconds, counts, and a line of small bars."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.model.journal import Cause
from tarsrelease.model.outcome import Check, ExitCode, Observed, Outcome, Status

MARKS = {
    Status.PASS: "✓",
    Status.FAIL: "✗",
    Status.INCONCLUSIVE: "…",
    Status.ERROR: "!",
    Status.SKIPPED: "-",
}
_BARS = "▁▂▃▄▅▆▇█"
_ENDED = {
    ExitCode.NO: "REFUSED",
    ExitCode.USAGE: "NOT STARTED",
    ExitCode.HOLD: "HOLD",
    ExitCode.ROLLBACK: "ROLLED BACK",
    ExitCode.STOPPED: "STOPPED",
    ExitCode.UNREACHABLE: "UNREACHABLE",
    ExitCode.BUG: "BUG IN TARSRELEASE",
    ExitCode.LOCKED: "LOCKED",
    ExitCode.INTERRUPTED: "INTERRUPTED",
}


def headline(outcome: Outcome) -> str:
    """How it ended, in one or two capital words."""
    if outcome.verdict is not None:
        return outcome.verdict.value.upper()
    return _ENDED.get(outcome.exit_code, f"EXIT {outcome.exit_code:d}")


def show_observed(observed: Observed | None) -> str:
    """A measured value with its unit; a dash where there is none."""
    if observed is None or observed.value is None:
        return "-"
    if isinstance(observed.value, str):
        return observed.value
    return show_number(observed.value, observed.unit)


def show_cause(cause: Cause) -> str:
    """``canary.error_rate of web is 25.5 %, expected < 1.5 %: 13 of 51 requests bad``."""
    whose = f" of {cause.service}" if cause.service else ""
    observed = "" if cause.observed is None else f" is {show_observed(cause.observed)}"
    return f"{cause.check}{whose}{observed}, expected {cause.expected}: {cause.reason}"


def show_number(value: float, unit: str) -> str:
    """`value` in the unit ``share``, ``bytes``, ``seconds``, ``count`` or any other word."""
    match unit:
        case "share":
            return show_share(value)
        case "bytes":
            return show_bytes(value)
        case "seconds":
            return show_seconds(value)
        case "count":
            return f"{value:,.0f}".replace(",", " ")
    return f"{value:g} {unit}"


def show_share(share: float) -> str:
    """A share as a percentage with three significant digits, and never 0 or 100 by rounding."""
    percent = share * 100
    if percent in (0, 100):
        return f"{percent:.0f} %"
    digits = (
        3 if percent < 0.1 or 99.9 < percent < 100 else 2 if percent < 10 or percent > 99 else 1
    )
    text = f"{percent:.{digits}f}".rstrip("0").rstrip(".")
    if text in ("0", "100"):
        return "< 0.001 %" if text == "0" else "> 99.999 %"
    return f"{text} %"


def show_bytes(size: float) -> str:
    """Bytes in kB, MB or GB (powers of ten, as configuration has them)."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} B"


def show_seconds(seconds: float) -> str:
    """A duration: 5.1 ms, 0.35 s, 12 s, 3 m 20 s, 2 h 5 m."""
    if 0 < seconds < 0.1:
        return f"{seconds * 1000:.2g} ms"
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60} s" if whole % 60 else f"{whole // 60} m"
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours} h {minutes} m" if minutes else f"{hours} h"


def show_weight(weight: int | None) -> str:
    """The canary's share as it was set; without one, something else moves the traffic."""
    return "traffic moved by others" if weight is None else f"{weight} % of traffic"


def show_samples(check: Check) -> str:
    """Requests (or readings) so far, and how many it takes to decide: ``180 of 693``."""
    if check.samples is None:
        return ""
    undecided = check.status in (Status.INCONCLUSIVE, Status.SKIPPED)
    if undecided and check.needed is not None and check.samples < check.needed:
        return f"{check.samples} of {check.needed}"
    return str(check.samples)


def sparkline(values: Sequence[float | None], top: float | None = None) -> str:
    """One bar a value, from 0 to the largest (or `top`, where that is larger); gaps are spaces."""
    known = [value for value in values if value is not None]
    highest = max([*known, top or 0.0], default=0.0)
    if highest <= 0:
        return "".join(" " if value is None else _BARS[0] for value in values)
    return "".join(
        " " if value is None else _BARS[round(max(0.0, value) / highest * (len(_BARS) - 1))]
        for value in values
    )


def count_statuses(checks: Sequence[Check]) -> str:
    """``7 pass, 1 fail, 2 NOT CHECKED``; what is absent is left out."""
    words = {
        Status.PASS: "pass",
        Status.FAIL: "fail",
        Status.ERROR: "could not be measured",
        Status.INCONCLUSIVE: "inconclusive",
        Status.SKIPPED: "NOT CHECKED",
    }
    counts = [(sum(check.status is status for check in checks), words[status]) for status in words]
    return ", ".join(f"{count} {word}" for count, word in counts if count) or "nothing checked"
