"""Findings of the linter squawk."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tarsrelease.migrations.findings import Finding, Weight, finding
from tarsrelease.migrations.statements import SqlFile, Statement

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
    for item in json.loads(output):
        line = int(item["line"]) + 1
        statement = _at(file.statements, line)
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


def _at(statements: Sequence[Statement], line: int) -> Statement:
    """The statement that contains this line; the first one for lines before it."""
    return max(
        (one for one in statements if one.line <= line),
        key=lambda one: one.line,
        default=statements[0],
    )
