"""Connections to PostgreSQL: TLS, deadlines, and poolers that cannot carry a migration."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import conninfo, sql

from tarsrelease.adapters.postgres.bounded import BoundedConnection
from tarsrelease.model.database import Database
from tarsrelease.model.errors import ReleaseError, UnreachableError, UsageError
from tarsrelease.model.format import duration

_ENCRYPTED = {"require", "verify-ca", "verify-full"}
_PASSWORD = re.compile(r"(password=)\S+|(://[^:/@\s]*:)[^@\s]*(@)", re.IGNORECASE)
_APPLICATION_NAME = 63
"""NAMEDATALEN - 1: PostgreSQL cuts what is longer."""


RESET = (
    "transaction_timeout",
    "statement_timeout",
    "lock_timeout",
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
)
"""Settings of the role that the environment's deadlines replace."""
_RESET = (
    "SELECT set_config(name, '0', false) FROM pg_settings "  # noqa: S608 - constants only
    f"WHERE setting <> '0' AND name IN ({', '.join(repr(name) for name in RESET)})"
)
_SESSION_VARIABLES = ("PGTZ", "PGDATESTYLE", "PGGEQO", "PGCLIENTENCODING")
"""Variables by which libpq would change the session of the database."""


@contextmanager
def _without_session_variables() -> Iterator[None]:
    """The time zone is the database's, not this machine's."""
    kept = {name: os.environ.pop(name) for name in _SESSION_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def dsn_of(database: Database, variable: str | None = None) -> str:
    """The connection string from the environment variable. Raises UsageError if it is wrong."""
    name = variable or database.dsn_env
    value = os.environ.get(name, "").strip()
    doing = "connecting to the database"
    if not value:
        raise UsageError(
            doing=doing,
            found=f"the environment variable {name} is not set",
            expected="a DSN: postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full",
            next_step=f"export {name}=... (in CI: an environment secret)",
        )
    settings = _settings(value)
    if settings is None:
        # Not a word of it or of libpq's message: any part may be the password.
        raise UsageError(
            doing=doing,
            found=f"{name} is not a DSN that libpq can read",
            expected="a DSN: postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full",
            next_step=f"correct {name}; percent-encode the password: @ is %40, / is %2F, ? is %3F, "
            "# is %23, : is %3A, % is %25",
        )
    if database.tls is not None:
        settings["sslmode"] = database.tls
    return conninfo.make_conninfo("", **settings)


def _settings(value: str) -> dict[str, str | int] | None:
    """The DSN's parts; None if it cannot be read, or reads as something that was not meant.

    An unescaped ``/`` or ``@`` in a password moves a part of it into the host or the database.
    """
    try:
        settings = {
            name: part
            for name, part in conninfo.conninfo_to_dict(value).items()
            if part is not None
        }
    except psycopg.ProgrammingError:
        return None
    if "://" in str(settings.get("dbname", "")):
        return None
    if value.startswith(("postgres://", "postgresql://")):
        hosts = str(settings.get("host", "")).split(",")
        ports = str(settings.get("port", "")).split(",")
        if any("@" in part for part in [*hosts, str(settings.get("dbname", ""))]) or not all(
            port.isdigit() or not port for port in ports
        ):
            return None
    return settings


def without_password(text: str) -> str:
    """The text with passwords in DSNs replaced."""
    return _PASSWORD.sub(lambda m: f"{m[1] or m[2]}***{m[3] or ''}", text)


def address(dsn: str) -> str:
    """``user@host:port/database`` of a DSN, for people."""
    settings = conninfo.conninfo_to_dict(dsn)
    host = settings.get("host") or settings.get("hostaddr") or "local socket"
    return (
        f"{settings.get('user') or 'default user'}@{host}:{settings.get('port') or 5432}"
        f"/{settings.get('dbname') or settings.get('user') or 'default database'}"
    )


def connect(dsn: str, database: Database, application_name: str) -> BoundedConnection:
    """An autocommit connection that notices a dead network within half a minute.

    Every wait for the server ends (see `BoundedConnection`). Raises UnreachableError if nobody
    answers, UsageError if the server refuses.
    """
    settings: dict[str, str | int] = {
        "connect_timeout": max(2, round(database.connect_timeout)),
        "application_name": application_name[:_APPLICATION_NAME],
        "client_encoding": "utf8",  # files are UTF-8, whatever the database stores
        # A cut network is noticed after 10 + 3 * 5 s while waiting, 20 s while sending.
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }
    try:
        with _without_session_variables():
            connection = BoundedConnection.connect(
                conninfo.make_conninfo(dsn, **settings), autocommit=True
            )
        connection.execute(_RESET.encode())
        connection.execute("SET client_min_messages = warning")
        connection.execute(
            sql.SQL("SET search_path = {}, public").format(sql.Identifier(database.schema_name))
        )
    except psycopg.OperationalError as problem:
        raise refused(problem, dsn, database) from None
    if database.tls in _ENCRYPTED and not connection.pgconn.ssl_in_use:
        connection.close()
        raise UsageError(
            doing="connecting to the database",
            found="the connection is not encrypted",
            expected=f"TLS, as the environment says (database.tls: {database.tls})",
            next_step="enable ssl on the server, or change database.tls",
        )
    return connection


def refused(problem: psycopg.OperationalError, dsn: str, database: Database) -> ReleaseError:
    """Why there is no connection, and what to do. libpq gives no SQLSTATE here, only text."""
    text = without_password(" ".join(str(problem).split()))
    doing = f"connecting to {address(dsn)}"

    def usage(expected: str, next_step: str) -> UsageError:
        return UsageError(doing=doing, found=text, expected=expected, next_step=next_step)

    low = text.lower()
    if "password authentication failed" in low or "no password supplied" in low:
        return usage("a user and password that the server accepts", f"correct {database.dsn_env}")
    if "no pg_hba.conf entry" in low:
        return usage(
            "a server that lets this user in from here",
            "allow it in pg_hba.conf, or go through a port-forward or --as-job",
        )
    if "role " in low and "does not exist" in low:
        return usage("an existing role", f"create it, or correct {database.dsn_env}")
    if "database " in low and "does not exist" in low:
        return usage("an existing database", f"create it, or correct {database.dsn_env}")
    if "certificate" in low or "server does not support ssl" in low or "root.crt" in low:
        return usage(
            f"TLS as sslmode={database.tls or 'in the DSN'} asks for it",
            "give sslrootcert in the DSN, correct the host name, or change database.tls",
        )
    if "permission denied for database" in low or "not permitted to log in" in low:
        return usage("a role that may connect", "GRANT CONNECT, or ALTER ROLE ... LOGIN")
    return UnreachableError(
        doing=doing,
        found=text,
        expected=f"an answer within {duration(database.connect_timeout)}",
        next_step="check host, port and network policy; is the server up? (`pg_isready`)",
    )


def refuse_transaction_pooler(dsn: str, database: Database) -> None:
    """Raise UsageError behind a pooler that gives each transaction another server session.

    Behind a pooler, the process id given at connecting is not that of the server's session. One
    that pools sessions is fine. In transaction mode, a second client's transaction gets the session
    that the first, still connected client has just used, or moves the first one to another.
    """
    first = connect(dsn, database, "tarsrelease migrate (pooler check)")
    with first:
        before = backend_pid(first)
        if before == first.info.backend_pid:
            return
        second = connect(dsn, database, "tarsrelease migrate (pooler check)")
        with second:
            second.autocommit = False
            other = backend_pid(second)
            after = backend_pid(first)
            second.rollback()
    if other == before or after != before:
        raise UsageError(
            doing=f"connecting to {address(dsn)}",
            found="a pooler in transaction mode (such as PgBouncer) is in between: two "
            "transactions of one connection ran in different sessions",
            expected="one session for the whole migration: its lock, its timeouts and CREATE INDEX "
            "CONCURRENTLY need it",
            next_step=f"point {database.dsn_env} at PostgreSQL itself, or at a pool with "
            "pool_mode=session",
        )


def backend_pid(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    """The process id of the server's session."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return int(str(row[0])) if row else 0
