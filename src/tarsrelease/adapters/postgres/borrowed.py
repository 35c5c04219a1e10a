"""A scratch database on a server that is not ours (`database.scratch_env`); nothing stays there.

The server lacks roles of the real one: they are created without any right, marked by a comment,
and dropped by the last plan that leaves. That plan also removes what a killed one has left.
"""

from __future__ import annotations

import re
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
from psycopg import conninfo, sql

from tarsrelease.adapters.postgres.connect import refused
from tarsrelease.adapters.postgres.history import Connection
from tarsrelease.adapters.postgres.original import LEAVE_THE_DATABASE, Original
from tarsrelease.model.database import Database
from tarsrelease.model.errors import UsageError

_PREFIX = "tarsrelease_scratch_"
_MARK = "tarsrelease: a role of a scratch copy"
_KEY = zlib.crc32(b"tarsrelease scratch")
"""Each plan holds the advisory lock shared; who gets it exclusively is the last one."""
_OWNER = re.compile(r'^(ALTER .* OWNER TO )("(?:[^"]|"")+"|\w+);$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Borrowed:
    """DSNs of the database's owner and of the role that runs the statements.

    `complete`: owners and privileges are copied, too. `owners` are replaced by the role's `name`.
    """

    admin: str
    role: str
    name: str
    complete: bool
    owners: frozenset[str]

    def adapted(self, dump: str) -> str:
        """The dump, in which the role owns what the real role owns."""

        def owner(match: re.Match[str]) -> str:
            name = match[2].strip('"').replace('""', '"')
            return f"{match[1]}{self.name};" if name in self.owners else match[0]

        return _OWNER.sub(owner, dump)


@contextmanager
def borrowed_database(dsn: str, database: Database, original: Original) -> Iterator[Borrowed]:
    """A database of our own on the server behind `dsn`.

    Raises UsageError if its role may not create databases, if roles are missing that it may not
    create, or if it is a superuser and a role without rights cannot log in.
    """
    try:
        server = psycopg.connect(dsn, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError as problem:
        raise refused(problem, dsn, database) from None
    with server:
        server.execute("SET client_min_messages = warning")
        server.execute("SELECT pg_advisory_lock_shared(%s)", (_KEY,))
        name = _PREFIX + secrets.token_hex(4)
        try:
            yield _prepare(server, dsn, name, database, original)
        finally:
            server.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )
            server.execute("SELECT pg_advisory_unlock_shared(%s)", (_KEY,))
            _sweep(server)


def _prepare(
    server: Connection, dsn: str, name: str, database: Database, original: Original
) -> Borrowed:
    row = server.execute(
        "SELECT rolsuper, rolsuper OR rolcreaterole, rolname::text FROM pg_roles "
        "WHERE rolname = current_user"
    ).fetchone()
    superuser, creates_roles, user = row or (False, False, "")
    missing = _make_roles(server, original, creates_roles)
    if missing:
        raise UsageError(
            doing="preparing the server of the scratch copy",
            found=f"it lacks the roles {', '.join(missing)}, which the schema or the migrations "
            f"may name, and {user} may not create roles",
            expected="the roles of the real server",
            next_step=f"ALTER ROLE {user} CREATEROLE: plan creates the roles without rights and "
            "drops them at its end; or create them there",
        )
    mine = conninfo.make_conninfo(dsn, dbname=name)
    if not superuser:
        _make_database(server, name, user, user, database)
        return Borrowed(mine, mine, user, False, frozenset())
    password = secrets.token_hex(16)
    _make_role(server, name, f"LOGIN PASSWORD '{password}'")
    owners = _memberships(server, name, original)
    _make_database(server, name, name if original.creates else user, user, database)
    theirs = conninfo.make_conninfo(dsn, dbname=name, user=name, password=password)
    try:
        psycopg.connect(theirs, connect_timeout=5).close()
    except psycopg.OperationalError:
        raise UsageError(
            doing="preparing the server of the scratch copy",
            found=f"{user} is a superuser there, and a role without rights that plan has created "
            "may not log in",
            expected="statements that run without a superuser's rights",
            next_step=f"let roles log in with a password (pg_hba.conf), or give "
            f"{database.scratch_env} a role that has CREATEDB and CREATEROLE and is no superuser",
        ) from None
    return Borrowed(mine, theirs, name, True, owners)


def _make_roles(server: Connection, original: Original, creates_roles: bool) -> list[str]:
    """Create the roles that the server lacks; those that could not be created."""
    known = {row[0] for row in server.execute("SELECT rolname::text FROM pg_roles")}
    missing = [role[0] for role in original.roles if role[0] not in known]
    if not creates_roles:
        return missing
    for role in missing:
        with suppress(psycopg.errors.DuplicateObject):  # another plan was faster
            _make_role(server, role, "NOLOGIN")
    return []


def _make_role(server: Connection, name: str, options: str) -> None:
    with server.transaction():
        server.execute(
            sql.SQL("CREATE ROLE {} NOSUPERUSER NOCREATEDB NOCREATEROLE " + options).format(
                sql.Identifier(name)
            )
        )
        server.execute(
            sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(name), sql.Literal(_MARK))
        )


def _memberships(server: Connection, name: str, original: Original) -> frozenset[str]:
    """Give the role the real role's memberships; roles in whose place it owns their objects.

    It never becomes a member of a role that has rights of its own on this server.
    """
    strong = {
        row[0]
        for row in server.execute(
            "SELECT rolname::text FROM pg_roles WHERE rolsuper OR rolcreaterole OR rolcreatedb "
            "OR rolreplication OR rolbypassrls"
        )
    }
    wanted = {role for role, member in original.memberships if member == original.role}
    if original.superuser:
        wanted = {role[0] for role in original.roles}
    for role in {original.role, *wanted} - strong - LEAVE_THE_DATABASE - {name}:
        server.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(name)))
    return frozenset({original.role, *(wanted & strong)})


def _make_database(
    server: Connection, name: str, owner: str, user: str, database: Database
) -> None:
    try:
        server.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'").format(
                sql.Identifier(name), sql.Identifier(owner)
            )
        )
    except psycopg.errors.InsufficientPrivilege as problem:
        raise UsageError(
            doing="making a scratch database",
            found=str(problem.diag.message_primary),
            expected="a role that may create databases",
            next_step=f"ALTER ROLE {user} CREATEDB, or another role in {database.scratch_env}",
        ) from None


def _sweep(server: Connection) -> None:
    """Drop our roles and what a killed plan has left, unless another plan works here."""
    row = server.execute("SELECT pg_try_advisory_lock(%s)", (_KEY,)).fetchone()
    if not (row and row[0]):
        return
    left = server.execute(
        "SELECT datname::text FROM pg_database WHERE starts_with(datname, %s)", (_PREFIX,)
    )
    for (name,) in left.fetchall():
        with suppress(psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege):
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
    made = server.execute(
        "SELECT rolname::text FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = %s",
        (_MARK,),
    )
    for (name,) in made.fetchall():
        with suppress(
            psycopg.errors.DependentObjectsStillExist, psycopg.errors.InsufficientPrivilege
        ):
            server.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
