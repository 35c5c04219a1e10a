"""The history's tables, and the lock with the name of its holder."""

from __future__ import annotations

import zlib
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from tarsrelease.adapters.postgres.errors import own_errors
from tarsrelease.migrations.history import HistoryRow
from tarsrelease.migrations.server import LockOwner

HISTORY = "tarsrelease_migrations"
OWNER = "tarsrelease_migration_lock"

_LOCK_CLASS = zlib.crc32(b"tarsrelease migrate") - 2**31
_TABLES = """
CREATE TABLE {history} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    application text NOT NULL,
    release text NOT NULL,
    file text NOT NULL,
    direction text NOT NULL CHECK (direction IN ('up', 'down')),
    statement integer NOT NULL,
    statements integer NOT NULL,
    sha256 text NOT NULL,
    file_sha256 text NOT NULL,
    undoes text[] NOT NULL DEFAULT '{{}}',
    started timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished timestamptz,
    by text NOT NULL,
    run text NOT NULL,
    error text
);
CREATE TABLE {owner} (
    application text PRIMARY KEY,
    pid integer NOT NULL,
    run text NOT NULL,
    by text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
_COLUMNS = (
    *("id", "release", "file", "direction", "statement", "statements", "sha256", "file_sha256"),
    *("undoes", "started", "finished", "by", "run"),
)

Connection = psycopg.Connection[tuple[Any, ...]]


def lock_key(application: str) -> tuple[int, int]:
    """The two keys of the advisory lock: ours, and the application's."""
    return _LOCK_CLASS, zlib.crc32(application.encode()) - 2**31


class History:
    """The history of one application in one schema."""

    def __init__(self, connection: Connection, schema: str, application: str) -> None:
        self._connection = connection
        self._schema = schema
        self._application = application
        self._composed: dict[str, bytes] = {}

    def _sql(self, text: LiteralString) -> bytes:
        if text not in self._composed:
            query = sql.SQL(text).format(
                history=sql.Identifier(self._schema, HISTORY),
                owner=sql.Identifier(self._schema, OWNER),
            )
            self._composed[text] = query.as_bytes(self._connection)
        return self._composed[text]

    def exists(self) -> bool:
        """Whether the tables exist."""
        with own_errors():
            row = self._connection.execute(
                "SELECT to_regclass(%s) IS NOT NULL", (f'"{self._schema}".{HISTORY}',)
            ).fetchone()
        return bool(row and row[0])

    def create(self) -> None:
        """Create the tables, both or none."""
        with own_errors(), self._connection.transaction():
            self._connection.execute(self._sql(_TABLES))

    def complete(self) -> None:
        """Add the column that tables of earlier versions lack."""
        with own_errors():
            found = self._connection.execute(
                "SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'error'",
                (f'"{self._schema}".{HISTORY}',),
            ).fetchone()
            if found is None:
                self._connection.execute(self._sql("ALTER TABLE {history} ADD COLUMN error text"))

    def rows(self) -> list[HistoryRow]:
        """All of this application's rows, oldest first."""
        if not self.exists():
            return []
        with own_errors():
            found = self._connection.execute(
                self._sql(
                    # Tables of earlier versions have no column `error`.
                    f"SELECT {', '.join(_COLUMNS)}, to_jsonb(h) ->> 'error' FROM {{history}} h "  # noqa: S608 - constants only
                    "WHERE application = %s ORDER BY id"
                ),
                (self._application,),
            ).fetchall()
        names = (*_COLUMNS, "error")
        return [
            HistoryRow(**{**dict(zip(names, row, strict=True)), "undoes": tuple(row[8])})
            for row in found
        ]

    def insert(self, row: HistoryRow, *, finished: bool) -> psycopg.Cursor[tuple[Any, ...]]:
        """Add a row with the server's time; `finished` also sets its end. The cursor has its id."""
        return self._connection.execute(
            self._sql(
                "INSERT INTO {history} (application, release, file, direction, statement, "
                "statements, sha256, file_sha256, undoes, by, run, started, finished) VALUES "
                "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, "
                "CASE WHEN %s THEN transaction_timestamp() ELSE clock_timestamp() END, "
                "CASE WHEN %s THEN clock_timestamp() END) RETURNING id"
            ),
            (
                *(self._application, row.release, row.file, row.direction, row.statement),
                *(row.statements, row.sha256, row.file_sha256, list(row.undoes)),
                *(row.by, row.run, finished, finished),
            ),
        )

    def finish(self, row_id: int) -> None:
        """Set a row's end to now."""
        self._connection.execute(
            self._sql("UPDATE {history} SET finished = clock_timestamp() WHERE id = %s"), (row_id,)
        )

    def fail(self, row_id: int, error: str) -> None:
        """Record that the attempt ended in an error and left nothing behind."""
        with own_errors():
            self._connection.execute(
                self._sql("UPDATE {history} SET error = %s WHERE id = %s"), (error, row_id)
            )

    def try_lock(self) -> bool:
        """Take the lock for this session if it is free. It never waits: a session that waits for
        an advisory lock has a snapshot, and CREATE INDEX CONCURRENTLY would wait for that."""
        with own_errors():
            row = self._connection.execute(
                "SELECT pg_try_advisory_lock(%s, %s)", lock_key(self._application)
            ).fetchone()
        return bool(row and row[0])

    def sign_lock(self, run: str, by: str) -> None:
        """Record who holds the lock."""
        with own_errors():
            self._connection.execute(
                self._sql(
                    "INSERT INTO {owner} (application, pid, run, by) "
                    "VALUES (%s, pg_backend_pid(), %s, %s) ON CONFLICT (application) DO UPDATE "
                    "SET pid = EXCLUDED.pid, run = EXCLUDED.run, by = EXCLUDED.by, "
                    "since = clock_timestamp()"
                ),
                (self._application, run, by),
            )

    def lock_owner(self) -> LockOwner | None:
        """Who holds the lock now; the record counts only if it is of the same session."""
        classid, objid = lock_key(self._application)
        with own_errors():
            row = self._connection.execute(
                "SELECT a.pid, a.application_name, a.usename, a.backend_start, a.query "
                "FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 "
                "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
                "AND l.classid = %s AND l.objid = %s",
                (classid % 2**32, objid % 2**32),
            ).fetchone()
            if row is None:
                return None
            signed = None
            if self.exists():
                signed = self._connection.execute(
                    self._sql(
                        "SELECT run, by, since FROM {owner} WHERE application = %s AND pid = %s"
                    ),
                    (self._application, row[0]),
                ).fetchone()
        doing = " ".join((row[4] or "").split())[:80] or None
        if signed is None:
            return LockOwner(row[0], "unknown", row[2] or row[1] or "unknown", row[3], doing)
        return LockOwner(row[0], signed[0], signed[1], signed[2], doing)
