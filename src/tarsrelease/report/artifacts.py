"""The artifacts of `verify` as rows, and the differences of `bundle diff` as lines."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.model.outcome import Outcome
from tarsrelease.model.step_details import ArtifactRow, BundleDiffDetails, VerifyDetails

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
"""Rows that are shown; the JSON has all."""


def artifact_rows(outcome: Outcome, *, passed: bool) -> tuple[list[tuple[str, ...]], int]:
    """Rows under `ARTIFACT_HEADER`, those that did not pass first, and how many were left out.

    Without `passed` those that passed are no rows.
    """
    details = VerifyDetails.of(outcome.details)
    rows = [row for row in (details.artifacts if details else ()) if passed or row.result != "PASS"]
    rows = sorted(rows, key=lambda row: row.result == "PASS")
    return [_row(row) for row in rows[:_MOST]], max(0, len(rows) - _MOST)


def difference_lines(outcome: Outcome) -> Sequence[str]:
    """The differences that ``bundle diff`` found."""
    details = BundleDiffDetails.of(outcome.details)
    return details.differences if details else ()


def _row(row: ArtifactRow) -> tuple[str, ...]:
    expected, actual = _short(row.expected), _short(row.actual)
    digest = actual if expected == actual else f"{actual or 'none'}, not {expected or 'listed'}"
    if row.result == "NOT CHECKED":
        digest = expected
    return (
        row.result,
        row.artifact,
        "" if row.size is None else str(row.size),
        digest,
        row.source,
        row.signer or "",
        row.built_from or "",
    )


def _short(digest: str | None) -> str:
    """The first 16 of 64 digits, for people; the JSON has all."""
    return digest.removeprefix("sha256:")[:16] if digest else ""
