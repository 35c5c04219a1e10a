"""What verify says of each artifact, and diff of two bundles, as rows and lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tarsrelease.model.outcome import Outcome
from tarsrelease.report.rows import lines_of

ARTIFACT_HEADER = (
    "result",
    "artifact",
    "size",
    "SHA-256",
    "expected by",
    "signed by",
    "built from",
)
_MOST = 40
"""Rows that are shown; the JSON has them all."""


def artifact_rows(outcome: Outcome, *, passed: bool) -> tuple[list[tuple[str, ...]], int]:
    """Rows under `ARTIFACT_HEADER`, those that did not pass first, and how many were left out.

    Without `passed` those that passed are no rows.
    """
    found = outcome.details.get("artifacts")
    rows = [row for row in _listed(found) if isinstance(row, Mapping)]
    if not passed:
        rows = [row for row in rows if row.get("result") != "PASS"]
    rows = sorted(rows, key=lambda row: row.get("result") == "PASS")
    return [_row(row) for row in rows[:_MOST]], max(0, len(rows) - _MOST)


def difference_lines(outcome: Outcome) -> list[str]:
    """The differences that ``bundle diff`` found."""
    return lines_of(outcome.details.get("differences"))


def _listed(found: object) -> Sequence[object]:
    return found if isinstance(found, (list, tuple)) else ()


def _row(row: Mapping[str, object]) -> tuple[str, ...]:
    expected, actual = _short(row.get("expected")), _short(row.get("actual"))
    digest = actual if expected == actual else f"{actual or 'none'}, not {expected or 'listed'}"
    if row.get("result") == "NOT CHECKED":
        digest = expected
    size = row.get("size")
    return (
        str(row.get("result", "")),
        str(row.get("artifact", "")),
        "" if size is None else str(size),
        digest,
        str(row.get("source") or ""),
        str(row.get("signer") or ""),
        str(row.get("built_from") or ""),
    )


def _short(digest: object) -> str:
    """The first 16 of 64 digits: enough to compare by eye; the JSON has them all."""
    return str(digest).removeprefix("sha256:")[:16] if digest else ""
