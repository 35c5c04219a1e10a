"""Rules that need only the statement itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import postgast

from tarsrelease.migrations.findings import Finding, Weight, finding
from tarsrelease.migrations.losses import destroyed_in_block
from tarsrelease.migrations.outside import outside
from tarsrelease.migrations.statements import NODES, NonTransactional, Statement, options

NEVER = {
    "leaves-database": "a migration changes the database and nothing else: do this separately, "
    "with the rights that it needs",
    "transaction-control": "each statement is a transaction of its own here, so that it can be "
    "resumed: remove BEGIN, COMMIT, ROLLBACK and SAVEPOINT",
    "session-state": "a resumed migration has a new session without this: the environment sets "
    "timeouts; set options of functions and roles with ALTER",
    "not-resumable": "after a crash nobody can know whether this statement finished: run it "
    "separately from the release",
    "input-data": "COPY from standard input has no input here: write INSERT, or load the data "
    "separately",
    "unnamed-index": "an index built concurrently needs a name, so that a broken build can be "
    "found and repaired",
    "several-indexes": "PostgreSQL drops one index at a time concurrently: one statement each",
    "wide-maintenance": "name one index or table: maintenance of a whole schema or database "
    "cannot be resumed",
}
REFUSABLE = {
    "vacuum-full": "it rewrites the table under ACCESS EXCLUSIVE, which blocks reads and writes",
    "cluster": "it rewrites the table under ACCESS EXCLUSIVE, which blocks reads and writes",
    "lock-table": "it blocks others until the statement's transaction ends",
    "unbounded-write": "every row is written and locked in one transaction, and vacuum cannot "
    "clean behind it: write in batches with a WHERE, or in the application",
    "breaks-running-version": "the version that still runs may use what this removes: do it in a "
    "contract migration, when nothing can be rolled back to any more",
}
MEASURED = {
    "cluster-wide": "it changes the whole server, and database.scratch_env names one that is not "
    "ours: unset it, or do this separately from the release",
    "empty-copy": "the statement fails on a copy without rows: allow it if it succeeds with rows",
    "table-rewrite": "the whole table is rewritten under a lock that blocks everybody",
    "long-lock": "the whole table is read under a lock that blocks reads or writes meanwhile",
}
NOTES = {
    "comment": "write the comment again if people or tools read it",
    "built-text": "read it: a copy without rows may not reach all of it",
    "trigger": "nothing, if the running version fires the trigger too",
}
"""What is only reported."""
RULES = {**NEVER, **REFUSABLE, **MEASURED}
"""Every rule with its remedy or its reason."""

_REMOVES = {
    NODES.AlterTableType.AT_DropColumn: "drops a column",
    NODES.AlterTableType.AT_AlterColumnType: "changes a column's type",
    NODES.AlterTableType.AT_SetNotNull: "forbids NULL, which the running version may write",
}
_DROPS = {
    NODES.ObjectType.OBJECT_TABLE: "a table",
    NODES.ObjectType.OBJECT_VIEW: "a view",
    NODES.ObjectType.OBJECT_MATVIEW: "a materialized view",
    NODES.ObjectType.OBJECT_FUNCTION: "a function",
    NODES.ObjectType.OBJECT_PROCEDURE: "a procedure",
    NODES.ObjectType.OBJECT_SCHEMA: "a schema",
    NODES.ObjectType.OBJECT_SEQUENCE: "a sequence",
    NODES.ObjectType.OBJECT_TYPE: "a type",
}
_RESTARTS = "restarts a sequence, whose values the running version may have used"
_RENAMED = {NODES.ObjectType.OBJECT_COLUMN, *_DROPS}
_CLUSTER_WIDE = {
    *("create_role_stmt", "alter_role_stmt", "alter_role_set_stmt", "drop_role_stmt"),
    *("grant_role_stmt", "drop_owned_stmt", "reassign_owned_stmt"),
    *("alter_database_stmt", "alter_database_set_stmt"),
}
_SHARED = {
    NODES.ObjectType.OBJECT_DATABASE,
    NODES.ObjectType.OBJECT_ROLE,
    NODES.ObjectType.OBJECT_TABLESPACE,
    NODES.ObjectType.OBJECT_PARAMETER_ACL,
}
_NOT_RESUMABLE = {
    "createdb_stmt",
    "dropdb_stmt",
    "alter_system_stmt",
    "create_table_space_stmt",
    "drop_table_space_stmt",
    "create_subscription_stmt",
    "alter_subscription_stmt",
    "drop_subscription_stmt",
}


def is_cluster_wide(statement: Statement) -> bool:
    """Whether it changes what all databases of a server share, or names the database itself."""
    kind = _kind(statement)
    grant, comment = statement.node.grant_stmt, statement.node.comment_stmt
    return (
        kind in _CLUSTER_WIDE
        or (kind == "grant_stmt" and grant.objtype in _SHARED)
        or (kind == "comment_stmt" and comment.objtype in _SHARED)
    )


def revokes(statement: Statement) -> bool:
    """Whether it takes privileges away, or gives an object another owner."""
    node = statement.node
    if _kind(statement) == "alter_owner_stmt":
        return True
    if any(
        item.alter_table_cmd.subtype == NODES.AlterTableType.AT_ChangeOwner
        for item in node.alter_table_stmt.cmds
    ):
        return True
    return any(
        isinstance(found, NODES.GrantStmt) and not found.is_grant for found in statement.nodes
    )


def check_statement(statement: Statement, phase: str) -> list[Finding]:
    """Findings of our own rules; `phase` is ``expand``, ``contract`` or ``down``."""
    rules = [*_never(statement), *_refusable(statement, phase)]
    return [
        finding(
            statement,
            rule,
            found,
            RULES[rule],
            Weight.NEVER if rule in NEVER else Weight.REFUSED,
        )
        for rule, found in rules
    ]


def _kind(statement: Statement) -> str:
    return str(statement.node.WhichOneof("node"))


def _never(statement: Statement) -> Iterator[tuple[str, str]]:
    node, kind = statement.node, _kind(statement)
    if kind == "transaction_stmt":
        yield "transaction-control", statement.first_line
    if kind in _NOT_RESUMABLE or (kind == "alter_table_stmt" and _detaches_concurrently(node)):
        yield "not-resumable", statement.first_line
    if (kind == "variable_set_stmt" and not node.variable_set_stmt.is_local) or kind in {
        "discard_stmt",
        "prepare_stmt",
        "listen_stmt",
    }:
        yield "session-state", statement.first_line
    for found in dict.fromkeys(_session_state(statement)):
        yield "session-state", found
    for found in dict.fromkeys(outside(statement)):
        yield "leaves-database", found
    if kind == "copy_stmt" and node.copy_stmt.is_from and not node.copy_stmt.filename:
        yield "input-data", statement.first_line
    if statement.non_transactional is NonTransactional.CREATE_INDEX and not statement.names:
        yield "unnamed-index", "CREATE INDEX CONCURRENTLY without a name"
    if statement.non_transactional is NonTransactional.DROP_INDEX and len(statement.names) > 1:
        yield "several-indexes", f"drops {', '.join(statement.names)} at once"
    if (
        statement.non_transactional in {NonTransactional.REINDEX, NonTransactional.VACUUM}
        and len(statement.names) != 1
    ):
        yield "wide-maintenance", statement.first_line


def _session_state(statement: Statement) -> Iterator[str]:
    """What ends with the session, or binds it."""
    called = set()
    for found in statement.nodes:
        match found:
            case NODES.RangeVar() if (
                found.relpersistence == "t" or found.schemaname.lower() == "pg_temp"
            ):
                yield f"temporary {found.relname} ends with the session"
            case NODES.CreateFunctionStmt() if _is_temporary(found.funcname):
                yield "a temporary function ends with the session"
            case NODES.CreateEnumStmt() if _is_temporary(found.type_name):
                yield "a temporary type ends with the session"
            case NODES.CreateDomainStmt() if _is_temporary(found.domainname):
                yield "a temporary domain ends with the session"
            case NODES.DeclareCursorStmt():
                yield f"cursor {found.portalname} ends with the session"
            case NODES.FuncCall() if found.funcname:
                name = found.funcname[-1].string.sval.lower()
                called.add(name)
                if name == "set_config" and not _is_true(found.args[-1]):
                    yield "set_config changes the session"
                if name == "setseed":
                    yield "setseed changes the session"
                if name.startswith(("pg_advisory_lock", "pg_try_advisory_lock")):
                    yield f"{name} keeps its lock until the session ends"
    if "nextval" not in called:
        for name in sorted(called & {"currval", "lastval"}):
            yield f"{name} needs the session of an earlier statement"


def _is_temporary(name: Any) -> bool:
    return len(name) > 1 and name[0].string.sval.lower() == "pg_temp"


def _is_true(argument: Any) -> bool:
    constant = argument.type_cast.arg if argument.WhichOneof("node") == "type_cast" else argument
    value = constant.a_const
    return bool(value.boolval.boolval) or value.sval.sval.lower() in {"t", "true", "on", "1"}


def _refusable(statement: Statement, phase: str) -> Iterator[tuple[str, str]]:
    node, kind = statement.node, _kind(statement)
    if kind == "vacuum_stmt" and "full" in options(node.vacuum_stmt.options):
        yield "vacuum-full", statement.first_line
    if kind == "cluster_stmt":
        yield "cluster", statement.first_line
    if kind == "lock_stmt":
        yield "lock-table", statement.first_line
    for verb in _unbounded(statement):
        yield "unbounded-write", f"{verb} without WHERE"
    if phase == "expand":
        for found in _removes(statement):
            yield "breaks-running-version", found
        for found in destroyed_in_block(statement):
            yield "breaks-running-version", f"its block has {found}, perhaps in a branch or a loop"


def _detaches_concurrently(node: Any) -> bool:
    return any(
        item.alter_table_cmd.subtype == NODES.AlterTableType.AT_DetachPartition
        and getattr(item.alter_table_cmd, "def").partition_cmd.concurrent
        for item in node.alter_table_stmt.cmds
    )


def _unbounded(statement: Statement) -> Iterator[str]:
    """Also those inside WITH. A condition without a column is true for all rows or for none."""
    for found in statement.nodes:
        if isinstance(found, (NODES.UpdateStmt, NODES.DeleteStmt)) and not any(
            isinstance(part, (NODES.ColumnRef, NODES.SubLink))
            for _, part in postgast.walk(found.where_clause)
        ):
            yield "UPDATE" if isinstance(found, NODES.UpdateStmt) else "DELETE"


def _removes(statement: Statement) -> Iterator[str]:
    for found in statement.nodes:
        if isinstance(found, NODES.FuncCall) and found.funcname[-1].string.sval == "lo_unlink":
            yield "removes a large object"
    node = statement.node
    match _kind(statement):
        case "drop_stmt" if node.drop_stmt.remove_type in _DROPS:
            yield f"drops {_DROPS[node.drop_stmt.remove_type]}"
        case "rename_stmt" if node.rename_stmt.rename_type in _RENAMED:
            yield "renames what the running version knows by its old name"
        case "truncate_stmt":
            yield "empties a table"
        case "refresh_mat_view_stmt" if node.refresh_mat_view_stmt.skip_data:
            yield "empties a materialized view"
        case "alter_seq_stmt" if any(
            item.def_elem.defname == "restart" for item in node.alter_seq_stmt.options
        ):
            yield _RESTARTS
        case "alter_table_stmt":
            for item in node.alter_table_stmt.cmds:
                command = item.alter_table_cmd
                if command.subtype in _REMOVES:
                    yield _REMOVES[command.subtype] + f" ({command.name})"
                if command.subtype == NODES.AlterTableType.AT_SetIdentity and any(
                    one.def_elem.defname == "restart" for one in getattr(command, "def").list.items
                ):
                    yield _RESTARTS
                if command.subtype == NODES.AlterTableType.AT_AddColumn and _requires(
                    getattr(command, "def").column_def
                ):
                    yield "adds a column that the running version's INSERT would have to fill"


def _requires(column: Any) -> bool:
    kinds = {item.constraint.contype for item in column.constraints}
    filled = {
        NODES.ConstrType.CONSTR_DEFAULT,
        NODES.ConstrType.CONSTR_IDENTITY,
        NODES.ConstrType.CONSTR_GENERATED,
    }
    serial = any("serial" in part.string.sval for part in column.type_name.names)
    return NODES.ConstrType.CONSTR_NOTNULL in kinds and not kinds & filled and not serial
