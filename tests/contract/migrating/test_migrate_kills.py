"""Killed at random instants, also in contract `up` and in the command that a Job runs."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from migration_rig import ROOT, VARIABLE, Rig, Sql

FILES = {
    "a.sql": Sql(
        "CREATE INDEX CONCURRENTLY one ON missions (status);\n"
        "ALTER TABLE missions ADD COLUMN trace_id text;\n"
        "CREATE UNIQUE INDEX CONCURRENTLY two ON missions (id, name);\n"
        "UPDATE missions SET trace_id = name WHERE id % 2 = 0;\n"
        "INSERT INTO missions (name, status, agent) VALUES ('once', 'queued', 'ppo');\n"
    ),
    "c.sql": Sql(
        "DROP INDEX CONCURRENTLY one;\n"
        "ALTER TABLE missions DROP COLUMN trace_id;\n"
        "DELETE FROM missions WHERE name = 'once';\n"
        "REINDEX INDEX CONCURRENTLY two;\n",
        phase="contract",
    ),
}
COUNTS = {"expand": 5, "contract": 4}
CASES = [("expand", False), ("expand", True), ("contract", True)]


class Command:
    """`tarsrelease migrate up`, as a person or a Job's pod runs it."""

    def __init__(self, rig: Rig, folder: Path, phase: str, in_a_job: bool) -> None:
        file = folder / "rehearsal.yaml"
        environment = yaml.safe_load((ROOT / "environments/rehearsal.yaml").read_text())
        environment["database"] = {"dsn_env": VARIABLE}
        file.write_text(yaml.safe_dump(environment))
        self._argv = [
            *(sys.executable, "-m", "tarsrelease", "migrate", "up", "--phase", phase),
            *("--release", str(folder / "bundle"), "--environment", str(file)),
            *("--wait", "30s", "--format", "json", "--evidence", str(folder / "evidence")),
        ]
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            VARIABLE: rig.dsn(),
            **({"TARSRELEASE_JOB": "a-job"} if in_a_job else {}),
        }

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._argv,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )

    def run(self) -> None:
        process = self.start()
        out, error = process.communicate(timeout=180)
        assert process.returncode == 0, out.decode() + error.decode()


def restart(rig: Rig, phase: str) -> None:
    """The database as it was before the phase."""
    with rig.connect() as connection:
        connection.execute(
            "DROP TABLE IF EXISTS tarsrelease_migrations, tarsrelease_migration_lock"
        )
        connection.execute("DROP INDEX IF EXISTS one, two")
        connection.execute("ALTER TABLE missions DROP COLUMN IF EXISTS trace_id")
        connection.execute("DELETE FROM missions WHERE name = 'once'")
    if phase == "contract":
        rig.up(rig.release(FILES), run="before")


@pytest.mark.parametrize(
    "times", [1, pytest.param(100, marks=[pytest.mark.full, pytest.mark.timeout(3600)])]
)
@pytest.mark.parametrize("version", [17])
@pytest.mark.parametrize(("phase", "in_a_job"), CASES)
def test_a_kill_at_any_instant_is_repaired_by_the_next_run(
    rig: Rig, tmp_path: Path, version: int, phase: str, in_a_job: bool, times: int
) -> None:
    rig.release(FILES)
    command = Command(rig, tmp_path, phase, in_a_job)
    restart(rig, phase)
    started = time.monotonic()
    command.run()
    longest = time.monotonic() - started
    undisturbed = rig.schema()
    instants = random.Random(f"{phase} {in_a_job}")
    for _ in range(times):
        restart(rig, phase)
        process = command.start()
        instant = instants.uniform(longest / 4, longest)
        try:
            process.communicate(timeout=instant)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        command.run()
        assert sorted(rig.schema()) == sorted(undisturbed), instant
        assert rig.invalid_indexes() == [], instant
        file = "a.sql" if phase == "expand" else "c.sql"
        finished = [row.statement for row in rig.history() if row.finished and row.file == file]
        assert sorted(finished) == list(range(1, COUNTS[phase] + 1)), instant
        with rig.connect() as connection:
            row = connection.execute("SELECT count(*) FROM missions WHERE name = 'once'").fetchone()
        assert row == (1 if phase == "expand" else 0,), instant
