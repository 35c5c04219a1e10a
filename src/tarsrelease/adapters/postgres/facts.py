"""Reads a catalog as facts. Groups whose system catalogs did not change are not read again."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from tarsrelease.adapters.postgres.history import HISTORY, OWNER
from tarsrelease.migrations.facts import Fact, Facts, Promise

TRIAL_SCHEMA = "tarsrelease_trial"
"""Where a copy keeps what it needs for observing statements."""
GRANTS = f"""
CREATE FUNCTION {TRIAL_SCHEMA}.grants(acl aclitem[], OUT grantee oid, OUT privilege_type text)
RETURNS SETOF record LANGUAGE sql STABLE AS $$
  SELECT grantee, privilege_type FROM pg_catalog.aclexplode(acl)
  UNION ALL SELECT grantee, privilege_type || ' WITH GRANT OPTION'
  FROM pg_catalog.aclexplode(acl) WHERE is_grantable
$$;
"""  # noqa: S608 - constants only
"""The privileges in a list, a grant option as one of its own."""


def _not_of_an_extension(catalog: str, oid: str) -> str:
    return (
        f"NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{catalog}'::regclass "
        f"AND e.objid = {oid} AND e.deptype = 'e')"
    )


_USERS = f"(n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', '{TRIAL_SCHEMA}'))"
_RELATION = "n.nspname || '.' || c.relname"
_RELATIONS = (
    f"pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND {_USERS} "
    f"AND c.relname NOT IN ('{HISTORY}', '{OWNER}') "
    "AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') "
    f"AND {_not_of_an_extension('pg_class', 'c.oid')}"
)
NAMES = {
    "users": _USERS,
    "relations": _RELATIONS,
    "relation": _RELATION,
    "kind": "CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' "
    "WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' "
    "ELSE 'composite type' END",
    "columns": f"pg_attribute a JOIN {_RELATIONS} "
    "ON c.oid = a.attrelid AND a.attnum > 0 AND NOT a.attisdropped",
    "column": f"{_RELATION} || '.' || a.attname",
    "column_key": "'a' || a.attrelid || '.' || a.attnum",
    "functions": f"pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND {_USERS} "
    f"AND {_not_of_an_extension('pg_proc', 'p.oid')}",
    "function": "n.nspname || '.' || p.proname || '(' || "
    "pg_get_function_identity_arguments(p.oid) || ')'",
    "types": f"pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace AND {_USERS} "
    f"AND {_not_of_an_extension('pg_type', 't.oid')} AND t.typtype IN ('d', 'e', 'r')",
    "type": "CASE t.typtype WHEN 'd' THEN 'domain ' ELSE 'type ' END "
    "|| n.nspname || '.' || t.typname",
    "trial": TRIAL_SCHEMA,
}
"""Parts of queries."""
_DESCRIBED = (
    *("pg_collation", "pg_operator", "pg_cast", "pg_opclass", "pg_opfamily", "pg_conversion"),
    *("pg_ts_config", "pg_ts_dict", "pg_foreign_server", "pg_foreign_data_wrapper"),
    *("pg_language", "pg_event_trigger", "pg_statistic_ext"),
)
"""Objects of which only the existence and the name matter."""


@cache
def _groups() -> dict[str, tuple[tuple[str, ...], str]]:
    """For each group, the system catalogs that it is read from, and its query."""
    text = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    found = {}
    for part in text.split("\n-- group ")[1:]:
        head, _, body = part.partition("\n")
        name, _, catalogs = head.partition(": ")
        body = re.sub(r"\$([a-z_]+)", lambda match: NAMES[match[1]], body)
        queries = [one for one in body.split(";\n") if one.strip()]
        found[name] = (tuple(catalogs.split()), " UNION ALL ".join(queries))
    described = "pg_describe_object('{0}'::regclass, o.oid, 0)"
    query = (
        "SELECT 'has', '{0}.' || o.oid, '', " + f"{described}, {described} FROM {{0}} o "  # noqa: S608 - constants only
        "WHERE o.oid >= 16384 AND " + _not_of_an_extension("{0}", "o.oid")
    )
    found["others"] = (_DESCRIBED, " UNION ALL ".join(map(query.format, _DESCRIBED)))
    return found


def watched() -> list[str]:
    """System catalogs whose changes matter."""
    return sorted({name.rstrip("+") for catalogs, _ in _groups().values() for name in catalogs})


class FactReader:
    """Reads facts through a connection that sees the whole catalog; remembers the last ones."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection
        self._found: dict[str, dict[str, Fact]] = {}
        self.read()

    def read(self, changed: Collection[str] | None = None) -> Facts:
        """The facts now; `changed` are the system catalogs that changed since (None: unknown)."""
        superuser = self._connection.info.parameter_status("is_superuser") == "on"
        for name, (catalogs, query) in _groups().items():
            if name == "passwords" and not superuser:
                continue
            if (
                name in self._found
                and changed is not None
                and not any(one in changed for one in catalogs)
            ):
                continue
            self._found[name] = {
                key: Fact(Promise(promise), parent, text, value)
                for promise, key, parent, text, value in self._connection.execute(query.encode())
            }
        return dict(self._found)
