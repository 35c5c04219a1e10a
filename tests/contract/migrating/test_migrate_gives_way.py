"""Others first: a migration gives way to transactions, and one run to another."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from migration_rig import Heard, Rig, Sql

from tarsrelease.model.errors import LockedError, RefusedError
from tarsrelease.model.outcome import ExitCode

COLUMN = {"a.sql": Sql("ALTER TABLE missions ADD COLUMN trace_id text;")}
INDEX = {"a.sql": Sql("CREATE INDEX CONCURRENTLY one ON missions (status);")}
LOCK_TIMEOUT = 0.3


@contextmanager
def long_transaction(rig: Rig) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A reader that stays in its transaction: ACCESS EXCLUSIVE has to wait for it."""
    connection = rig.connect()
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM missions")
    try:
        yield connection
    finally:
        connection.close()


class Reader:
    """Somebody who reads the table all the time, and how long the longest read took."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._stop = threading.Event()
        self.longest = 0.0
        self.reads = 0
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        with self._rig.connect() as connection:
            while not self._stop.is_set():
                started = time.perf_counter()
                connection.execute("SELECT * FROM missions WHERE id = 5").fetchall()
                self.longest = max(self.longest, time.perf_counter() - started)
                self.reads += 1


def test_a_long_transaction_is_not_made_into_a_queue(rig: Rig) -> None:
    """While the migration waits for its lock, everybody queues behind it: so it waits shortly."""
    release = rig.release(COLUMN)
    with long_transaction(rig), Reader(rig) as reader:
        outcome = rig.up(release, lock_timeout=LOCK_TIMEOUT, lock_patience=4.0)
    assert outcome.exit_code is ExitCode.HOLD
    assert outcome.details.model_dump(mode="json")["gave_way"] >= 2
    [why] = [check.reason for check in outcome.checks if check.id == "migrate.gave_way"]
    assert "idle in transaction" in why, "it says who was in the way"
    # The reads that queued waited for the lock's time-out, and not for the transaction's end.
    assert LOCK_TIMEOUT * 0.9 <= reader.longest < 4 * LOCK_TIMEOUT + 0.5
    assert reader.reads > 100
    assert rig.history() == []

    # As a plain psql would do it, the queue lasts as long as the transaction.
    with long_transaction(rig), Reader(rig) as reader, rig.connect() as plain:
        plain.execute("SET statement_timeout = '3s'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            plain.execute("ALTER TABLE missions ADD COLUMN trace_id text")
    assert reader.longest > 2.5

    assert rig.up(release).exit_code is ExitCode.DONE


def test_it_comes_in_as_soon_as_the_transaction_ends(rig: Rig) -> None:
    release = rig.release(COLUMN)
    with long_transaction(rig) as other:

        def react(line: str) -> None:
            if "gave way" in line:
                other.rollback()

        outcome = rig.up(release, lock_timeout=LOCK_TIMEOUT, progress=Heard(react))
    assert outcome.exit_code is ExitCode.DONE
    assert outcome.details.model_dump(mode="json")["gave_way"] == 1


def test_a_build_shows_whom_it_waits_for_and_keeps_nobody_waiting(rig: Rig) -> None:
    release = rig.release(INDEX)
    heard: list[float] = []
    with rig.connect() as other:
        other.execute("BEGIN")
        other.execute("UPDATE missions SET agent = 'ppo' WHERE id = 1")
        with Reader(rig) as reader:

            def react(line: str) -> None:
                if "waits for backend" in line:
                    heard.append(time.monotonic())
                    other.rollback()

            outcome = rig.up(release, progress=Heard(react), lock_timeout=LOCK_TIMEOUT)
    assert outcome.exit_code is ExitCode.DONE
    assert len(heard) == 1
    assert reader.longest < LOCK_TIMEOUT + 0.5


def test_a_build_ends_at_its_deadline_and_leaves_nothing(rig: Rig) -> None:
    release = rig.release(INDEX)
    other = rig.connect()
    other.execute("BEGIN")
    other.execute("UPDATE missions SET agent = 'ppo' WHERE id = 1")

    def react(line: str) -> None:
        if "dropping the INVALID" in line:
            other.rollback()

    with pytest.raises(Exception, match="statement timeout"):
        rig.up(release, progress=Heard(react), build_deadline=0.5)
    assert rig.invalid_indexes() == []
    other.close()


@pytest.mark.parametrize(("settings", "workers"), [({}, "0"), ({"build_workers": 3}, "3")])
def test_a_build_takes_no_more_cores_than_it_may(
    rig: Rig, settings: dict[str, int], workers: str
) -> None:
    seen = "CREATE TABLE seen AS SELECT current_setting('max_parallel_maintenance_workers') AS n;"
    rig.up(rig.release({"a.sql": Sql(seen)}), **settings)
    with rig.connect() as connection:
        assert connection.execute("SELECT n FROM seen").fetchall() == [(workers,)]


def test_of_two_runs_one_works_and_the_other_says_who_does(rig: Rig) -> None:
    release = rig.release(INDEX)
    refused: list[LockedError] = []
    with rig.connect() as writer:
        writer.execute("BEGIN")
        writer.execute("UPDATE missions SET agent = 'ppo' WHERE id = 1")

        def second(line: str) -> None:
            if "waits for backend" in line:
                with pytest.raises(LockedError) as locked:
                    rig.up(release, run="second")
                refused.append(locked.value)
                writer.rollback()

        first = rig.up(release, run="first", progress=Heard(second))
    assert first.exit_code is ExitCode.DONE
    assert refused[0].exit_code is ExitCode.LOCKED
    assert "run first of somebody@here" in refused[0].detail.found
    assert "CREATE INDEX CONCURRENTLY" in refused[0].detail.found
    assert [row.run for row in rig.history()] == ["first"]


def test_the_second_run_waits_where_it_is_told_to(rig: Rig) -> None:
    release = rig.release(INDEX)
    ends: dict[str, object] = {}
    with rig.connect() as writer:
        writer.execute("BEGIN")
        writer.execute("UPDATE missions SET agent = 'ppo' WHERE id = 1")
        waiting = threading.Event()

        def hears(line: str) -> None:
            if line.startswith("waits for run first"):
                waiting.set()

        def second() -> None:
            ends["second"] = rig.up(release, run="second", wait=60.0, progress=Heard(hears))

        thread = threading.Thread(target=second)

        def react(line: str) -> None:
            if "waits for backend" in line and not thread.ident:
                thread.start()
                assert waiting.wait(30)
                writer.rollback()

        first = rig.up(release, run="first", progress=Heard(react))
        thread.join(60)
    assert first.details.model_dump(mode="json")["statements"] == 1
    assert ends["second"].exit_code is ExitCode.DONE  # type: ignore[attr-defined]
    assert ends["second"].details.model_dump(mode="json")["statements"] == 0


def test_it_waits_while_the_database_is_under_pressure(rig: Rig) -> None:
    """The oldest transaction is older than the limit: nothing begins until it has ended."""
    release = rig.release(INDEX)
    with rig.connect() as other:
        other.execute("BEGIN")
        other.execute("SELECT 1")
        time.sleep(0.3)  # the transaction's age is what the guard is about

        def react(line: str) -> None:
            if "waits, because database.oldest_transaction" in line:
                assert rig.history() == []
                other.rollback()

        outcome = rig.up(release, progress=Heard(react), guards={"oldest_transaction": "200ms"})
    assert outcome.exit_code is ExitCode.DONE
    assert outcome.details.model_dump(mode="json")["paused_seconds"] > 0


def test_pressure_that_does_not_end_holds_the_migration(rig: Rig) -> None:
    outcome = rig.up(rig.release(INDEX), guards={"free_connections": 10_000, "patience": "500ms"})
    assert outcome.exit_code is ExitCode.HOLD
    assert rig.history() == []
    assert "database.connections" in [c.id for c in outcome.checks if c.status.value == "fail"]


def test_a_build_is_broken_off_when_the_pressure_comes_while_it_runs(rig: Rig) -> None:
    """Connections run out while the build waits: it is cancelled, cleaned away, and begun anew."""
    release = rig.release(INDEX)
    others: list[psycopg.Connection[tuple[object, ...]]] = []
    with rig.connect() as writer:
        writer.execute("BEGIN")
        writer.execute("UPDATE missions SET agent = 'ppo' WHERE id = 1")

        def react(line: str) -> None:
            if "waits for backend" in line and not others:
                others.extend(rig.connect() for _ in range(15))
            if "dropping the INVALID" in line:
                writer.rollback()
                while others:
                    others.pop().close()

        outcome = rig.up(release, progress=Heard(react), guards={"free_connections": 20})
    assert outcome.exit_code is ExitCode.DONE
    assert outcome.details.model_dump(mode="json")["repaired"] == 1
    assert [row.finished is None for row in rig.history()] == [True, False]
    assert rig.invalid_indexes() == []


def test_a_rewrite_that_nobody_planned_stops_others_for_a_short_time_only(rig: Rig) -> None:
    """Without plan, up does not know that it rewrites the table; it finds out by the clock."""
    slow = "ALTER TABLE missions ADD COLUMN c text DEFAULT pg_sleep(0.001)::text;"
    with Reader(rig) as reader, pytest.raises(RefusedError) as refused:
        rig.up(rig.release({"a.sql": Sql(slow)}), blocking_timeout=0.5)
    assert 0.4 < reader.longest < 1.5
    assert "table-rewrite" in refused.value.detail.next
    assert not any(" c text" in line for line in rig.schema())

    allowed = f"-- tarsrelease:allow table-rewrite: 3000 rows take 4 s\n{slow}"
    outcome = rig.up(rig.release({"a.sql": Sql(allowed)}), blocking_timeout=0.5)
    assert outcome.exit_code is ExitCode.DONE
