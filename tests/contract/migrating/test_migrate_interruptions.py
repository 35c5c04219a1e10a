"""Interrupted at any instant and run again: the same schema, no INVALID index, a true history.

The interruptions happen at places that the migration itself announces, or that the database
reaches because a test's own transaction or trigger makes it wait there: nothing is timed.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

import psycopg
import pytest
from migration_proxy import Proxy, tcp_dsn
from migration_rig import EVERY_VERSION, VARIABLE, Heard, Rig, Sql

from tarsrelease.model.errors import RefusedError, StoppedError, UnreachableError
from tarsrelease.model.outcome import ExitCode
from tarsrelease.model.release import Release

FILES = {
    "a.sql": Sql(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS one ON missions (status);\n"
        "ALTER TABLE missions ADD COLUMN trace_id text;\n"
        "CREATE INDEX CONCURRENTLY two ON evaluations (mission_id);\n"
    ),
    "b.sql": Sql("UPDATE missions SET trace_id = name WHERE id % 2 = 0;", order=2),
}
STATEMENTS = [("a.sql", 1), ("a.sql", 3), ("a.sql", 2), ("b.sql", 1)]
PLACES = ["a.sql:1", "a.sql:2", "a.sql:3", "b.sql:1"]
BUILDS = {"a.sql:1": "missions", "a.sql:3": "evaluations"}


@pytest.fixture
def release(rig: Rig) -> Release:
    return rig.release(FILES)


@pytest.fixture
def uninterrupted(rig: Rig, release: Release) -> list[str]:
    """The schema after a run that nobody disturbed; the database is then as before."""
    return undisturbed(rig, release)


def undisturbed(rig: Rig, release: Release) -> list[str]:
    rig.up(release)
    schema = rig.schema()
    with rig.connect() as connection:
        connection.execute("DROP TABLE tarsrelease_migrations, tarsrelease_migration_lock")
        connection.execute("DROP INDEX one, two")
        connection.execute("ALTER TABLE missions DROP COLUMN trace_id")
    return schema


def after_another_run(rig: Rig, release: Release, uninterrupted: list[str]) -> None:
    """Run again, and prove that nothing tells of the interruption but the history."""
    outcome = rig.up(release, run="again", wait=30.0)
    assert outcome.exit_code is ExitCode.DONE
    assert sorted(rig.schema()) == sorted(uninterrupted)
    assert rig.invalid_indexes() == []
    history = rig.history()
    finished = [(row.file, row.statement) for row in history if row.finished is not None]
    assert sorted(finished) == sorted(STATEMENTS), "each statement finished exactly once"
    with rig.connect() as connection:
        filled = connection.execute("SELECT count(trace_id) FROM missions").fetchone()
    assert filled == (1500,)


class Interrupt:
    """What happens to the migration when it announces `place`."""

    def __init__(self, rig: Rig, place: str, inside: bool) -> None:
        self.rig = rig
        self.place = place
        self.inside = inside
        self.done = False

    def hears(self, act: Callable[[], None]) -> Heard:
        """Act once: before the statement is sent, or once its build waits for others."""

        def react(line: str) -> None:
            here = line.startswith(f"{self.place}: ")
            if here and ("waits for" in line) is self.inside and not self.done:
                self.done = True
                act()

        return Heard(react)

    def end_backend(self) -> None:
        with self.rig.connect("postgres") as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s "
                "AND application_name LIKE 'tarsrelease migrate tars first%%'",
                (self.rig.name,),
            )


@contextmanager
def writer(rig: Rig, table: str) -> Iterator[None]:
    """A transaction that wrote to the table and stays open: a build waits for it."""
    connection = rig.connect()
    connection.execute("BEGIN")
    connection.execute(f"UPDATE {table} SET id = id WHERE id = 1")
    try:
        yield
    finally:
        connection.close()  # it may be broken by now, so nothing is said on it


@pytest.fixture
def blocked(rig: Rig, place: str, inside: bool) -> Iterator[None]:
    """Keep the build at `place` waiting, where it shall be interrupted inside."""
    with writer(rig, BUILDS[place]) if inside else nullcontext():
        yield


CASES = [(place, False) for place in PLACES] + [(place, True) for place in BUILDS]
FEW = [("a.sql:2", False), ("a.sql:3", True)]
MATRIX = [
    pytest.param(*case, marks=() if case in FEW else pytest.mark.full, id=f"{case[0]}-{case[1]}")
    for case in CASES
]


@pytest.mark.parametrize(("place", "inside"), MATRIX)
def test_the_backend_is_killed(
    rig: Rig, release: Release, uninterrupted: list[str], place: str, inside: bool, blocked: None
) -> None:
    interrupt = Interrupt(rig, place, inside)
    with pytest.raises((StoppedError, UnreachableError)) as stopped:
        rig.up(release, progress=interrupt.hears(interrupt.end_backend))
    assert interrupt.done
    assert place in str(stopped.value.detail.doing)
    rig_unblocked(rig)
    after_another_run(rig, release, uninterrupted)


def rig_unblocked(rig: Rig) -> None:
    """End the test's own transactions."""
    with rig.connect("postgres") as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = %s AND state LIKE 'idle in transaction%%'",
            (rig.name,),
        )


@pytest.mark.parametrize(("place", "inside"), MATRIX)
def test_the_network_is_cut(own_server_rig: Rig, place: str, inside: bool) -> None:
    rig = own_server_rig
    release = rig.release(FILES)
    expected = undisturbed(rig, release)
    with ExitStack() as stack:
        if inside:
            stack.enter_context(writer(rig, BUILDS[place]))
        proxy = stack.enter_context(Proxy(rig.server.port))
        interrupt = Interrupt(rig, place, inside)
        with pytest.raises((StoppedError, UnreachableError)):
            rig.up(release, progress=interrupt.hears(proxy.cut), dsn=tcp_dsn(rig.name, proxy.port))
        assert interrupt.done
        rig_unblocked(rig)
    after_another_run(rig, release, expected)


def test_a_killed_server_can_be_started_at_once(own_server_rig: Rig) -> None:
    """Also if it starts backends at that very instant: one that is missed keeps the memory."""
    rig = own_server_rig
    ended = threading.Event()

    def connect() -> None:
        while not ended.is_set():
            with suppress(psycopg.OperationalError):
                psycopg.connect(rig.dsn(), connect_timeout=2).close()

    threads = [threading.Thread(target=connect) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            with rig.connect() as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            rig.server.kill()
            rig.server.start()
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(("place", "inside"), MATRIX)
def test_the_server_is_killed(own_server_rig: Rig, place: str, inside: bool) -> None:
    rig = own_server_rig
    release = rig.release(FILES)
    expected = undisturbed(rig, release)
    interrupt = Interrupt(rig, place, inside)
    with ExitStack() as stack:
        if inside:
            stack.enter_context(writer(rig, BUILDS[place]))
        with pytest.raises((StoppedError, UnreachableError)):
            rig.up(release, progress=interrupt.hears(rig.server.kill))
        assert interrupt.done
    rig.server.start()
    after_another_run(rig, release, expected)


DRIVER = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from migration_rig import Heard, Rig, load_release

    bundle, place, inside = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "True"

    def react(line):
        if line.startswith(place + ": ") and ("waits for" in line) is inside:
            os.kill(os.getpid(), signal.SIGKILL)

    class Environ:
        def setenv(self, name, value):
            os.environ[name] = value

    rig = Rig(None, "", bundle, Environ())
    rig.up(load_release(bundle, None), progress=Heard(react), dsn=os.environ["MIGRATION_TEST_DSN"])
    """
)


@pytest.mark.parametrize(("place", "inside"), MATRIX)
def test_the_tool_is_killed(
    rig: Rig, release: Release, uninterrupted: list[str], place: str, inside: bool, blocked: None
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, release.directory, place, str(inside)],
        env={
            "PATH": "/usr/bin:/bin",
            VARIABLE: rig.dsn(),
            "PYTHONPATH": str(Path(__file__).parent),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    rig_unblocked(rig)
    after_another_run(rig, release, uninterrupted)


@pytest.mark.parametrize("version", EVERY_VERSION)
@pytest.mark.parametrize("moment", ["INSERT", "UPDATE"])
def test_the_session_ends_while_it_writes_the_history(
    rig: Rig, release: Release, uninterrupted: list[str], version: int, moment: str
) -> None:
    """INSERT: the row that begins a statement (or ends one in a transaction); UPDATE: a build is
    finished, and that cannot be written down any more."""
    rig.up(rig.release({"earlier.sql": Sql("SELECT 1;")}, version="0.9.0"))  # makes the tables
    with rig.connect("postgres") as admin:
        admin.execute("DELETE FROM tarsrelease_migrations")
        admin.execute(
            "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
            "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END'"
        )
        admin.execute(
            f"CREATE TRIGGER cut AFTER {moment} ON tarsrelease_migrations "
            "FOR EACH ROW EXECUTE FUNCTION cut()"
        )
    release = rig.release(FILES)
    with pytest.raises(StoppedError):
        rig.up(release)
    with rig.connect("postgres") as admin:
        admin.execute("DROP FUNCTION cut CASCADE")
        built = admin.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('one')"
        )
        assert built.fetchall() == ([] if moment == "INSERT" else [(True,)])
    after_another_run(rig, release, uninterrupted)


def test_a_wrong_unique_index_is_not_left_to_refuse_rows(rig: Rig) -> None:
    release = rig.release(
        {"a.sql": Sql("CREATE UNIQUE INDEX CONCURRENTLY u ON missions (status);")}
    )
    with pytest.raises(RefusedError) as stopped:
        rig.up(release)
    assert "a.sql:1: could not create unique index" in stopped.value.detail.found
    assert rig.invalid_indexes() == []
    with rig.connect() as connection:
        connection.execute("INSERT INTO missions (name, status, agent) VALUES ('m', 'active', 'a')")
    assert [row.finished for row in rig.history()] == [None]


def test_a_reindex_that_was_broken_off_leaves_no_copies(rig: Rig) -> None:
    release = rig.release({"a.sql": Sql("REINDEX TABLE CONCURRENTLY missions;")})
    before = rig.schema()
    interrupt = Interrupt(rig, "a.sql:1", inside=True)
    with writer(rig, "missions"), pytest.raises((StoppedError, UnreachableError)):
        rig.up(release, progress=interrupt.hears(interrupt.end_backend))
    assert "missions_pkey_ccnew" in rig.invalid_indexes()
    again = rig.up(release, run="again", wait=30.0)
    assert again.exit_code is ExitCode.DONE
    # What the build left in TOAST's schema only a superuser can drop: it is said, not hidden.
    left = rig.invalid_indexes()
    assert all(name.startswith("pg_toast.") for name in left)
    assert again.details.model_dump(mode="json")["foreign_invalid_indexes"] == left
    assert rig.schema() == before
