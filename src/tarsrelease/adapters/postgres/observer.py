"""Runs one statement on a copy and observes its locks, changed rows and changes of the catalog."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from tarsrelease.adapters.postgres.facts import GRANTS, TRIAL_SCHEMA, watched
from tarsrelease.adapters.postgres.names import name_of
from tarsrelease.migrations.locks import Footprint, Mode, TableLock, mode_of, strongest_each
from tarsrelease.migrations.problems import ClusterWideError
from tarsrelease.migrations.trial import Trial

Connection = psycopg.Connection[tuple[Any, ...]]

_EVENTS = f"{TRIAL_SCHEMA}.changed"
_CHANGES = f"""
CREATE SCHEMA {TRIAL_SCHEMA};
GRANT USAGE ON SCHEMA {TRIAL_SCHEMA} TO PUBLIC;
{GRANTS}
CREATE FUNCTION {TRIAL_SCHEMA}.note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  event text := CASE TG_OP WHEN 'UPDATE' THEN 'u' WHEN 'INSERT' THEN 'i' ELSE 'd' END
    || TG_RELID || ',';
  known text := coalesce(pg_catalog.current_setting('{_EVENTS}', true), '');
BEGIN
  IF pg_catalog.strpos(known, event) = 0 THEN
    PERFORM pg_catalog.set_config('{_EVENTS}', known || event, true);
  END IF;
  RETURN NULL;
END $$;
DO $do$ DECLARE name text; BEGIN
  FOR name IN SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  LOOP
    EXECUTE 'CREATE TRIGGER {TRIAL_SCHEMA} BEFORE INSERT OR DELETE OR TRUNCATE OR UPDATE'
      || ' ON ' || name
      || ' FOR EACH STATEMENT EXECUTE FUNCTION {TRIAL_SCHEMA}.note()';
  END LOOP;
  FOR name IN SELECT DISTINCT format('%I.%I', n.nspname, c.relname) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_trigger g ON g.tgrelid = c.oid WHERE c.relkind = 'v'
  LOOP
    EXECUTE 'CREATE TRIGGER {TRIAL_SCHEMA} BEFORE INSERT OR DELETE OR UPDATE ON ' || name
      || ' FOR EACH STATEMENT EXECUTE FUNCTION {TRIAL_SCHEMA}.note()';
  END LOOP;
END $do$
"""  # noqa: S608 - constants only
"""Triggers fire for a statement, however deep it hides, and even if no row is affected.

Those of views fire where INSTEAD OF triggers do the work; else the table's fires.
"""
_SYSTEM = f"""(SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_'
                      OR nspname IN ('information_schema', '{TRIAL_SCHEMA}'))"""  # noqa: S608 - constants only
_KNOWN = f"""
SELECT c.oid, {name_of("c.oid")}, c.relkind::text, pg_relation_filenode(c.oid)
FROM pg_class c WHERE c.relkind IN ('r', 'p', 'm', 'i', 'I', 'v', 'S', 'f')
AND c.relnamespace NOT IN {_SYSTEM}
"""  # noqa: S608 - constants only
_COUNTS = f"""
       (SELECT json_object_agg(oid, scans) FROM (SELECT c.oid, pg_stat_get_xact_numscans(c.oid)
        FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm') OFFSET 0)
        used(oid, scans) WHERE scans > 0),
       (SELECT json_object_agg(oid, ARRAY[added, updated, deleted])
        FROM (SELECT oid, pg_stat_get_xact_tuples_inserted(oid),
          pg_stat_get_xact_tuples_updated(oid), pg_stat_get_xact_tuples_deleted(oid)
        FROM unnest(WATCHED::oid[]) oid OFFSET 0) counted(oid, added, updated, deleted)
        WHERE added + updated + deleted > 0),
       (SELECT json_object_agg(p.oid, pg_stat_get_xact_function_calls(p.oid)) FROM pg_proc p
        WHERE p.oid >= 16384 AND pg_stat_get_xact_function_calls(p.oid) > 0
        AND p.pronamespace NOT IN {_SYSTEM})"""  # noqa: S608 - constants only
"""Since the session last reported its numbers to the statistics, which a transaction does not do.

Users' objects have oids from 16384 (FirstNormalObjectId of PostgreSQL's transam.h)."""
_AFTER = f"""
SELECT (SELECT json_agg(ARRAY[l.relation::text, l.mode, {name_of("c.oid")}, c.relkind::text,
          pg_relation_filenode(c.oid)::text])
        FROM pg_locks l LEFT JOIN pg_class c ON c.oid = l.relation
          AND c.relnamespace NOT IN {_SYSTEM}
        WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid() AND l.granted
          AND l.relation >= 16384),
       current_setting('{_EVENTS}', true), pg_current_xact_id_if_assigned()::xid::text::bigint,
       {_COUNTS}
"""  # noqa: S608 - constants only
_SESSION = """
SELECT ARRAY(SELECT 'the setting ' || name FROM pg_settings WHERE source = 'session'
             AND name || '=' || setting <> ALL (%(settings)s) AND name NOT LIKE 'tarsrelease%%')
       || CASE WHEN pg_my_temp_schema() <> 0 THEN
          ARRAY(SELECT 'temporary ' || relname FROM pg_class
                WHERE relnamespace = pg_my_temp_schema() AND relkind IN ('r', 'v', 'S', 'm', 'c'))
          || ARRAY(SELECT 'temporary ' || proname FROM pg_proc
                WHERE pronamespace = pg_my_temp_schema())
          || ARRAY(SELECT 'temporary ' || typname FROM pg_type
                WHERE typnamespace = pg_my_temp_schema() AND typtype IN ('d', 'e')) END
       || ARRAY(SELECT 'the role ' || current_user WHERE current_user <> session_user)
       || ARRAY(SELECT 'prepared statement ' || name FROM pg_prepared_statements WHERE from_sql)
       || ARRAY(SELECT 'cursor ' || name FROM pg_cursors WHERE is_holdable)
       || ARRAY(SELECT 'channel ' || c FROM pg_listening_channels() c)
       || ARRAY(SELECT 'an advisory lock' FROM pg_locks l WHERE l.locktype = 'advisory'
                AND l.pid = pg_backend_pid() AND l.granted)
"""
_OLDER = """
SELECT EXISTS (SELECT FROM pg_class WHERE oid BETWEEN 16384 AND %(newest)s::oid
               AND xmin::text::bigint >= %(since)s),
       EXISTS (SELECT FROM pg_attribute WHERE attrelid BETWEEN 16384 AND %(newest)s::oid
               AND xmin::text::bigint >= %(since)s),
       EXISTS (SELECT FROM pg_sequence WHERE seqrelid BETWEEN 16384 AND %(newest)s::oid
               AND xmin::text::bigint >= %(since)s)
"""
"""Whether a transaction has changed rows of relations that are as old as the copy."""
_AGAIN = f"""
DO $do$ DECLARE name text; BEGIN
  FOR name IN SELECT tgrelid::regclass::text FROM pg_trigger
    WHERE tgname = '{TRIAL_SCHEMA}' AND tgenabled <> 'O'
  LOOP
    EXECUTE 'ALTER TABLE ' || name || ' ENABLE TRIGGER {TRIAL_SCHEMA}';
  END LOOP;
END $do$
"""  # noqa: S608 - constants only
_SILENCED = f"""
SELECT tgrelid FROM pg_trigger WHERE tgname = '{TRIAL_SCHEMA}'
AND xmin::text::bigint >= %(since)s
"""  # noqa: S608 - constants only
"""Tables whose trigger the statement has disabled or enabled."""
_BY_RELATION = ("pg_class", "pg_attribute", "pg_sequence")
_SHARED = (
    *("pg_authid", "pg_auth_members", "pg_database", "pg_db_role_setting", "pg_parameter_acl"),
    *("pg_replication_origin", "pg_shdescription", "pg_shseclabel", "pg_subscription"),
    "pg_tablespace",
)
"""What all databases of a server share; pg_shdepend also changes with objects of one database."""


@dataclass(frozen=True, slots=True)
class _Relation:
    name: str
    kind: str
    filenode: int | None


@dataclass(frozen=True, slots=True)
class Observed:
    """A trial, and the system catalogs that it changed (None: unknown).

    By oid: `executed` functions, `sequences` that it used, and tables with an `inserted`,
    `updated` or deleted row, or that would have one.
    """

    trial: Trial
    changed: frozenset[str] | None
    executed: frozenset[int] = frozenset()
    sequences: frozenset[int] = frozenset()
    inserted: frozenset[int] = frozenset()
    updated: frozenset[int] = frozenset()


def prepare(connection: Connection) -> None:
    """Let every table of the copy report statements that delete or update its rows."""
    connection.execute(_CHANGES.encode())


def listen_again(connection: Connection) -> None:
    """Enable the triggers that a statement has disabled with all others of its table."""
    connection.execute(_AGAIN.encode())


class Observer:
    """Runs statements in one session of the copy; knows the relations that existed before.

    `alone`: the server is ours, so that a statement may change what its databases share.
    """

    def __init__(self, connection: Connection, *, alone: bool = True) -> None:
        self._connection = connection
        self._shared = () if alone else _SHARED
        self._settings = [
            row[0]
            for row in connection.execute(
                "SELECT name || '=' || setting FROM pg_settings WHERE source = 'session'"
            )
        ]
        self._watched: dict[int, str] = dict(
            connection.execute(
                "SELECT oid::bigint, relname FROM pg_class "
                "WHERE relname = ANY (%s) AND relnamespace = 'pg_catalog'::regnamespace",
                [[*watched(), *self._shared]],
            ).fetchall()
        )
        oids = f"'{{{','.join(map(str, self._watched))}}}'"
        self._before = f"SELECT {_COUNTS}".replace("WATCHED", oids).encode()
        self._after = _AFTER.replace("WATCHED", oids).encode()
        self._newest = _row(connection.execute("SELECT max(oid)::bigint FROM pg_class"))[0]
        self._relations: dict[int, _Relation] = {}
        self._learn()

    def _learn(self) -> None:
        self._relations = {
            row[0]: _Relation(*row[1:]) for row in self._connection.execute(_KNOWN.encode())
        }

    def run(self, text: str) -> Observed:
        """Run it in a transaction that is committed.

        Raises psycopg's errors, and ClusterWideError if the server is not ours and the statement
        changes what its databases share.
        """
        connection = self._connection
        try:
            with connection.pipeline():  # one round trip
                connection.execute("BEGIN")
                first = connection.execute(self._before)
                connection.execute(text.encode(), prepare=False)
                # Deferred triggers would run after the last look.
                connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                last = connection.execute(self._after)
                if not self._shared:
                    ended = self._commit()
            scans, counts, calls = _row(first)
            locks, events, since, scanned, counted, called = _row(last)
            before, after = self._by_catalog(counts), self._by_catalog(counted)
            if self._shared:
                wide = [name for name in self._shared if after.get(name) != before.get(name)]
                if wide:
                    raise ClusterWideError(", ".join(wide))  # noqa: TRY301 - rolled back below
                with connection.pipeline():
                    ended = self._commit()
            session = _row(ended)[0]
            changed = self._changed(before, after, since)
            silenced = (
                {row[0] for row in connection.execute(_SILENCED.encode(), {"since": since})}
                if "pg_trigger" in changed
                else set()
            )
        except BaseException:
            if not connection.closed:
                connection.rollback()
            raise
        # Without their trigger, a lock for writing is all that can be known.
        written = {int(lock[0]) for lock in locks or [] if lock[1] == "RowExclusiveLock"}
        events = (events or "") + "".join(f"d{oid}," for oid in written & silenced)
        tables: dict[str, set[int]] = {"d": set(), "i": set(), "u": set()}
        for event in filter(None, events.split(",")):
            tables[event[0]].add(int(event[1:]))
        names = {
            event: frozenset(self._relations[oid].name for oid in oids if oid in self._relations)
            for event, oids in tables.items()
        }
        used = [int(lock[0]) for lock in locks or [] if lock[3] == "S"]
        trial = self._trial(locks or [], _more(scans, scanned), session)
        return Observed(
            replace(trial, deleted=names["d"], updated=names["u"]),
            changed,
            executed=frozenset(_more(calls, called)),
            sequences=frozenset(used),
            inserted=frozenset(tables["i"]),
            updated=frozenset(tables["u"]),
        )

    def run_alone(self, text: str, footprint: Footprint) -> Observed:
        """Run what cannot run in a transaction; its footprint is as documented."""
        self._connection.execute(text.encode())
        self._learn()
        return Observed(Trial(footprint), None)

    def _commit(self) -> psycopg.Cursor[tuple[Any, ...]]:
        self._connection.execute("COMMIT")
        return self._connection.execute(_SESSION.encode(), {"settings": self._settings})

    def _by_catalog(self, counts: dict[str, list[int]] | None) -> dict[str, list[int]]:
        return {self._watched[int(oid)]: each for oid, each in (counts or {}).items()}

    def _changed(
        self, before: dict[str, list[int]], after: dict[str, list[int]], since: int | None
    ) -> frozenset[str]:
        """Catalogs in which rows were updated or deleted, other than those of new relations.

        Nobody relies on what is newer than the copy. `since` is the transaction's xid.
        """
        changes = {
            name: [
                now - then for now, then in zip(counts, before.get(name, [0, 0, 0]), strict=True)
            ]
            for name, counts in after.items()
        }
        changed = {name for name, (_, *others) in changes.items() if any(others)}
        changed |= {f"{name}+" for name, (inserted, *_) in changes.items() if inserted}
        if changed.intersection(_BY_RELATION):
            parameters = {"newest": self._newest, "since": since}
            older = _row(self._connection.execute(_OLDER.encode(), parameters))
            changed -= {
                name
                for name, existed in zip(_BY_RELATION, older, strict=True)
                if not existed and not changes.get(name, [0, 0, 0])[2]
            }
        if "pg_class" in changed and changes.get("pg_attribute", [0])[0]:
            changed.add("pg_attribute")  # a new column of a table that existed
        return frozenset(changed)

    def _trial(
        self,
        locks: list[list[str | None]],
        scanned: set[int],
        session: list[str],
    ) -> Trial:
        before = dict(self._relations)
        taken = []
        rewritten = set()
        reads = False
        for oid_text, mode, name, kind, filenode in locks:
            oid = int(str(oid_text))
            number = int(filenode) if filenode is not None else None
            known = before.get(oid)
            if known is not None and known.kind in {"r", "p", "m", "v", "f"}:
                reads |= mode_of(str(mode)) <= Mode.RowExclusive
            # Reading takes ACCESS SHARE, which blocks nobody.
            if known is not None and mode_of(str(mode)) > 1:
                taken.append(TableLock(known.name, mode_of(str(mode)), known.kind))
            if name is None:
                self._relations.pop(oid, None)
                continue
            if known is not None and known.kind in {"r", "p", "m"} and number != known.filenode:
                rewritten.add(known.name)
            if str(kind) in {"r", "p", "m", "i", "I", "v", "S", "f"}:
                self._relations[oid] = _Relation(name, str(kind), number)
        tables = {oid for oid in scanned if oid in before and before[oid].kind in {"r", "p", "m"}}
        return Trial(
            Footprint(
                strongest_each(taken),
                rewritten=frozenset(rewritten),
                scanned=frozenset(before[oid].name for oid in tables & self._relations.keys()),
            ),
            session=tuple(sorted(set(session))),
            reads=reads or bool(tables),  # an aborted subtransaction keeps no locks
        )


def _row(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM
    return row


def _more(before: dict[str, int] | None, after: dict[str, int] | None) -> set[int]:
    """Relations or functions that were used more often."""
    then = before or {}
    return {int(oid) for oid, count in (after or {}).items() if count > then.get(oid, 0)}


def set_search_path(connection: Connection, schema: str) -> None:
    """Let unqualified names mean the same as in the real session."""
    connection.execute(sql.SQL("SET search_path = {}, public").format(sql.Identifier(schema)))
