"""How long a statement may take, and whether it gives way, by what it locks."""

from __future__ import annotations

from dataclasses import dataclass

from tarsrelease.migrations.statements import NODES, NonTransactional, Statement, options
from tarsrelease.model.database import Database

_ROWS = {"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "select_stmt"}
"""Statements that lock rows; their table locks block no query."""
_READS = {"create_table_as_stmt", "explain_stmt", "comment_stmt", "vacuum_stmt"}
"""Statements that block no query of what existed before; ANALYZE is a `vacuum_stmt`."""
_CALLS = {"do_stmt", "call_stmt"}
"""Statements of which only the locks that they take show what they do."""
_ALLOWED = {"table-rewrite", "long-lock", "cluster", "lock-table", "vacuum-full"}


@dataclass(frozen=True, slots=True)
class Deadline:
    """`setting` of the environment gives the `seconds`.

    `blocking`: seconds for which it may hold a lock that blocks others; None: no limit of its own.
    `lock_timeout`: seconds that it may wait for a lock, with others queueing behind it; 0: as
    long as it needs, because nobody queues behind it.
    """

    setting: str
    seconds: float
    blocking: float | None
    lock_timeout: float

    def __str__(self) -> str:
        text = f"{self.seconds:g} s ({self.setting})"
        if self.blocking is not None and self.blocking < self.seconds:
            text += f", {self.blocking:g} s while it blocks others (blocking_timeout)"
        return text


def deadline_of(statement: Statement, database: Database) -> Deadline:
    """The deadline of a statement in this environment.

    Plan refuses statements that block others for long, by what it measures. The limits here hold
    without a plan too, and if the tables have changed since.
    """
    if statement.non_transactional is not None and not is_full_vacuum(statement):
        return Deadline("build_deadline", database.build_deadline, None, 0.0)
    allowed = bool(_ALLOWED & statement.allowed.keys())
    kind = str(statement.node.WhichOneof("node"))
    blocking = None if allowed else min(database.blocking_timeout, database.statement_timeout)
    patient = kind in _ROWS | _READS | _CALLS or _validates(statement) or _refreshes(statement)
    if allowed or (patient and not is_full_vacuum(statement)):
        return Deadline(
            "statement_timeout", database.statement_timeout, blocking, database.lock_timeout
        )
    seconds = min(database.blocking_timeout, database.statement_timeout)
    return Deadline("blocking_timeout", seconds, blocking, database.lock_timeout)


def is_full_vacuum(statement: Statement) -> bool:
    """VACUUM FULL cannot run in a transaction, but locks like ALTER TABLE."""
    return statement.non_transactional is NonTransactional.VACUUM and "full" in options(
        statement.node.vacuum_stmt.options
    )


def _refreshes(statement: Statement) -> bool:
    """REFRESH MATERIALIZED VIEW CONCURRENTLY lets queries read the view meanwhile."""
    return bool(statement.node.refresh_mat_view_stmt.concurrent)


def _validates(statement: Statement) -> bool:
    """VALIDATE CONSTRAINT and SET STATISTICS take SHARE UPDATE EXCLUSIVE, which blocks no query."""
    harmless = {
        NODES.AlterTableType.AT_ValidateConstraint,
        NODES.AlterTableType.AT_SetStatistics,
    }
    commands = statement.node.alter_table_stmt.cmds
    return bool(commands) and all(
        command.alter_table_cmd.subtype in harmless for command in commands
    )
