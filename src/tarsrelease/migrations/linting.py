"""What the linter squawk says, in our findings."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tarsrelease.migrations.findings import Finding, Weight, finding
from tarsrelease.migrations.statements import SqlFile, Statement

NOT_ASKED = (
    # What these want is done for every statement: timeouts are set, and the history makes it
    # possible to run a file again.
    "require-lock-timeout",
    "require-statement-timeout",
    "prefer-robust-stmts",
    "require-timeout-settings",
    "transaction-nesting",
    # Told by measuring instead, from the locks that the statement really takes.
    "require-concurrent-index-creation",
    "require-concurrent-index-deletion",
    "disallowed-unique-constraint",
    "adding-foreign-key-constraint",
    "constraint-missing-not-valid",
    "adding-field-with-default",
    "changing-column-type",
    "adding-not-nullable-field",
    "adding-required-field",
    # Told by `breaks-running-version`, where it matters: before the version changes.
    "ban-drop-column",
    "ban-drop-table",
    "ban-truncate-cascade",
    "renaming-column",
    "renaming-table",
    # A matter of taste: the bundle's own schema decides.
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-text-field",
    "prefer-timestamptz",
    "ban-char-field",
)


def read_squawk(output: str, file: SqlFile) -> list[Finding]:
    """Findings from ``squawk --reporter json`` of this file; its lines count from 0.

    All are notes: what must be refused is refused by rules of our own. Raises ValueError where
    the output is no such JSON.
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
    """The statement in which this line is; the first one for what stands before it."""
    return max(
        (one for one in statements if one.line <= line),
        key=lambda one: one.line,
        default=statements[0],
    )
