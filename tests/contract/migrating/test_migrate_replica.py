"""The replication lag as a real streaming replica has it, and what a migration does about it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import DEFAULT, fresh_server, new_rig
from migration_rig import Heard, Rig, Sql, server_program

from tarsrelease.adapters.postgres.throwaway import ThrowawayServer, unprivileged
from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import ExitCode, Status

INDEX = {"a.sql": Sql("CREATE INDEX CONCURRENTLY one ON missions (status);")}
LAG = 1.5


class Replica(ThrowawayServer):
    """A standby that streams from `primary`."""

    def __init__(self, program: Path, primary: ThrowawayServer) -> None:
        super().__init__(program, {"hot_standby": "on", "wal_receiver_status_interval": "1s"})
        self._programs = program.parent
        self._primary = primary

    def create(self) -> None:
        done = subprocess.run(
            unprivileged(
                [
                    str(self._programs / "pg_basebackup"),
                    *("--dbname", self._primary.dsn(), "--pgdata", str(self.data)),
                    *("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast"),
                ]
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def ask(self, statement: str) -> None:
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(statement.encode())


@pytest.fixture
def replicated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Rig, Replica]]:
    """A primary with the example's tables, and a replica that has caught up with it."""
    program = server_program(DEFAULT)
    assert program is not None
    primary = fresh_server(program, wal_level="replica", max_wal_senders="4")
    with primary, Replica(program, primary) as replica:
        databases = new_rig(primary, tmp_path, monkeypatch)
        rig = next(databases)
        wait_for(lambda: lag(rig) is not None, "the replica streams")
        yield rig, replica


def lag(rig: Rig) -> float | None:
    """The replica's lag as the primary tells it; None where it tells none."""
    with rig.connect() as connection:
        row = connection.execute(
            "SELECT count(*), extract(epoch FROM max(replay_lag))::float8 FROM pg_stat_replication"
        ).fetchone()
    assert row is not None
    return None if row[0] == 0 else row[1] or 0.0


def wait_for(there: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline, f"not within a minute: {what}"
        time.sleep(0.1)


def fall_behind(rig: Rig, replica: Replica) -> None:
    """The replica replays nothing any more, and says so to the primary."""
    replica.ask("SELECT pg_wal_replay_pause()")

    def behind() -> bool:
        with rig.connect() as connection:
            connection.execute("UPDATE missions SET agent = agent WHERE id < 100")
        return (lag(rig) or 0.0) > LAG

    wait_for(behind, "the lag is seen")


def test_a_replica_that_falls_behind_is_waited_for(replicated: tuple[Rig, Replica]) -> None:
    rig, replica = replicated
    release = rig.release(INDEX)
    fall_behind(rig, replica)
    guards = {"replication_lag": LAG, "patience": 2.0}
    held = rig.up(release, guards=guards)
    assert held.exit_code is ExitCode.HOLD
    [check] = [one for one in held.checks if one.id == "database.replication_lag"]
    assert check.status is Status.FAIL
    assert check.observed is not None
    assert isinstance(check.observed.value, float)
    assert check.observed.value > LAG
    assert rig.history() == [], "nothing was begun"

    waits: list[str] = []

    def react(line: str) -> None:
        if "waits, because" in line:
            waits.append(line)
            replica.ask("SELECT pg_wal_replay_resume()")

    outcome = rig.up(release, progress=Heard(react), guards={**guards, "patience": 60.0})
    assert outcome.exit_code is ExitCode.DONE
    assert len(waits) == 1
    assert "database.replication_lag" in waits[0]
    # And the replica has what was built on the primary.
    with psycopg.connect(replica.dsn(rig.name), autocommit=True) as there:
        query = "SELECT count(*) FROM pg_indexes WHERE indexname = 'one'"
        wait_for(lambda: there.execute(query).fetchone() == (1,), "the index is on the replica")


def test_the_replica_itself_is_refused(replicated: tuple[Rig, Replica]) -> None:
    rig, replica = replicated
    wait_for(lambda: exists_on(replica, rig), "the database is on the replica")
    with pytest.raises(UsageError, match="read-only replica"):
        rig.up(rig.release(INDEX), dsn=replica.dsn(rig.name, "tars"))


def exists_on(replica: Replica, rig: Rig) -> bool:
    with psycopg.connect(replica.dsn(), autocommit=True) as there:
        found = there.execute("SELECT 1 FROM pg_database WHERE datname = %s", [rig.name])
        return found.fetchone() is not None
