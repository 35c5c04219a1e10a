"""The positions of a copy's sequences."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import psycopg
from psycopg import sql

from tarsrelease.migrations.sequences import Position, is_set

_SPREAD = """
SELECT oid, setval(oid::regclass, (start + increment * least(16411, room))::bigint), increment,
       cache, bound
FROM (SELECT seqrelid::bigint AS oid, seqstart AS start, seqincrement AS increment,
             seqcache AS cache, bound,
             div(bound::numeric - seqstart, seqincrement::numeric * 2) AS room
      FROM pg_sequence, LATERAL (SELECT CASE WHEN seqincrement > 0 THEN seqmax ELSE seqmin END)
          ends(bound)
      WHERE has_sequence_privilege(seqrelid, 'UPDATE') OFFSET 0) s
"""
"""Away from their start, so that a statement that sets one to a number goes back. The number is
small enough for columns of smallint."""


class Positions:
    """Knows the position of each sequence that the copy has at the beginning.

    The connection must see all schemas by their full names only (an empty search path).
    """

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection
        self._known = {
            oid: Position(value, True, 0, increment, cache, bound)
            for oid, value, increment, cache, bound in connection.execute(_SPREAD.encode())
        }

    def moved(self, used: Collection[int]) -> frozenset[str]:
        """Sequences among those that were `used` whose position was set since the last call."""
        asked = [oid for oid in used if oid in self._known]
        if not asked:
            return frozenset()
        there = self._connection.execute(
            "SELECT c.oid::bigint, n.nspname::text, c.relname::text, s.seqincrement, s.seqcache, "
            "CASE WHEN s.seqincrement > 0 THEN s.seqmax ELSE s.seqmin END "
            "FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY (%s)",
            [asked],
        ).fetchall()
        found = set()
        for oid, schema, name, *settings in there:
            row = self._connection.execute(
                sql.SQL("SELECT last_value, is_called, log_cnt FROM {}").format(
                    sql.Identifier(schema, name)
                )
            ).fetchone()
            assert row is not None  # noqa: S101 - a sequence has one row
            last_value, is_called, log_count = row
            now = Position(last_value, is_called, log_count, *settings)
            if is_set(self._known[oid], now):
                found.add(f"{schema}.{name}")
            self._known[oid] = now
        return frozenset(found)
