"""What is dangerous about a statement's locks, and how long it is expected to take."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tarsrelease.migrations.findings import Finding, Weight, finding
from tarsrelease.migrations.locks import Footprint, Mode
from tarsrelease.migrations.rules import MEASURED
from tarsrelease.migrations.statements import NonTransactional, Statement

# Bytes per second of table data on one core with data in memory: benchmarks/migrations_load.py
# measures a CREATE INDEX CONCURRENTLY. Slow disks make it longer; only the order of magnitude is
# used.
_READ = 200e6
_BUILD = 40e6
_REWRITE = 40e6


class Duration(StrEnum):
    """How long a statement is expected to take, by order of magnitude."""

    INSTANT = "instant"
    SECONDS = "seconds"
    MINUTES = "minutes"
    HOURS = "hours"


@dataclass(frozen=True, slots=True)
class RelationSize:
    """A table's (or index's) bytes with its indexes and TOAST, and its estimated rows."""

    bytes: int
    rows: int


def expected_seconds(
    statement: Statement, footprint: Footprint, sizes: Mapping[str, RelationSize]
) -> float:
    """Seconds that the work on table data takes; 0 where only the catalog changes."""

    def weight(relations: frozenset[str]) -> int:
        return sum(sizes[name].bytes for name in relations if name in sizes)

    if statement.node.WhichOneof("node") == "truncate_stmt":
        return 0.0
    builds = statement.non_transactional in {
        NonTransactional.CREATE_INDEX,
        NonTransactional.REINDEX,
    }
    builds = builds or statement.node.WhichOneof("node") in {"index_stmt", "reindex_stmt"}
    read = weight(footprint.scanned - footprint.rewritten) / (_BUILD if builds else _READ)
    return read + weight(footprint.rewritten) / _REWRITE


def duration_class(seconds: float) -> Duration:
    """The class of an expected duration: below 1 s, a minute, an hour, or more."""
    if seconds < 1:
        return Duration.INSTANT
    if seconds < 60:
        return Duration.SECONDS
    return Duration.MINUTES if seconds < 3600 else Duration.HOURS


def dangers(statement: Statement, footprint: Footprint, existing: Container[str]) -> list[Finding]:
    """A rewrite, or a whole table read under a lock that blocks others.

    Only for relations that are `existing` in the real database: nobody uses yet what the
    migration itself creates. The size does not matter, because the statement must not pass on
    staging's small table and then block production. A small table is a reason to allow it by name.
    """
    if statement.node.WhichOneof("node") in {"vacuum_stmt", "cluster_stmt"}:
        return []  # `vacuum-full` and `cluster` cover it
    if statement.node.WhichOneof("node") == "truncate_stmt":
        return []  # new storage, but empty and instant; `breaks-running-version` covers it
    findings = []
    for name in sorted(one for one in footprint.rewritten if one in existing):
        found = f"rewrites the whole table {name}, which blocks reads and writes meanwhile"
        findings.append(
            finding(statement, "table-rewrite", found, MEASURED["table-rewrite"], Weight.REFUSED)
        )
    for lock in footprint.locks:
        if (
            lock.mode >= Mode.Share
            and lock.relation in existing
            and lock.relation in footprint.scanned
            and lock.relation not in footprint.rewritten
        ):
            found = f"reads the whole table {lock.relation} under {lock.mode.words}, which blocks "
            findings.append(
                finding(
                    statement,
                    "long-lock",
                    found + lock.mode.blocks,
                    _way_out(statement),
                    Weight.REFUSED,
                )
            )
    return findings


def _way_out(statement: Statement) -> str:
    match statement.node.WhichOneof("node"):
        case "index_stmt":
            return "CREATE INDEX CONCURRENTLY"
        case "reindex_stmt":
            return "REINDEX ... CONCURRENTLY"
        case "alter_table_stmt":
            return (
                "add the constraint NOT VALID and VALIDATE it in a statement of its own; for SET "
                "NOT NULL, validate CHECK (column IS NOT NULL) first"
            )
    return "split the statement, or run it separately from the release"
