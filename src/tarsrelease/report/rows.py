"""What an outcome's checks and stages look like as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Check, Outcome, Status
from tarsrelease.report.results import MARKS, show_observed, show_samples

CHECK_HEADER = ("", "check", "of", "observed", "limit", "requests")
FAULT_HEADER = ("fault", "expected", "got", "after")
STAGE_HEADER = ("stage", "traffic", "verdict", "time", "requests", "checks")
_ORDER = (Status.FAIL, Status.ERROR, Status.INCONCLUSIVE, Status.PASS, Status.SKIPPED)
_LONGEST = 44


def ordered(checks: Sequence[Check]) -> list[Check]:
    """The gravest first; within a status in the order they were made."""
    return sorted(checks, key=lambda check: _ORDER.index(check.status))


def check_row(check: Check) -> tuple[str, ...]:
    """One check as a row under `CHECK_HEADER`."""
    observed, expected = show_observed(check.observed), check.expected
    return (
        f"{MARKS[check.status]} {check.status.value}",
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
    """The stages that a day went through, from ``details.stages``; empty where it had none."""
    stages = outcome.details.get("stages")
    if not isinstance(stages, (list, tuple)):
        return []
    return [_stage_row(stage) for stage in stages if isinstance(stage, Mapping)]


def fault_rows(outcome: Outcome) -> list[tuple[str, ...]]:
    """A rehearsed day's faults, from ``details.expectations``; empty where it had none."""
    faults = outcome.details.get("expectations")
    if not isinstance(faults, (list, tuple)):
        return []
    return [_fault_row(fault) for fault in faults if isinstance(fault, Mapping)]


def _fault_row(fault: Mapping[str, Any]) -> tuple[str, ...]:
    seconds = fault.get("seconds")
    return (
        str(fault.get("fault", "")),
        str(fault.get("expected", "")),
        str(fault.get("got") or "no verdict"),
        duration(float(seconds)) if isinstance(seconds, (int, float)) else "",
    )


def _stage_row(stage: Mapping[str, Any]) -> tuple[str, ...]:
    seconds, requests = stage.get("seconds"), stage.get("requests")
    weight, verdict = stage.get("weight"), stage.get("verdict")
    return (
        str(stage.get("name", "")),
        "" if weight is None else f"{weight} %",
        "-" if verdict is None else str(verdict),
        duration(float(seconds)) if isinstance(seconds, (int, float)) else "",
        "" if requests is None else str(requests),
        _stage_checks(stage.get("checks")),
    )


def _stage_checks(checks: Any) -> str:
    """Counts per status, from check objects or from counts already made."""
    if isinstance(checks, Mapping):
        return ", ".join(f"{count} {status}" for status, count in checks.items() if count)
    if not isinstance(checks, (list, tuple)):
        return ""
    statuses = [str(check.get("status", "")) for check in checks if isinstance(check, Mapping)]
    counts = {status: statuses.count(status) for status in (one.value for one in _ORDER)}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)


def lines_of(value: object) -> list[str]:
    """A list of texts out of an outcome's details; empty for anything else."""
    return [str(line) for line in value] if isinstance(value, (list, tuple)) else []


def own_table(outcome: Outcome) -> tuple[list[str], list[list[str]]] | None:
    """A table that the step made itself (``details.table``: header and rows of text)."""
    found = outcome.details.get("table")
    if not isinstance(found, Mapping):
        return None
    header, rows = found.get("header"), found.get("rows")
    if not isinstance(header, Sequence) or not isinstance(rows, Sequence) or not rows:
        return None
    return [str(cell) for cell in header], [[str(cell) for cell in row] for row in rows]
