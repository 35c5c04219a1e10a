"""An outcome's results and stages as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.model.details import StageRow
from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Check, Outcome, Status
from tarsrelease.model.step_details import FaultRow, RehearseDetails
from tarsrelease.report.fleet_rows import Table, target_tables
from tarsrelease.report.results import MARKS, show_observed, show_samples

CHECK_HEADER = ("", "check", "of", "observed", "limit", "requests")
FAULT_HEADER = ("fault", "expected", "got", "after")
STAGE_HEADER = ("stage", "traffic", "verdict", "time", "requests", "checks")
_ORDER = (Status.FAIL, Status.ERROR, Status.INCONCLUSIVE, Status.PASS, Status.SKIPPED)
_LONGEST = 44


def ordered(checks: Sequence[Check]) -> list[Check]:
    """The most serious first, advisory ones last; within a status in the original order."""
    return sorted(checks, key=lambda check: (check.advisory, _ORDER.index(check.status)))


def check_row(check: Check) -> tuple[str, ...]:
    """One check as a row under `CHECK_HEADER`."""
    observed, expected = show_observed(check.observed), check.expected
    return (
        f"{MARKS[check.status]} {check.label}",
        check.id,
        check.service or "",
        observed if len(observed) <= _LONGEST else observed[: _LONGEST - 1] + "…",
        expected if len(expected) <= _LONGEST else "",
        show_samples(check),
    )


def check_tables(checks: Sequence[Check]) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Header and rows: measured checks with value and limit, then what else passed, in words.

    Checks that were not passed and measure nothing have been told in words already.
    """
    measured = [check for check in ordered(checks) if _is_measured(check)]
    others: list[tuple[str, ...]] = [
        (MARKS[check.status], check.id, check.reason.split("\n")[0])
        for check in checks
        if not _is_measured(check) and check.status is Status.PASS
    ]
    tables: list[tuple[tuple[str, ...], list[tuple[str, ...]]]] = []
    if measured:
        tables.append((CHECK_HEADER, [check_row(check) for check in measured]))
    if others:
        tables.append((("", "check", "found"), others))
    return tables


def _is_measured(check: Check) -> bool:
    if check.status is Status.SKIPPED and check.observed is None:
        return False
    return check.service is not None or check.window is not None or check.needed is not None


def stage_rows(outcome: Outcome) -> list[tuple[str, ...]]:
    """The stages of a release, from ``details.stages``; empty if there are none."""
    return [_stage_row(stage) for stage in outcome.details.stages]


def fault_rows(outcome: Outcome) -> list[tuple[str, ...]]:
    """The faults of a rehearsal, from ``details.expectations``; empty if there are none."""
    details = RehearseDetails.of(outcome.details)
    return [_fault_row(fault) for fault in details.expectations] if details else []


def _fault_row(fault: FaultRow) -> tuple[str, ...]:
    return (fault.fault, fault.expected, fault.got or "no verdict", _took(fault.seconds))


def _stage_row(stage: StageRow) -> tuple[str, ...]:
    statuses = [check.label for check in ordered(stage.checks)]
    return (
        stage.name,
        "" if stage.weight is None else f"{stage.weight} %",
        stage.verdict or "-",
        _took(stage.seconds),
        "" if stage.requests is None else str(stage.requests),
        ", ".join(f"{statuses.count(one)} {one}" for one in dict.fromkeys(statuses)),
    )


def _took(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def own_tables(outcome: Outcome) -> list[Table]:
    """The step's own tables: its targets, or ``details.table`` (header and rows of text)."""
    table = outcome.details.table
    own: list[Table] = [(table.header, table.rows)] if table and table.rows else []
    return target_tables(outcome) + own
