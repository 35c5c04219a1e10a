"""A step on a run's summary page: result, tables, chart and annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.report.chart import history_charts
from tarsrelease.report.markdown import outcome_markdown
from tarsrelease.report.results import headline
from tarsrelease.report.rows import ordered
from tarsrelease.report.table import markdown_cell

LARGEST_PAGE = 1_000_000
"""Bytes; GitHub drops a step's whole page above 1 MiB."""
_LEVELS = {
    Status.FAIL: "error",
    Status.ERROR: "error",
    Status.INCONCLUSIVE: "warning",
    Status.SKIPPED: "notice",
}
_LONGEST = 2_000


def outcome_page(outcome: Outcome, *, evidence: str | None = None) -> str:
    """The whole outcome as Markdown, with a chart where a stage was observed."""
    charts = "\n".join(history_charts(outcome))
    return cut(outcome_markdown(outcome, evidence=evidence) + ("\n" + charts if charts else ""))


def refusal_page(action: str, problems: Sequence[str]) -> str:
    """The page for refused inputs, when nothing was run."""
    lines = [f"- {markdown_cell(problem)}" for problem in problems]
    return cut("\n".join([f"### NOT STARTED  {action}: wrong input", "", *lines]) + "\n")


def cut(text: str, largest: int = LARGEST_PAGE) -> str:
    """`text` in at most `largest` bytes of UTF-8, ended at a line and said so."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= largest:
        return encoded.decode()
    note = "\n\n**Cut here:** the page is too long for GitHub. The evidence has all of it.\n"
    kept = encoded[: largest - len(note.encode()) - 32]
    kept = kept[: kept.rfind(b"\n") + 1] or kept
    whole = kept.decode("utf-8", "ignore")
    fence = "```\n" if whole.count("```") % 2 else ""
    folded = "\n</details>\n" if whole.count("<details>") > whole.count("</details>") else ""
    return whole + fence + folded + note


def remarks(action: str, outcome: Outcome) -> Iterator[tuple[str, str, str]]:
    """(level, title, text): first how it ended where that is not well, then every check that
    was not passed, the most severe first.
    """
    if outcome.verdict is not Verdict.PROCEED:
        level = "warning" if outcome.verdict in (Verdict.HOLD, Verdict.POSTPONE) else "error"
        told = outcome.summary
        if outcome.error is not None:
            told = f"{outcome.error.found} · expected: {outcome.error.expected}"
        following = f" · next: {outcome.next}" if outcome.next else ""
        yield level, f"{action}: {headline(outcome)}", _short(told + following)
    for warning in outcome.details.warnings:
        yield "warning", action, _short(warning)
    for check in ordered(outcome.checks):
        if check.status in _LEVELS:
            level = "notice" if check.advisory else _LEVELS[check.status]
            yield level, check.id, _short(_reason(check))


def _reason(check: Check) -> str:
    whose = f"{check.service}: " if check.service else ""
    whose = f"advisory: {whose}" if check.advisory else whose
    return f"{whose}{check.reason} (expected: {check.expected})"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
