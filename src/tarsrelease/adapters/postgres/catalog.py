"""The database, read-only: catalog, sessions, sizes, load."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import sql

from tarsrelease.adapters.postgres.bounded import GRACE
from tarsrelease.adapters.postgres.connect import RESET, connect
from tarsrelease.adapters.postgres.errors import own_errors
from tarsrelease.adapters.postgres.history import HISTORY, History
from tarsrelease.adapters.postgres.names import name_of, regclass
from tarsrelease.migrations.assertions import IndexState, QueryRun
from tarsrelease.migrations.dangers import RelationSize
from tarsrelease.migrations.guards import Vitals
from tarsrelease.migrations.history import HistoryRow
from tarsrelease.migrations.losses import Loss
from tarsrelease.migrations.problems import SqlError
from tarsrelease.migrations.server import BuildProgress, LockOwner, Server, Session
from tarsrelease.migrations.statements import Statement, index_on
from tarsrelease.model.database import Database

_NO_PRIVILEGE = "42501"
_DEADLINE = 10.0
"""Seconds for a query of the catalog."""

_SESSION = (
    "a.pid, coalesce(a.usename, '?'), coalesce(a.application_name, ''), coalesce(a.state, "
    "'hidden from this role'), extract(epoch FROM clock_timestamp() - a.xact_start)::float8, "
    "coalesce(a.query, '')"
)


class PostgresCatalog:
    """See `ports.database.Catalog`."""

    def __init__(self, dsn: str, database: Database, application: str) -> None:
        self._connection = connect(dsn, database, f"tarsrelease migrate {application} (reading)")
        self._schema = database.schema_name
        self._history = History(self._connection, database.schema_name, application)
        self._connection.patience = _DEADLINE + GRACE
        self._connection.execute(f"SET statement_timeout = '{_DEADLINE:.0f}s'")
        self._connection.execute("SET lock_timeout = '2s'")

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def _all(self, query: str, parameters: Sequence[object] | None = None) -> list[Any]:
        with own_errors():
            return list(self._connection.execute(query.encode(), parameters).fetchall())

    def server(self) -> Server:
        """Version, role and rights."""
        row = self._all(
            "SELECT current_setting('server_version_num')::int / 10000, "
            "current_setting('server_version'), current_database(), current_user::text, "
            "current_setting('is_superuser') = 'on', pg_is_in_recovery(), "
            "current_setting('default_transaction_read_only') = 'on'"
        )[0]
        replaced = self._all(
            "SELECT name || ' = ' || setting || ' (the role''s: ' || reset_val || ')' "
            "FROM pg_settings WHERE name = ANY (%s) AND source = 'session' "
            "AND reset_val <> boot_val AND reset_val <> setting ORDER BY name",
            [["search_path", *RESET]],
        )
        return Server(
            version=row[0],
            release=row[1],
            database=row[2],
            role=row[3],
            superuser=row[4],
            replica=row[5],
            encrypted=self._connection.pgconn.ssl_in_use,
            missing=tuple(self._missing_rights()),
            read_only=row[6],
            replaced=tuple(one[0] for one in replaced),
        )

    def _missing_rights(self) -> Iterable[str]:
        if self._history.exists():
            may = self._all(
                "SELECT has_table_privilege(to_regclass(%s), 'INSERT'), "
                "has_table_privilege(to_regclass(%s), 'UPDATE')",
                [regclass(f"{self._schema}.{HISTORY}")] * 2,
            )[0]
            if not all(may):
                yield f"INSERT and UPDATE on {self._schema}.{HISTORY}"
            return
        schemas = self._all(
            "SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = %s",
            [self._schema],
        )
        if not schemas:
            yield f"schema {self._schema}, which does not exist"
        elif not schemas[0][0]:
            yield f"CREATE in schema {self._schema} (for the history's tables)"

    def history(self) -> list[HistoryRow]:
        """All rows of this application, oldest first."""
        return self._history.rows()

    def lock_owner(self) -> LockOwner | None:
        """Who holds the migrations' lock now."""
        return self._history.lock_owner()

    def sizes(self, relations: Iterable[str]) -> dict[str, RelationSize]:
        """Size of each relation that exists; a partitioned table's is that of its partitions.

        Rows as ANALYZE counted them last, or as the statistics have counted since.
        """
        names = list(relations)
        rows = self._all(
            "SELECT asked.number, coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint, "
            "coalesce(sum(greatest(c.reltuples, pg_stat_get_live_tuples(c.oid))), 0)::bigint "
            "FROM unnest(%s::text[]) WITH ORDINALITY asked(name, number) "
            "CROSS JOIN LATERAL (SELECT to_regclass(asked.name)::oid UNION SELECT relid "
            "FROM pg_partition_tree(to_regclass(asked.name)) WHERE isleaf) parts(oid) "
            "JOIN pg_class c ON c.oid = parts.oid GROUP BY 1",
            [[regclass(name) for name in names]],
        )
        return {names[number - 1]: RelationSize(size, count) for number, size, count in rows}

    def owned(self, relation: str) -> bool | None:
        """Whether the role owns the relation, or may act as its owner; None: it does not exist."""
        rows = self._all(
            "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass(%s)",
            [regclass(relation)],
        )
        return bool(rows[0][0]) if rows else None

    def table_of(self, name: str) -> str | None:
        """The table that an index is on, or the table of this name; None if there is neither."""
        rows = self._all(
            f"SELECT {name_of('coalesce(i.indrelid, c.oid)')} FROM pg_class c "  # noqa: S608 - constants only
            "LEFT JOIN pg_index i ON i.indexrelid = c.oid WHERE c.oid = to_regclass(%s)",
            [regclass(name)],
        )
        return rows[0][0] if rows else None

    def users_of(self, relations: Iterable[str]) -> list[Session]:
        """Sessions with an open transaction that hold locks on these, the oldest first."""
        names = [regclass(name) for name in relations]
        rows = self._all(
            f"SELECT DISTINCT {_SESSION} FROM pg_locks l JOIN pg_stat_activity a USING (pid) "  # noqa: S608 - constants only
            "WHERE l.granted AND l.relation = ANY (SELECT to_regclass(n) FROM unnest(%s::text[]) n)"
            " AND a.pid <> pg_backend_pid() AND a.datname = current_database() "
            "ORDER BY 5 DESC NULLS LAST",
            [names],
        )
        return [Session(*row) for row in rows]

    def blocking_locks(self, pid: int) -> list[str]:
        """Locks of this backend on existing tables that block writes or more.

        A table that its transaction has created is not in pg_class for other sessions, and nobody
        writes to a materialized view.
        """
        rows = self._all(
            "SELECT replace(l.mode, 'Lock', '') || ' on ' || c.relname FROM pg_locks l "
            "JOIN pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'm') "
            "WHERE l.pid = %s AND l.granted AND c.relnamespace <> 'pg_catalog'::regnamespace "
            "AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', "
            "'AccessExclusiveLock') AND (c.relkind <> 'm' OR l.mode = 'AccessExclusiveLock')",
            [pid],
        )
        return [row[0] for row in rows]

    def blockers(self, pid: int) -> list[Session]:
        """The sessions that block this backend; a build waits for one after the other."""
        rows = self._all(
            f"SELECT DISTINCT {_SESSION} FROM pg_stat_activity a "  # noqa: S608 - constants only
            "WHERE a.pid = ANY (pg_blocking_pids(%s)) ORDER BY 5 DESC NULLS LAST",
            [pid],
        )
        return [Session(*row) for row in rows]

    def vitals(self) -> Vitals:
        """What the guards read, without the pod's usage.

        Without pg_monitor, other roles' transactions and replicas' lag are hidden: then they are
        None, which a guard reports as not checked.
        """
        row = self._all(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
            "OR backend_type IS NULL AND datid IS NOT NULL), "
            "current_setting('max_connections')::int "
            "- current_setting('superuser_reserved_connections')::int "
            "- coalesce(current_setting('reserved_connections', true)::int, 0), "
            "pg_database_size(current_database()), "
            "pg_has_role('pg_read_all_stats', 'MEMBER') OR current_setting('is_superuser') = 'on', "
            "(SELECT count(*) FROM pg_stat_replication), "
            "(SELECT max(extract(epoch FROM replay_lag))::float8 FROM pg_stat_replication)"
        )[0]
        taken, usable, size, sees, replicas, lag = row
        oldest = self._all(
            f"SELECT {_SESSION} FROM pg_stat_activity a WHERE a.xact_start IS NOT NULL "  # noqa: S608 - constants only
            "AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend' "
            "AND a.application_name NOT LIKE 'tarsrelease migrate %%' "
            "ORDER BY a.xact_start LIMIT 1",
            [],
        )
        session = Session(*oldest[0]) if oldest else None
        return Vitals(
            replication_lag=(lag or 0.0) if sees or not replicas else None,
            oldest_transaction=(session.seconds if session else 0.0) if sees or session else None,
            free_connections=usable - taken,
            database_bytes=size,
            oldest=str(session) if session else "",
            why="" if sees else "this role may not see other roles' sessions (grant pg_monitor)",
        )

    def invalid_indexes(self) -> dict[str, str]:
        """INVALID indexes by name, with their table; a TOAST index has the table it belongs to."""
        rows = self._all(
            f"SELECT {name_of('i.indexrelid')}, coalesce({name_of('main.oid')}, "  # noqa: S608 - constants only
            f"{name_of('i.indrelid')}) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "LEFT JOIN pg_class main ON main.reltoastrelid = i.indrelid "
            "WHERE NOT (i.indisvalid AND i.indisready) AND c.relpersistence <> 't' ORDER BY 1"
        )
        return dict(rows)

    def index(self, name: str) -> IndexState | None:
        """An index in the catalog. Bit 1 of indoption is DESC (pg_index.h)."""
        rows = self._all(
            f"SELECT {name_of('i.indrelid')}, i.indisvalid, i.indisready, "  # noqa: S608 - constants only
            "ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, true) || "
            "CASE WHEN i.indoption[k - 1] & 1 = 1 THEN ' DESC' ELSE '' END "
            "FROM generate_series(1, i.indnkeyatts) k ORDER BY k) "
            "FROM pg_index i WHERE i.indexrelid = to_regclass(%s)",
            [regclass(name)],
        )
        if not rows:
            return None
        table, valid, ready, columns = rows[0]
        return IndexState(table, tuple(columns), valid, ready)

    def index_difference(self, statement: Statement) -> str:
        """How the index of this name differs from what the statement creates; "" if it does not.

        The server itself writes the definition: of the same index on an empty copy of the table,
        in a transaction that is rolled back. Raises SqlError 42501 without the right to make
        temporary tables.
        """
        table, index = regclass(str(statement.table)), regclass(statement.names[0])
        on = self._all(
            f"SELECT {name_of('indrelid')}, indrelid = to_regclass(%s) FROM pg_index "  # noqa: S608 - constants only
            "WHERE indexrelid = to_regclass(%s)",
            [table, index],
        )
        if not (on and on[0][1]):
            return f"it is on {on[0][0]}" if on else "it is no index"
        like, twin = "tarsrelease_like", "tarsrelease_index"
        with own_errors(), self._connection.transaction(force_rollback=True):
            self._connection.execute(
                sql.SQL("CREATE TEMP TABLE {} (LIKE {})").format(
                    sql.Identifier(like), sql.Identifier(*str(statement.table).split(".", 1))
                )
            )
            self._connection.execute(index_on(statement, like, twin).encode())
            row = self._connection.execute(
                "SELECT pg_get_indexdef(to_regclass(%s)), pg_get_indexdef(to_regclass(%s))",
                (f"pg_temp.{twin}", index),
            ).fetchone()
        wanted, found = (_definition(str(one)) for one in row or ("", ""))
        return "" if wanted == found else f"it is {found}, not {wanted}"

    def column_type(self, table: str, column: str) -> str | None:
        """A column's type as PostgreSQL prints it."""
        rows = self._all(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = "
            "to_regclass(%s) AND attname = %s AND attnum > 0 AND NOT attisdropped",
            [regclass(table), column],
        )
        return rows[0][0] if rows else None

    def run_query(self, query: str, *, runs: int, deadline: float) -> QueryRun:
        """EXPLAIN ANALYZE in a read-only transaction; the median of the runs."""
        explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query}"
        seconds = []
        indexes: set[str] = set()
        with own_errors(), self._connection.patient_for(deadline):
            for _ in range(runs):
                with self._connection.transaction():
                    self._connection.execute("SET TRANSACTION READ ONLY")
                    self._connection.execute(
                        f"SET LOCAL statement_timeout = {round(deadline * 1000)}"
                    )
                    row = self._connection.execute(explain.encode()).fetchone()
                plan: Any = row[0][0] if row else {}
                seconds.append((plan["Planning Time"] + plan["Execution Time"]) / 1000)
                indexes |= _index_names(plan["Plan"])
        return QueryRun(frozenset(indexes), sorted(seconds)[len(seconds) // 2], runs)

    def answer_times(self, runs: int) -> list[float]:
        """Seconds that SELECT 1 takes, round trip included."""
        times = []
        for _ in range(runs):
            started = time.perf_counter()
            self._all("SELECT 1")
            times.append(time.perf_counter() - started)
        return times

    def rows_lost(self, loss: Loss, deadline: float) -> tuple[int, bool] | None:
        """Rows with content that would be lost, and whether they were counted (else estimated)."""
        if loss.column is not None and self.column_type(loss.table, loss.column) is None:
            return None
        sizes = self.sizes([loss.table])
        if loss.table not in sizes:
            return None
        counted = sql.Identifier(loss.column) if loss.column else sql.SQL("*")
        query = sql.SQL("SELECT count({}) FROM {}").format(
            counted, sql.Identifier(*loss.table.split(".", 1))
        )
        try:
            with (
                own_errors(),
                self._connection.patient_for(deadline),
                self._connection.transaction(),
            ):
                self._connection.execute(f"SET LOCAL statement_timeout = {round(deadline * 1000)}")
                # A policy must not hide rows: then there is an error, and no number.
                self._connection.execute("SET LOCAL row_security = off")
                row = self._connection.execute(query).fetchone()
        except SqlError as problem:
            if not (problem.cancelled or problem.gave_way or problem.state == _NO_PRIVILEGE):
                raise
            return sizes[loss.table].rows, False
        return int(str(row[0])) if row else 0, True

    def reached(self, table: str) -> dict[str, bool]:
        """By foreign keys; see `ports.database.Catalog`."""
        rows = self._all(
            "WITH RECURSIVE reached(oid, action) AS (SELECT to_regclass(%s)::oid, 'c'::\"char\" "  # noqa: S608 - constants only
            "UNION SELECT k.conrelid, k.confdeltype FROM reached r JOIN pg_constraint k "
            "ON k.confrelid = r.oid AND r.action = 'c' AND k.contype = 'f' "
            "AND k.conparentid = 0 AND k.confdeltype IN ('c', 'n', 'd')) "
            f"SELECT {name_of('r.oid')}, bool_or(r.action = 'c') FROM reached r "
            "WHERE r.oid <> to_regclass(%s) GROUP BY 1",
            [regclass(table)] * 2,
        )
        return dict(rows)

    def position(self, sequence: str) -> int | None:
        """See `ports.database.Catalog`."""
        rows = self._all(
            "SELECT pg_sequence_last_value(c.oid) FROM pg_class c "
            "WHERE c.oid = to_regclass(%s) AND NOT EXISTS (SELECT FROM pg_depend d "
            "WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refobjsubid > 0)",
            [regclass(sequence)],
        )
        return rows[0][0] if rows else None

    def last_value(self, sequence: str) -> int | None:
        """See `ports.database.Catalog`."""
        rows = self._all(
            "SELECT pg_sequence_last_value(seqrelid) FROM pg_sequence "
            "WHERE seqrelid = to_regclass(%s)",
            [regclass(sequence)],
        )
        return rows[0][0] if rows else None

    def builds(self) -> list[BuildProgress]:
        """Running index builds in this database."""
        rows = self._all(
            f"SELECT pid, coalesce({name_of('index_relid')}, {name_of('relid')}), "  # noqa: S608 - constants only
            "phase, CASE WHEN blocks_total > 0 THEN blocks_done::float8 / blocks_total "
            "WHEN tuples_total > 0 THEN tuples_done::float8 / tuples_total END "
            "FROM pg_stat_progress_create_index WHERE datname = current_database()"
        )
        return [BuildProgress(*row) for row in rows]


def _definition(text: str) -> str:
    """An index's definition without its name and its table."""
    head, _, definition = text.partition(" USING ")
    return ("UNIQUE " if head.startswith("CREATE UNIQUE") else "") + definition


def _index_names(plan: dict[str, Any]) -> set[str]:
    names = {plan["Index Name"]} if "Index Name" in plan else set()
    for child in plan.get("Plans", ()):
        names |= _index_names(child)
    return names
