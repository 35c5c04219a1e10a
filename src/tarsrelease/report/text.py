"""An outcome as plain text: tables first, the verdict and its reason last, where they stay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Check, ErrorDetail, Outcome, Status, Verdict, deciding
from tarsrelease.model.step_details import RehearseDetails
from tarsrelease.report.artifacts import ARTIFACT_HEADER, artifact_rows, difference_lines
from tarsrelease.report.fleet_rows import weight_map
from tarsrelease.report.results import count_statuses, headline, show_observed, show_samples
from tarsrelease.report.rows import (
    FAULT_HEADER,
    STAGE_HEADER,
    check_tables,
    fault_rows,
    ordered,
    own_tables,
    stage_rows,
)
from tarsrelease.report.table import text_table


def outcome_text(outcome: Outcome, *, evidence: str | None = None, verbose: bool = False) -> str:
    """What a person reads at the end of a step; it ends with the verdict and a newline.

    Results that passed are only counted, unless `verbose`.
    """
    details = outcome.details
    blocks: list[Sequence[str]] = [details.lines]
    faults = fault_rows(outcome)
    if faults:
        blocks.append(["Faults", *text_table(FAULT_HEADER, faults)])
    rows = stage_rows(outcome)
    if rows:
        blocks.append(["Stages", *text_table(STAGE_HEADER, rows)])
    blocks.append(weight_map(outcome))
    own = own_tables(outcome)
    if own:
        blocks += [text_table(*table) for table in own]
    elif verbose and outcome.checks:
        tables = check_tables(outcome.checks)
        blocks.append([line for table in tables for line in text_table(*table)])
    blocks.append(_artifacts(outcome, verbose=verbose))
    blocks.append(difference_lines(outcome))
    blocks.append([] if details.phases and not verbose else _plan(outcome))
    warned = [f"  {line}" for line in details.warnings]
    blocks.append(["Warnings", *warned] if warned else [])
    checks = _not_passed(outcome, verbose=verbose)
    blocks.append([*checks, *_facts(outcome, evidence, verbose=verbose)])
    blocks.append([verdict_line(outcome), *(error_lines(outcome.error) if outcome.error else [])])
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def verdict_line(outcome: Outcome) -> str:
    """``ROLLBACK  canary gate · 1.0.1 → production: why (1 NOT CHECKED)``."""
    where = " → ".join(filter(None, (outcome.release, outcome.environment)))
    skipped = sum(check.status is Status.SKIPPED for check in deciding(outcome.checks))
    # An error says what was found in a line of its own.
    told = outcome.error is not None and outcome.error.found.splitlines()[:1] == [outcome.summary]
    summary = "" if told else outcome.summary
    return (
        f"{headline(outcome)}  {outcome.step}"
        + (f" · {where}" if where else "")
        + (f": {summary}" if summary else "")
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


def reason_lines(check: Check, name: str = "", reason: str = "") -> list[str]:
    """Why a check is not passed; `name` and `reason` stand for several that are alike."""
    if not name:
        name = check.id + (f" of {check.service}" if check.service else "")
        if check.observed is not None and isinstance(check.observed.value, (int, float)):
            name += f" is {show_observed(check.observed)}, expected {check.expected}"
    first, *more = (reason or check.reason).splitlines() or [""]
    return [
        f"  {check.label.upper()} {name}: {first}",
        *(f"    {line}" for line in more),
    ]


def _not_passed(outcome: Outcome, *, verbose: bool) -> list[str]:
    """The results that did not pass, unless the verdict says them, and how many did.

    What was still undecided when a rollback was decided is counted only.
    """
    if not outcome.checks:
        return []
    counted_only = {Status.PASS}
    if outcome.verdict is Verdict.ROLLBACK and not verbose:
        counted_only |= {Status.INCONCLUSIVE, Status.SKIPPED}
    unsaid = [
        check
        for check in ordered(outcome.checks)
        if check.status not in counted_only and not _is_said(check, outcome)
    ]
    lines = (
        [line for check in unsaid for line in reason_lines(check)]
        if verbose
        else [line for alike in _alike(unsaid) for line in _joined(alike)]
    )
    hidden = not verbose and any(check.status in counted_only for check in outcome.checks)
    counted = f"Checks: {count_statuses(outcome.checks)}"
    return [*lines, counted + (" (--verbose lists all)" if hidden else "")]


def _is_said(check: Check, outcome: Outcome) -> bool:
    """Whether the verdict's line names this result with its reason, or the step's table has it."""
    if not check.reason:
        return False
    table, said = outcome.details.table, outcome.summary
    if table is not None and any(check.reason in row for row in table.rows):
        return True
    return all(part in said for part in (check.id, check.service or "", check.reason))


def _alike(checks: list[Check]) -> Iterable[list[Check]]:
    """Results with the same reason together, and a check's services that lack only requests."""
    groups: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        reason = check.id if _has_too_few(check) else check.reason
        groups.setdefault((check.label, reason), []).append(check)
    return groups.values()


def _joined(alike: list[Check]) -> list[str]:
    if len(alike) == 1 and not _has_too_few(alike[0]):
        return reason_lines(alike[0])
    services: dict[str, list[str]] = {}
    for check in alike:
        services.setdefault(check.id, []).extend([check.service] if check.service else [])
    names = [name + (f" of {', '.join(of)}" if of else "") for name, of in services.items()]
    least = min(alike, key=lambda check: (check.samples or 0) / (check.needed or 1))
    few = f"{show_samples(least)} required requests" if _has_too_few(least) else ""
    return reason_lines(least, "; ".join(names), few)


def _has_too_few(check: Check) -> bool:
    return (
        check.status is Status.INCONCLUSIVE
        and check.needed is not None
        and check.samples is not None
        and check.samples < check.needed
    )


def _artifacts(outcome: Outcome, *, verbose: bool) -> list[str]:
    rows, more = artifact_rows(outcome, passed=verbose)
    if not rows:
        return []
    return [
        "Artifacts",
        *text_table(ARTIFACT_HEADER, rows),
        *([f"and {more} more"] if more else []),
    ]


def _plan(outcome: Outcome) -> list[str]:
    plan = outcome.details.plan
    return ["Plan", *(f"  {number}. {line}" for number, line in enumerate(plan, 1))] if plan else []


def _facts(outcome: Outcome, evidence: str | None, *, verbose: bool) -> list[str]:
    lines = []
    overrides = outcome.details.overrides
    if overrides:
        lines.append(f"Overridden by the environment: {'; '.join(overrides)}")
    phases = outcome.details.phases
    if verbose and phases:
        timed = [f"{name} {duration(seconds)}" for name, seconds in phases.items()]
        lines.append(f"Phases: {', '.join(timed)}")
    seconds = (outcome.finished_at - outcome.started_at).total_seconds()
    lines.append(f"Took: {duration(seconds)}; exit code {outcome.exit_code:d}")
    rehearsed = RehearseDetails.of(outcome.details)
    where = evidence or (rehearsed.evidence if rehearsed else None)
    if where:
        lines.append(f"Evidence: {where}")
    if outcome.next and outcome.error is None:
        lines.append(f"Next: {outcome.next}")
    return lines
