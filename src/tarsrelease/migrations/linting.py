"""Findings of the linter squawk."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from tarsrelease.migrations.findings import Finding, Weight, finding
from tarsrelease.migrations.statements import SqlFile

NOT_ASKED = (
    # Timeouts are set for every statement, and the history lets a file run again.
    "require-lock-timeout",
    "require-statement-timeout",
    "prefer-robust-stmts",
    "require-timeout-settings",
    "transaction-nesting",
    # Decided by the locks that the statement really takes.
    "require-concurrent-index-creation",
    "require-concurrent-index-deletion",
    "disallowed-unique-constraint",
    "adding-foreign-key-constraint",
    "constraint-missing-not-valid",
    "adding-field-with-default",
    "changing-column-type",
    "adding-not-nullable-field",
    "adding-required-field",
    # Covered by `breaks-running-version` in the expand phase.
    "ban-drop-column",
    "ban-drop-table",
    "ban-truncate-cascade",
    "renaming-column",
    "renaming-table",
    # A matter of taste.
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-text-field",
    "prefer-timestamptz",
    "ban-char-field",
)


def read_squawk(output: str, file: SqlFile) -> list[Finding]:
    """Findings from ``squawk --reporter json`` of this file; its lines count from 0.

    All are notes: our own rules decide what is refused. Raises ValueError if the output is no
    such JSON.
    """
    findings = []
    starts = [statement.line for statement in file.statements]
    for item in json.loads(output):
        line = int(item["line"]) + 1
        statement = file.statements[_at(starts, line)]
        findings.append(
            finding(
                statement,
                str(item["rule_name"]),
                str(item["message"]),
                str(item.get("help") or ""),
                Weight.NOTE,
            )
        )
    return findings


def _at(starts: Sequence[int], line: int) -> int:
    """The first statement on the last line of `starts` up to this one; the first of all if none."""
    last = bisect_right(starts, line)
    return bisect_left(starts, starts[last - 1]) if last else 0
