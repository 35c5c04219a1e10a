"""The session that changes the database: it holds the lock and runs the statements."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
from psycopg import sql

from tarsrelease.adapters.postgres.connect import backend_pid, connect
from tarsrelease.adapters.postgres.errors import own_error, own_errors
from tarsrelease.adapters.postgres.history import Connection, History
from tarsrelease.migrations.history import HistoryRow
from tarsrelease.migrations.server import LockOwner
from tarsrelease.migrations.statements import Statement
from tarsrelease.model.database import Database
from tarsrelease.model.release import Run

_CANCEL = 10.0
"""Seconds for a cancel request to reach the server, and for the statement to end after it."""

_ENDING = {
    "client_connection_check_interval": "2s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
}


class Task:
    """Work in a thread; nothing else uses the session meanwhile."""

    def __init__(self, connection: Connection, work: Callable[[], None]) -> None:
        self._connection = connection
        self._problem: BaseException | None = None
        self._ended = threading.Event()

        def run() -> None:
            try:
                work()
            except psycopg.Error as problem:
                self._problem = own_error(problem)
            except Exception as problem:  # noqa: BLE001 - raised again by result()
                self._problem = problem
            finally:
                self._ended.set()

        threading.Thread(target=run, name="migration", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait for its end for this long at most; whether it has ended."""
        return self._ended.wait(seconds)

    def cancel(self) -> None:
        """Cancel it on the server; if that fails, close the connection."""
        if self._ended.is_set():
            return
        try:
            self._connection.cancel_safe(timeout=_CANCEL)
        except psycopg.Error:
            self._connection.close()
        if not self._ended.wait(_CANCEL):
            self._connection.close()
            self._ended.wait(_CANCEL)

    def result(self) -> None:
        """Raise its error, if it ended in one."""
        if self._problem is not None:
            raise self._problem


class PostgresWorker:
    """See `ports.database.Worker`."""

    def __init__(self, dsn: str, database: Database, application: str, run: Run) -> None:
        self._database = database
        self._run = run
        self._connection = connect(
            dsn, database, f"tarsrelease migrate {application} {run.id} {run.owner}"
        )
        self._history = History(self._connection, database.schema_name, application)
        self.pid = backend_pid(self._connection)
        self._attempt = 0
        """The row of the last attempt at a non-transactional statement."""
        self._end_with_the_client()
        # The server's own default lets an index build take two cores more from production.
        self._connection.execute(
            sql.SQL("SET max_parallel_maintenance_workers = {}").format(
                sql.Literal(database.build_workers)
            )
        )
        # What is reported as done must survive a crash of the server, even if its default is off.
        self._connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') = 'off'"
        )

    def close(self) -> None:
        """End the session, and with it the lock."""
        self._connection.close()

    def _end_with_the_client(self) -> None:
        """Let the server end the session, and release its lock, when this process is gone.

        Keepalives notice a dead network; client_connection_check_interval (PostgreSQL 14 and
        newer, not on all systems) notices a client that ended in the middle of a statement.
        Otherwise the statement runs to its end and holds the lock until then.
        """
        for name, value in _ENDING.items():
            try:
                self._connection.execute(
                    sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
                )
            except psycopg.Error as problem:
                if problem.sqlstate is None:
                    raise own_error(problem) from problem

    def acquire(self) -> LockOwner | None:
        """Try to take the lock; None if it is ours, else who holds it."""
        if self._history.try_lock():
            return None
        return self._history.lock_owner() or LockOwner(0, "unknown", "unknown", None)

    def prepare_history(self) -> None:
        """Create the history's tables if they do not exist, and record who holds the lock."""
        if self._history.exists():
            self._history.complete()
        else:
            self._history.create()
        self._history.sign_lock(self._run.id, self._run.owner)

    def start(
        self,
        statement: Statement,
        row: HistoryRow,
        *,
        lock_timeout: float,
        deadline: float,
    ) -> Task:
        """Start a statement together with its row of the history; each attempt has its own."""
        if statement.non_transactional is not None:
            return Task(
                self._connection,
                lambda: self._non_transactional(statement, row, lock_timeout, deadline),
            )
        return Task(
            self._connection, lambda: self._transactional(statement, row, lock_timeout, deadline)
        )

    def _transactional(
        self, statement: Statement, row: HistoryRow, lock_timeout: float, deadline: float
    ) -> None:
        try:
            # One round trip instead of six.
            with self._connection.patient_for(deadline), self._connection.pipeline():
                self._connection.execute("BEGIN")
                self._limits(lock_timeout, deadline, local=True)
                self._connection.execute(statement.text.encode(), prepare=False)
                self._history.insert(row, finished=True)
                self._connection.execute("COMMIT")
        except psycopg.Error:
            if not self._connection.closed:
                self._connection.rollback()
            raise

    def _non_transactional(
        self, statement: Statement, row: HistoryRow, lock_timeout: float, deadline: float
    ) -> None:
        inserted = self._history.insert(row, finished=False).fetchone()
        self._attempt = int(inserted[0]) if inserted else 0
        self._limits(lock_timeout, deadline, local=False)
        try:
            with self._connection.patient_for(deadline):
                self._connection.execute(statement.text.encode())
        finally:
            if not self._connection.closed:
                self._limits(0, 0, local=False)
        self._history.finish(self._attempt)

    def _limits(self, lock_timeout: float, deadline: float, *, local: bool) -> None:
        scope = "LOCAL" if local else "SESSION"
        for name, seconds in (("lock_timeout", lock_timeout), ("statement_timeout", deadline)):
            self._connection.execute(f"SET {scope} {name} = {round(seconds * 1000)}".encode())

    def finish(self, row: HistoryRow) -> None:
        """Mark the row of an interrupted attempt as finished."""
        with own_errors():
            self._history.finish(row.id)

    def record_failure(self, error: str) -> None:
        """Record that the last attempt at a non-transactional statement failed."""
        self._history.fail(self._attempt, error)

    def drop_invalid(self, index: str) -> Task:
        """DROP INDEX CONCURRENTLY of what an interrupted build left."""
        statement = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(
            sql.Identifier(*index.split("."))
        )

        def drop() -> None:
            self._limits(0, self._database.build_deadline, local=False)
            with self._connection.patient_for(self._database.build_deadline):
                self._connection.execute(statement)

        return Task(self._connection, drop)
