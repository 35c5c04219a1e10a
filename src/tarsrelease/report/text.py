"""An outcome as plain text: the result first, then why, then all of it."""

from __future__ import annotations

from collections.abc import Mapping

from tarsrelease.model.outcome import Check, ErrorDetail, Outcome, Status
from tarsrelease.report.artifacts import ARTIFACT_HEADER, artifact_rows, difference_lines
from tarsrelease.report.rows import (
    FAULT_HEADER,
    STAGE_HEADER,
    check_tables,
    fault_rows,
    lines_of,
    ordered,
    own_table,
    stage_rows,
)
from tarsrelease.report.table import text_table
from tarsrelease.report.words import count_statuses, headline, show_seconds


def outcome_text(outcome: Outcome, *, evidence: str | None = None) -> str:
    """All that a person is shown at the end of a step, with a newline at its end."""
    blocks = [[first_line(outcome)]]
    if outcome.error is not None:
        blocks[0] += error_lines(outcome.error)
    faults = fault_rows(outcome)
    if faults:
        blocks.append(["Faults", *text_table(FAULT_HEADER, faults)])
    why = [check for check in ordered(outcome.checks) if _needs_words(check)]
    if why:
        blocks.append([line for check in why for line in reason_lines(check)])
    rows = stage_rows(outcome)
    if rows:
        blocks.append(["Stages", *text_table(STAGE_HEADER, rows)])
    own = own_table(outcome)
    if own:
        blocks.append(text_table(*own))
    elif outcome.checks:
        tables = [line for table in check_tables(outcome.checks) for line in text_table(*table)]
        blocks.append([f"Checks: {count_statuses(outcome.checks)}", *tables])
    blocks.append(_artifacts(outcome))
    blocks.append(difference_lines(outcome))
    blocks.append(_plan(outcome))
    warned = lines_of(outcome.details.get("warnings"))
    blocks.append(["Warnings", *(f"  {line}" for line in warned)] if warned else [])
    blocks.append(lines_of(outcome.details.get("lines")))
    blocks.append(_facts(outcome, evidence))
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def first_line(outcome: Outcome) -> str:
    """``ROLLBACK  canary gate · 1.0.1 → production: why (1 NOT CHECKED)``."""
    where = " → ".join(filter(None, (outcome.release, outcome.environment)))
    skipped = sum(check.status is Status.SKIPPED for check in outcome.checks)
    return (
        f"{headline(outcome)}  {outcome.step}"
        + (f" · {where}" if where else "")
        + (f": {outcome.summary}" if outcome.summary else "")
        + (f" ({skipped} NOT CHECKED)" if skipped else "")
    )


def error_lines(error: ErrorDetail) -> list[str]:
    """Four labelled lines; a text of several lines is indented under its label."""
    labelled = (
        ("doing", error.doing),
        ("found", error.found),
        ("expected", error.expected),
        ("next", error.next),
    )
    return [f"  {label:<9} " + text.replace("\n", "\n" + " " * 12) for label, text in labelled]


def reason_lines(check: Check) -> list[str]:
    """Why a check is not passed."""
    whose = f" of {check.service}" if check.service else ""
    first, *more = check.reason.splitlines() or [""]
    lines = [f"  {check.status.value.upper()} {check.id}{whose}: {first}"]
    return lines + [f"    {line}" for line in more]


def _needs_words(check: Check) -> bool:
    return check.status is not Status.PASS


def _artifacts(outcome: Outcome) -> list[str]:
    rows, more = artifact_rows(outcome)
    if not rows:
        return []
    return [
        "Artifacts",
        *text_table(ARTIFACT_HEADER, rows),
        *([f"and {more} more"] if more else []),
    ]


def _plan(outcome: Outcome) -> list[str]:
    plan = lines_of(outcome.details.get("plan"))
    return ["Plan", *(f"  {number}. {line}" for number, line in enumerate(plan, 1))] if plan else []


def _facts(outcome: Outcome, evidence: str | None) -> list[str]:
    lines = []
    overrides = lines_of(outcome.details.get("overrides"))
    if overrides:
        lines.append("Not as in the release, but overridden by the environment:")
        lines += [f"  {override}" for override in overrides]
    phases = outcome.details.get("phases")
    if isinstance(phases, Mapping) and phases:
        timed = [
            f"{name} {show_seconds(float(seconds))}"
            for name, seconds in phases.items()
            if isinstance(seconds, (int, float))
        ]
        lines.append(f"Phases:    {', '.join(timed)}")
    seconds = (outcome.finished_at - outcome.started_at).total_seconds()
    lines.append(f"Took:      {show_seconds(seconds)}; exit code {outcome.exit_code:d}")
    where = evidence or outcome.details.get("evidence")
    if where:
        lines.append(f"Evidence:  {where}")
    if outcome.next and outcome.error is None:
        lines.append(f"Next:      {outcome.next}")
    return lines
