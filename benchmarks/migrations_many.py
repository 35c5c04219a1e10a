"""Seconds and memory for many small statements: migrate up and plan, compared with psql -f.

A throwaway PostgreSQL receives STATEMENTS small statements: tables, columns, indexes, rows. Each
round uses fresh databases. Printed are the medians and the ratios to psql, and the memory of `up`
for a file of 5 MB.

    python benchmarks/migrations_many.py [--statements 3000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import yaml

from tarsrelease.adapters.clock import SystemClock
from tarsrelease.adapters.files.configuration import load_environment
from tarsrelease.adapters.postgres.programs import find
from tarsrelease.adapters.postgres.throwaway import ThrowawayServer
from tarsrelease.adapters.terminal.person import AssumedYes
from tarsrelease.context import Assignment, People
from tarsrelease.model.database import Database
from tarsrelease.model.outcome import Outcome
from tarsrelease.model.release import Release, Run
from tarsrelease.ports.database import DatabaseAccess
from tarsrelease.steps.migrate_plan import plan
from tarsrelease.steps.migrate_up import up
from tarsrelease.wiring.migrations import database_access

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/contract/migrating"))
from migration_rig import Sql, write_release  # noqa: E402 - it writes a release for any SQL

VARIABLE = "BENCHMARK_DSN"


class Silent:
    """Progress that nobody reads."""

    def say(self, line: str) -> None:
        """Nothing."""

    def look(self, *_: object, **__: object) -> None:
        """Nothing."""


def statements(count: int) -> str:
    """A tenth are tables, a tenth columns, a tenth indexes; the rest are rows."""
    lines = []
    for number in range(count):
        table = f"many_{number // 10}"
        lines.append(
            {
                0: f"CREATE TABLE {table} (id bigserial PRIMARY KEY, body text NOT NULL);",
                1: f"ALTER TABLE {table} ADD COLUMN extra int DEFAULT 3;",
                2: f"CREATE INDEX ON {table} (body);",
            }.get(number % 10, f"INSERT INTO {table} (body) VALUES ('row {number}');")
        )
    return "\n".join(lines)


@contextmanager
def access(release: Release, dsn: str) -> Iterator[tuple[Assignment, DatabaseAccess]]:
    """What a step receives."""
    os.environ[VARIABLE] = dsn
    environment = load_environment(str(ROOT / "environments/rehearsal.yaml"))
    database = Database.model_validate({"dsn_env": VARIABLE})
    assignment = Assignment(
        release,
        environment.model_copy(update={"database": database}),
        Run(id="benchmark", owner="benchmark"),
        People(AssumedYes(), Silent()),
        SystemClock(),
    )
    with database_access(assignment) as found:
        yield assignment, found


def migrate(
    step: Callable[[Assignment, DatabaseAccess], Outcome], release: Release, dsn: str
) -> None:
    """Run plan or up, and insist that it proceeds."""
    with access(release, dsn) as given:
        outcome = step(*given)
    assert outcome.exit_code == 0, [c.reason for c in outcome.checks if c.status != "pass"][:3]


def psql(dsn: str, file: Path) -> None:
    """The same file by psql, which stops at an error."""
    program = str(find("psql", best=17))
    argv = [program, "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", dsn, "--file", str(file)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def seconds(act: Callable[[], None]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def memory(server: ThrowawayServer, folder: Path, step: str) -> float:
    """MB that `tarsrelease migrate STEP` of 5 MB of rows needs at most, in a process of its own.

    VmHWM, because ru_maxrss of a child begins with its parent's memory.
    """
    row = "INSERT INTO many_0 (body) VALUES ('{}');".format("x" * 1000)
    sql = "CREATE TABLE many_0 (body text);\n" + "\n".join([row] * 5000)
    bundle = folder / "bundle"
    bundle.mkdir(exist_ok=True)
    write_release(bundle, {"a.sql": Sql(sql)})
    environment = yaml.safe_load((ROOT / "environments/rehearsal.yaml").read_text())
    environment["database"] = {"dsn_env": VARIABLE}
    file = folder / "rehearsal.yaml"
    file.write_text(yaml.safe_dump(environment))
    argv = [sys.executable, "-c", _PEAK, "migrate", step, "--release", str(bundle)]
    argv += ["--environment", str(file), "--evidence", str(folder / "evidence"), "--format", "json"]
    done = subprocess.run(
        argv,
        env={**os.environ, VARIABLE: fresh(server, "memory"), "X": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stderr.split()[-2]) / 1024


_PEAK = """
import atexit, runpy, sys
from pathlib import Path

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(line for line in lines if line.startswith("VmHWM")), file=sys.stderr)

atexit.register(peak)
runpy.run_module("tarsrelease", run_name="__main__")
"""


def fresh(server: ThrowawayServer, name: str) -> str:
    """An empty database."""
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name}")
        admin.execute(f"CREATE DATABASE {name}")
    return server.dsn(name)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--statements", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    settings = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
    with (
        tempfile.TemporaryDirectory() as folder,
        ThrowawayServer(find("postgres", best=17), settings) as server,
    ):
        file = Path(folder) / "a.sql"
        file.write_text(statements(given.statements))
        release = write_release(Path(folder), {"a.sql": Sql(file.read_text())})
        times: dict[str, list[float]] = {"psql": [], "up": [], "plan": []}
        for _ in range(given.rounds):
            dsn = fresh(server, "by_psql")
            times["psql"].append(seconds(partial(psql, dsn, file)))
            dsn = fresh(server, "by_us")
            times["plan"].append(seconds(partial(migrate, plan, release, dsn)))
            times["up"].append(seconds(partial(migrate, up, release, dsn)))
        base = statistics.median(times["psql"])
        for name, found in times.items():
            median = statistics.median(found)
            print(f"{name:5} {median:6.2f} s  {median / base:5.1f} x psql", flush=True)
        for step in ("up", "plan"):
            print(f"{step} of a file of 5 MB: {memory(server, Path(folder), step):.0f} MB")


if __name__ == "__main__":
    main()
