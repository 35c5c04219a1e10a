"""The texts of a copy's functions and triggers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import psycopg

from tarsrelease.adapters.postgres.facts import NAMES
from tarsrelease.migrations.losses import destroyed_by, taken_by
from tarsrelease.migrations.routines import Routine, called_by, removals
from tarsrelease.migrations.statements import Statement

_ROUTINES = f"""
SELECT p.oid::bigint, {NAMES["function"]}, p.proname::text, BODY FROM {NAMES["functions"]}
"""  # noqa: S608 - constants only
_TRIGGERS = f"""
SELECT g.tgname::text, {NAMES["relation"]}, g.tgfoid::bigint FROM pg_trigger g
JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND g.tgname <> '{NAMES["trial"]}'
AND (g.tgtype & 4 > 0 AND g.tgrelid = ANY (%s) OR g.tgtype & 16 > 0 AND g.tgrelid = ANY (%s))
"""  # noqa: S608 - constants only
"""tgtype has bit 2 for INSERT and bit 4 for UPDATE (pg_trigger.h)."""


class Routines:
    """What functions may remove, through a connection that sees the whole catalog."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection
        self.read()

    def read(self) -> None:
        """Read the functions again."""
        newer = self._connection.info.server_version >= 140000
        body = "coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)" if newer else "p.prosrc"
        self._known = {
            oid: Routine(signature, name, text)
            for oid, signature, name, text in self._connection.execute(
                _ROUTINES.replace("BODY", body).encode()
            )
        }
        self._harmless = not removals((), self._known, self._known, taken_by)

    def called(
        self, statement: Statement, executed: Collection[int], *, reads: bool
    ) -> tuple[str, ...]:
        """What the statement calls, and what that may remove.

        `reads`: it used rows, so that branches may depend on them.
        """
        if self._harmless:
            return ()
        words = taken_by if reads else destroyed_by
        return tuple(removals(called_by(statement), executed, self._known, words))

    def fired(self, inserted: Collection[int], updated: Collection[int]) -> tuple[str, ...]:
        """Triggers of these tables, and what they may remove."""
        if self._harmless or not (inserted or updated):
            return ()
        rows = self._connection.execute(_TRIGGERS.encode(), [list(inserted), list(updated)])
        return tuple(
            f"trigger {trigger} of {table}: {line}"
            for trigger, table, oid in rows
            for line in removals((), [oid], self._known)
        )
