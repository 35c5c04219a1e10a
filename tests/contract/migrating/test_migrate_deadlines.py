"""Deadlines by what is locked: what blocks nobody may take its time, what blocks gives way."""

from __future__ import annotations

import time
from typing import Any

import pytest
from migration_rig import Rig, Sql

from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.outcome import ExitCode

NAP = """
CREATE FUNCTION nap(i int) RETURNS boolean LANGUAGE plpgsql AS
  $$BEGIN PERFORM pg_sleep(0.5); RETURN true; END$$;
CREATE TABLE naps (id int);
INSERT INTO naps SELECT generate_series(1, 4);
ALTER TABLE naps ADD CONSTRAINT slow CHECK (nap(id)) NOT VALID;
"""
PATIENT = [
    "ALTER TABLE naps VALIDATE CONSTRAINT slow;",
    "CREATE MATERIALIZED VIEW m AS SELECT id, nap(id) FROM naps;",
    "DO $$BEGIN UPDATE naps SET id = id + 9 WHERE id < 3; PERFORM pg_sleep(1.5); END$$;",
    "CREATE TABLE n AS SELECT id, nap(id) FROM naps;",
]


@pytest.fixture
def naps(rig: Rig) -> Rig:
    with rig.connect() as connection:
        connection.execute(NAP.encode())
    return rig


@pytest.mark.parametrize("sql", PATIENT)
def test_what_blocks_nobody_is_not_cut(naps: Rig, sql: str) -> None:
    outcome = naps.up(naps.release({"a.sql": Sql(sql)}), blocking_timeout=1.0)
    assert outcome.exit_code is ExitCode.DONE


def test_a_refresh_that_lets_others_read_is_not_cut(naps: Rig) -> None:
    with naps.connect() as connection:
        connection.execute("CREATE MATERIALIZED VIEW kept AS SELECT id, nap(id) FROM naps")
        connection.execute("CREATE UNIQUE INDEX ON kept (id)")
    release = naps.release({"a.sql": Sql("REFRESH MATERIALIZED VIEW CONCURRENTLY kept;")})
    assert naps.up(release, blocking_timeout=1.0).exit_code is ExitCode.DONE


def test_a_block_that_holds_a_strong_lock_is_cut(naps: Rig) -> None:
    sql = "DO $$BEGIN ALTER TABLE naps ADD c int; PERFORM pg_sleep(60); END$$;"
    started = time.monotonic()
    with pytest.raises(ReleaseError) as caught:
        naps.up(naps.release({"a.sql": Sql(sql)}), blocking_timeout=1.0)
    assert time.monotonic() - started < 30
    assert "[SQLSTATE 57014]" in caught.value.detail.found
    with naps.connect() as connection:
        assert connection.execute("SELECT * FROM naps").description is not None


def test_vacuum_full_gives_way_like_alter(rig: Rig) -> None:
    sql = "-- tarsrelease:allow vacuum-full: small\nVACUUM FULL missions;"
    release = rig.release({"a.sql": Sql(sql)})
    with rig.connect() as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM missions")
        outcome = rig.up(release, lock_timeout=0.3, lock_patience=2.0)
        assert outcome.exit_code is ExitCode.HOLD
        gave_way: Any = outcome.details.model_dump(mode="json")["gave_way"]
        assert gave_way >= 2
        other.rollback()
    assert rig.up(release, run="second").exit_code is ExitCode.DONE


@pytest.mark.parametrize("sql", ["REINDEX INDEX missions_pkey;", "REINDEX TABLE missions;"])
def test_reindex_gives_way_like_alter(rig: Rig, sql: str) -> None:
    release = rig.release({"a.sql": Sql(f"-- tarsrelease:allow long-lock: small\n{sql}")})
    planned: Any = rig.plan(release).details.model_dump(mode="json")["statements"][0]
    modes = {lock["relation"]: lock["mode"] for lock in planned["locks"]}
    assert modes["missions_pkey"] == "ACCESS EXCLUSIVE"
    assert modes["missions"] == "SHARE"
    assert planned["deadline"].startswith("300 s (statement_timeout)")
    with rig.connect() as other:
        other.execute("BEGIN")
        other.execute("UPDATE missions SET id = id WHERE id = 1")
        outcome = rig.up(release, lock_timeout=0.3, lock_patience=2.0)
        assert outcome.exit_code is ExitCode.HOLD
        gave_way: Any = outcome.details.model_dump(mode="json")["gave_way"]
        assert gave_way >= 2
        other.rollback()
    assert rig.up(release, run="second").exit_code is ExitCode.DONE
    with rig.connect() as connection:
        connection.execute("INSERT INTO missions (name, status, agent) VALUES ('m', 'queued', 'a')")


def test_plan_says_the_real_lock_and_the_deadline(rig: Rig) -> None:
    sql = "-- tarsrelease:allow vacuum-full: small\nVACUUM FULL missions;\n"
    sql += "-- tarsrelease:allow cluster: small\nCLUSTER missions USING missions_pkey;\n"
    sql += "ALTER TABLE missions ADD CONSTRAINT c CHECK (id > 0) NOT VALID;\n"
    sql += "ALTER TABLE missions VALIDATE CONSTRAINT c;\n"
    sql += "CREATE INDEX CONCURRENTLY i ON missions (name);\n"
    outcome = rig.plan(rig.release({"a.sql": Sql(sql)}))
    assert outcome.exit_code is ExitCode.DONE, outcome.checks
    statements: Any = outcome.details.model_dump(mode="json")["statements"]
    assert [
        ({lock["mode"] for lock in one["locks"]}, one["deadline"].partition(",")[0])
        for one in statements
    ] == [
        ({"ACCESS EXCLUSIVE"}, "300 s (statement_timeout)"),
        ({"ACCESS EXCLUSIVE"}, "300 s (statement_timeout)"),
        ({"ACCESS EXCLUSIVE"}, "5 s (blocking_timeout)"),
        ({"SHARE UPDATE EXCLUSIVE"}, "300 s (statement_timeout)"),
        ({"SHARE UPDATE EXCLUSIVE"}, "3600 s (build_deadline)"),
    ]
