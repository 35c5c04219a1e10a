"""An outcome as GitHub Markdown, for a run's summary page."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Outcome, Status
from tarsrelease.report.artifacts import ARTIFACT_HEADER, artifact_rows, difference_lines
from tarsrelease.report.day_page import STEP_HEADER, step_rows
from tarsrelease.report.fleet_rows import weight_map
from tarsrelease.report.results import count_statuses
from tarsrelease.report.rows import (
    FAULT_HEADER,
    STAGE_HEADER,
    check_tables,
    fault_rows,
    ordered,
    own_tables,
    stage_rows,
)
from tarsrelease.report.table import markdown_cell, markdown_table
from tarsrelease.report.text import verdict_line


def outcome_markdown(outcome: Outcome, *, evidence: str | None = None) -> str:
    """A heading with the result, then why, then tables."""
    blocks: list[Sequence[str]] = [[f"### {markdown_cell(verdict_line(outcome))}"]]
    if outcome.error is not None:
        rows = [
            (label, text)
            for label, text in outcome.error.model_dump().items()
            if isinstance(text, str)
        ]
        blocks.append([f"- **{label}**: {markdown_cell(text)}" for label, text in rows])
    faults = fault_rows(outcome)
    if faults:
        blocks.append(markdown_table(FAULT_HEADER, faults))
    blocks.append(
        [
            f"- **{check.label}** `{check.id}`"
            + (f" of {check.service}" if check.service else "")
            + f": {markdown_cell(check.reason)}"
            for check in ordered(outcome.checks)
            if check.status is not Status.PASS
        ]
    )
    steps = step_rows(outcome)
    if steps:
        blocks.append(markdown_table(STEP_HEADER, steps))
    stages = stage_rows(outcome)
    if stages:
        blocks.append(markdown_table(STAGE_HEADER, stages))
    if shown := weight_map(outcome):
        blocks.append(["```text", *shown, "```"])
    own = own_tables(outcome)
    if own:
        blocks += [markdown_table(*table) for table in own]
    elif outcome.checks:
        blocks.append([f"**Checks:** {count_statuses(outcome.checks)}"])
        passed = [check for check in outcome.checks if check.status is Status.PASS]
        others = [check for check in outcome.checks if check.status is not Status.PASS]
        blocks += [markdown_table(*table) for table in check_tables(others)]
        if passed:
            tables = [markdown_table(*table) for table in check_tables(passed)]
            blocks.append(_folded(f"{len(passed)} passed", tables))
    artifacts, more = artifact_rows(outcome, passed=True)
    bad = [row for row in artifacts if row[0] != "PASS"]
    good = [row for row in artifacts if row[0] == "PASS"]
    if bad:
        blocks.append(markdown_table(ARTIFACT_HEADER, bad))
    if good:
        rest = [f"and {more} more"] if more else []
        folded = [markdown_table(ARTIFACT_HEADER, good), rest]
        blocks.append(_folded(f"{len(good) + more} artifacts passed", folded))
    differences = difference_lines(outcome)
    blocks.append([f"- {markdown_cell(line)}" for line in differences])
    details = outcome.details
    for title, lines in (
        ("Warnings", details.warnings),
        ("Plan", details.plan),
        ("Overridden by the environment", details.overrides),
    ):
        if lines:
            blocks.append([f"**{title}**", "", *(f"1. {markdown_cell(line)}" for line in lines)])
    blocks.append(["```text", *details.lines, "```"] if details.lines else [])
    blocks += [[chart] for chart in details.charts]
    seconds = (outcome.finished_at - outcome.started_at).total_seconds()
    facts = [f"Took {duration(seconds)}; exit code {outcome.exit_code:d}."]
    if evidence:
        facts.append(f"Evidence: `{evidence}`.")
    if outcome.next and outcome.error is None:
        facts.append(f"**Next:** {markdown_cell(outcome.next)}")
    blocks.append(facts)
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _folded(summary: str, blocks: Sequence[Sequence[str]]) -> list[str]:
    """Blocks that a click unfolds. GitHub reads Markdown in it only after an empty line."""
    inside = [line for block in blocks if block for line in ("", *block)]
    return [f"<details><summary>{summary}</summary>", *inside, "", "</details>"]
