"""The table of go or no-go: criterion, threshold, current value, result; then the votes."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.model.details import Table
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.readiness import Readiness
from tarsrelease.readiness.decision import CRITERION, VOTE, criterion_of
from tarsrelease.report.results import MARKS, show_observed

HEADER = ("", "criterion", "threshold", "current", "why")
_LONGEST = 160


def decision_table(checks: Sequence[Check], readiness: Readiness) -> Table:
    """One row per result, in the order of the results."""
    return Table(header=HEADER, rows=tuple(_row(check, readiness) for check in checks))


def _row(check: Check, readiness: Readiness) -> tuple[str, ...]:
    said = check.reason.split("\n")[0]
    return (
        _mark(check),
        _name(check, readiness),
        check.expected,
        show_observed(check.observed),
        said if len(said) <= _LONGEST else said[: _LONGEST - 1] + "…",
    )


def _mark(check: Check) -> str:
    word = {Status.PASS: "pass", Status.SKIPPED: "NOT CHECKED"}.get(check.status, check.status)
    return f"{MARKS[check.status]} {'overridden' if check.advisory else word}"


def _name(check: Check, readiness: Readiness) -> str:
    if check.id == VOTE and check.service:
        role = readiness.roles.get(check.service)
        question = f": {role.question}" if role and role.question else ""
        return f"vote of {role.title if role else check.service}{question}"
    name = criterion_of(check)
    return f"{name} of {check.service}" if check.service and check.id != CRITERION else name
