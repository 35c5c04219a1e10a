"""Results and outcomes as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.model.format import amount
from tarsrelease.model.journal import Cause
from tarsrelease.model.outcome import Check, ExitCode, Observed, Outcome, Status, deciding

MARKS = {
    Status.PASS: "✓",
    Status.FAIL: "✗",
    Status.INCONCLUSIVE: "…",
    Status.ERROR: "!",
    Status.SKIPPED: "-",
}
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
    """The result of an outcome in one or two capital words."""
    if outcome.verdict is not None:
        return outcome.verdict.value.upper()
    return ended(outcome.exit_code)


def ended(code: int) -> str:
    """What an exit code without a verdict means, in one or two capital words."""
    return next((word for known, word in _ENDED.items() if known == code), f"EXIT {code}")


def show_observed(observed: Observed | None) -> str:
    """A measured value with its unit; a dash if there is none."""
    if observed is None or observed.value is None:
        return "-"
    if isinstance(observed.value, str):
        return observed.value
    return amount(observed.value, observed.unit)


def show_cause(cause: Cause) -> str:
    """``canary.error_rate of web is 25.5 %, expected < 1.5 %: 13 of 51 requests bad``."""
    whose = f" of {cause.service}" if cause.service else ""
    observed = "" if cause.observed is None else f" is {show_observed(cause.observed)}"
    return f"{cause.check}{whose}{observed}, expected {cause.expected}: {cause.reason}"


def show_weight(weight: int | None) -> str:
    """The canary's weight as text; None: another tool moves the traffic."""
    return "traffic moved by another tool" if weight is None else f"{weight} % of traffic"


def show_samples(check: Check) -> str:
    """Requests (or readings) so far, and how many it takes to decide: ``180 of 693``."""
    if check.samples is None:
        return ""
    undecided = check.status in (Status.INCONCLUSIVE, Status.SKIPPED)
    if undecided and check.needed is not None and check.samples < check.needed:
        return f"{check.samples} of {check.needed}"
    return str(check.samples)


def count_statuses(checks: Sequence[Check]) -> str:
    """``7 pass, 2 NOT CHECKED; advisory: 1 fail``; what is absent is left out."""
    advisory = [check for check in checks if check.advisory]
    found = _counted(deciding(checks)) or "nothing checked"
    return f"{found}; advisory: {_counted(advisory)}" if advisory else found


def _counted(checks: Sequence[Check]) -> str:
    words = {
        Status.PASS: "pass",
        Status.FAIL: "fail",
        Status.ERROR: "could not be measured",
        Status.INCONCLUSIVE: "inconclusive",
        Status.SKIPPED: "NOT CHECKED",
    }
    counts = [(sum(check.status is status for check in checks), words[status]) for status in words]
    return ", ".join(f"{count} {word}" for count, word in counts if count)
