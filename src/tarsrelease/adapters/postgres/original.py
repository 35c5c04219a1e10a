"""What a copy needs from the real server besides the schema: roles, their rights, settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tarsrelease.adapters.postgres.history import Connection

SUPERUSER = "tarsrelease_throwaway"
"""The superuser of a copy's server; statements never run as this role."""
_SETTINGS = (
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "bytea_output",
    "check_function_bodies",
    "standard_conforming_strings",
    "xmloption",
)
_HIDDEN = """
SELECT nspname::text, NULL FROM pg_namespace
WHERE NOT has_schema_privilege(oid, 'USAGE') AND nspname !~ '^pg_'
UNION ALL SELECT n.nspname::text, c.relname::text FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND NOT has_table_privilege(c.oid, 'SELECT')
AND has_schema_privilege(n.oid, 'USAGE') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY 1, 2
"""
LEAVE_THE_DATABASE = {
    "pg_read_server_files",
    "pg_write_server_files",
    "pg_execute_server_program",
}


@dataclass(frozen=True, slots=True)
class Original:
    """Roles with their attributes as in pg_roles, and memberships as (role, member)."""

    database: str
    encoding: str
    role: str
    superuser: bool
    creates: bool
    roles: tuple[tuple[Any, ...], ...]
    memberships: tuple[tuple[str, str], ...]
    settings: Mapping[str, str]
    hidden: tuple[tuple[str, str | None], ...] = ()
    """Schemas, and tables in schemas, that the role may not read."""


def read_original(connection: Connection) -> Original:
    """Read it through a session of the role that migrates."""
    row = connection.execute(
        "SELECT current_database()::text, current_setting('server_encoding'), current_user::text, "
        "current_setting('is_superuser') = 'on', "
        "has_database_privilege(current_database(), 'CREATE')"
    ).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM
    roles = connection.execute(
        "SELECT rolname::text, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolbypassrls "
        "FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY oid"
    ).fetchall()
    memberships = connection.execute(
        "SELECT r.rolname::text, m.rolname::text FROM pg_auth_members a "
        "JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member "
        "GROUP BY r.rolname, m.rolname"
    ).fetchall()
    hidden = connection.execute(_HIDDEN.encode()).fetchall()
    settings = {}
    for name in _SETTINGS:
        value = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
        settings[name] = str(value[0]) if value else ""
    return Original(
        database=row[0],
        encoding=row[1],
        role=row[2],
        superuser=row[3],
        creates=row[4],
        roles=tuple(roles),
        memberships=tuple((one[0], one[1]) for one in memberships),
        settings=settings,
        hidden=tuple((one[0], one[1]) for one in hidden),
    )


def recreate(original: Original, admin: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Make the roles and an empty database of the same name on a server of our own.

    No role is a superuser: a role that is one on the real server gets the rights of all others.
    """
    known = {row[0] for row in admin.execute("SELECT rolname::text FROM pg_roles")}
    made = []
    for name, *attributes in original.roles:
        if name in known:
            continue
        words = ("INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "BYPASSRLS")
        wanted = dict(zip(words, attributes, strict=True))
        wanted["LOGIN"] |= name == original.role
        clause = " ".join(word if yes else f"NO{word}" for word, yes in wanted.items())
        admin.execute(sql.SQL("CREATE ROLE {} " + clause).format(sql.Identifier(name)))
        made.append(name)
    for role, member in original.memberships:
        if role in {*known, *made} and member in made and role not in LEAVE_THE_DATABASE:
            _grant(admin, role, member)
    if original.superuser:
        for role in made:
            if role != original.role:
                _grant(admin, role, original.role)
    owner = original.role if original.creates else SUPERUSER
    if original.database in {"postgres", "template0", "template1"}:
        admin.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                sql.Identifier(original.database), sql.Identifier(owner)
            )
        )
        return
    admin.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {}").format(
            sql.Identifier(original.database),
            sql.Identifier(owner),
            sql.Literal(original.encoding),
        )
    )


def _grant(admin: psycopg.Connection[tuple[Any, ...]], role: str, member: str) -> None:
    """A circle of memberships cannot exist, but one through the superuser's grants could."""
    try:
        admin.execute(
            sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(member))
        )
    except psycopg.errors.InvalidGrantOperation:
        return
