"""Throwaway copies of a schema, for trying statements."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo, sql

from tarsrelease.adapters.postgres.connect import address, dsn_of, refused, without_password
from tarsrelease.adapters.postgres.errors import own_errors
from tarsrelease.adapters.postgres.history import HISTORY, OWNER
from tarsrelease.adapters.postgres.names import name_of
from tarsrelease.adapters.postgres.programs import find
from tarsrelease.adapters.postgres.throwaway import ThrowawayServer
from tarsrelease.migrations.dumps import executable
from tarsrelease.migrations.locks import Footprint, TableLock, mode_of, strongest_each
from tarsrelease.migrations.problems import SqlError
from tarsrelease.migrations.statements import Statement
from tarsrelease.model.environment import Database
from tarsrelease.model.errors import UnreachableError, UsageError

_DUMP = 120.0
_TRY = "60s"
_RELATIONS = f"""
SELECT c.oid, {name_of("c.oid")}, c.relkind::text, pg_relation_filenode(c.oid),
       coalesce(s.seq_scan, 0) + coalesce(s.idx_scan, 0)
FROM pg_class c LEFT JOIN pg_stat_xact_all_tables s ON s.relid = c.oid
WHERE c.relkind IN ('r', 'p', 'm', 'i', 'I', 'v', 'S')
  AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_%'
                             OR nspname = 'information_schema')
"""  # noqa: S608 - constants only
_LOCKS = """
SELECT relation, mode FROM pg_locks
WHERE locktype = 'relation' AND pid = pg_backend_pid() AND granted
"""


class Scratch:
    """See `ports.database.ScratchDatabase`."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(
            dsn, autocommit=True
        )
        self._schema = schema
        self._connection.execute("SET client_min_messages = warning")
        self._connection.execute(f"SET statement_timeout = '{_TRY}'")
        self.version = str(self._connection.info.parameter_status("server_version"))
        self._use_schema()

    def _use_schema(self) -> None:
        self._connection.execute(
            sql.SQL("SET search_path = {}, public").format(sql.Identifier(self._schema))
        )

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def fill(self, dump: str) -> None:
        """Restore a dump of a schema. Raises UsageError if this server cannot hold it."""
        try:
            with own_errors():
                self._connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
                self._connection.execute("CREATE SCHEMA public")
                self._connection.execute(executable(dump).encode())
                # The dump empties the search path.
                self._connection.execute("RESET ALL")
                self._connection.execute(f"SET statement_timeout = '{_TRY}'")
                self._use_schema()
        except SqlError as problem:
            raise UsageError(
                doing="copying the schema to a throwaway database",
                found=f"{problem.message} {problem.hint}".strip(),
                expected=f"a schema that PostgreSQL {self.version} can hold",
                next_step="set database.scratch_env to the DSN of a server of the same version "
                "with the same extensions, where databases may be created",
            ) from problem

    def footprint(self, statement: Statement) -> Footprint:
        """Run the statement in a transaction that is rolled back; return what it locks.

        A relation whose storage changed was rewritten; pg_stat_xact_all_tables counts scans.
        Relations that the statement itself creates are left out.
        """
        with own_errors(), self._connection.transaction(force_rollback=True):
            before = {row[0]: row for row in self._connection.execute(_RELATIONS).fetchall()}
            self._connection.execute(statement.text.encode())
            locked = self._connection.execute(_LOCKS).fetchall()
            after = {row[0]: row for row in self._connection.execute(_RELATIONS).fetchall()}
        # Reading takes ACCESS SHARE, which blocks nobody.
        locks = [
            TableLock(before[oid][1], mode_of(mode), before[oid][2])
            for oid, mode in locked
            if oid in before
        ]
        tables = {oid for oid, row in before.items() if row[2] in {"r", "p", "m"}}
        return Footprint(
            strongest_each(lock for lock in locks if lock.mode > 1),
            rewritten=frozenset(
                before[oid][1] for oid in tables & after.keys() if after[oid][3] != before[oid][3]
            ),
            scanned=frozenset(
                before[oid][1] for oid in tables & after.keys() if after[oid][4] > before[oid][4]
            ),
        )

    def apply(self, statement: Statement) -> None:
        """Run it for good."""
        with own_errors():
            self._connection.execute(statement.text.encode())

    def dump(self) -> str:
        """The schema as pg_dump prints it, without the history's tables."""
        return dump_schema(self._dsn, self._connection.info.server_version // 10000)


def dump_schema(dsn: str, version: int) -> str:
    """pg_dump of the schema alone, without owners and privileges. Raises ReleaseError.

    pg_dump must not be older than the server. The password travels in PGPASSWORD, because every
    process can see arguments.
    """
    program = find("pg_dump", at_least=version)
    settings = conninfo.conninfo_to_dict(dsn)
    password = settings.pop("password", None)
    done = subprocess.run(
        [
            str(program),
            *("--schema-only", "--no-owner", "--no-privileges", "--no-publications"),
            *("--no-subscriptions", "--no-tablespaces"),
            *(f"--exclude-table=*.{name}" for name in (HISTORY, OWNER)),
            *("--dbname", conninfo.make_conninfo("", **settings)),
        ],
        env=_environment(str(password) if password else None),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_DUMP,
    )
    if done.returncode != 0:
        found = without_password(" ".join(done.stderr.split()))
        rights = "permission denied" in found
        kind = UsageError if rights else UnreachableError
        raise kind(
            doing=f"dumping the schema of {address(dsn)}",
            found=found,
            expected="pg_dump --schema-only to succeed",
            next_step="the role must own, or be able to read, every table (pg_read_all_data)"
            if rights
            else "check that the server answers",
        )
    return done.stdout


def _environment(password: str | None) -> dict[str, str]:
    import os

    return {**os.environ, "LC_ALL": "C", **({"PGPASSWORD": password} if password else {})}


@contextmanager
def scratch_copy(dsn: str, database: Database, version: int) -> Iterator[Scratch]:
    """A throwaway copy of the schema behind `dsn`, whose server is of this major version."""
    dump = dump_schema(dsn, version)
    with ExitStack() as stack:
        target = stack.enter_context(_server(database, version))
        scratch = Scratch(target, database.schema_name)
        stack.callback(scratch.close)
        scratch.fill(dump)
        yield scratch


def _server(database: Database, version: int) -> AbstractContextManager[str]:
    if database.scratch_env is not None:
        return _scratch_database(dsn_of(database, database.scratch_env), database)
    return _embedded(find("postgres", best=version))


@contextmanager
def _embedded(program: Path) -> Iterator[str]:
    with ThrowawayServer(program) as server:
        yield server.dsn()


@contextmanager
def _scratch_database(dsn: str, database: Database) -> Iterator[str]:
    """A database of our own on the user's server, dropped at the end."""
    name = f"tarsrelease_scratch_{secrets.token_hex(4)}"
    try:
        admin = psycopg.connect(dsn, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError as problem:
        raise refused(problem, dsn, database) from None
    with admin:
        try:
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
            )
        except psycopg.errors.InsufficientPrivilege as problem:
            raise UsageError(
                doing="making a scratch database",
                found=str(problem.diag.message_primary),
                expected="a role that may create databases",
                next_step=f"ALTER ROLE ... CREATEDB, or another role in {database.scratch_env}",
            ) from None
        try:
            yield conninfo.make_conninfo(dsn, dbname=name)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
