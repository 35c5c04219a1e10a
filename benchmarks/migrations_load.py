"""Latency of production transactions during a migration, compared with a plain psql -f.

A throwaway PostgreSQL contains the example's tables with ROWS missions, and pgbench reads, writes
and inserts at a steady rate. Three windows are compared, each several times: before the migration,
while `tarsrelease migrate up` applies release v1.0.1, and while psql applies the same statements
without CONCURRENTLY.

    python benchmarks/migrations_load.py [--rows 5000000] [--rate 100] [--runs 3] [--workers 0]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg

from tarsrelease.adapters.postgres.programs import find
from tarsrelease.adapters.postgres.throwaway import ThrowawayServer

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "examples/tars/services/internal/store/schema.sql"
BUNDLE = ROOT / "release/v1_0_1"
SETTINGS = {"shared_buffers": "512MB", "maintenance_work_mem": "256MB", "max_wal_size": "8GB"}
BEFORE = 30.0
SCRIPT = r"""
\set id random(1, {rows})
BEGIN;
UPDATE missions SET agent = 'ppo' WHERE id = :id;
INSERT INTO missions (name, status, agent) VALUES ('m', 'queued', 'ppo');
SELECT name FROM missions WHERE id = :id;
COMMIT;
"""


class Load:
    """pgbench at a steady rate; it logs when each transaction ended and how long it took."""

    def __init__(self, dsn: str, rows: int, rate: int, folder: Path) -> None:
        script = folder / "load.sql"
        script.write_text(SCRIPT.format(rows=rows))
        for old in folder.glob("log.*"):
            old.unlink()
        self._folder = folder
        self._process = subprocess.Popen(
            [
                *(str(find("pgbench", best=17)), "--no-vacuum", "--file", str(script)),
                *("--client=8", f"--rate={rate}", "--time=100000", "--log"),
                *("--log-prefix", str(folder / "log"), dsn),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )

    def stop(self) -> list[tuple[float, float]]:
        """End it; (Unix time of the end, seconds it took since it was due) of each transaction."""
        self._process.terminate()
        self._process.wait()
        found = []
        for log in self._folder.glob("log.*"):
            # client, number, microseconds, script, epoch seconds, microseconds, schedule lag
            for line in log.read_text().splitlines():
                part = line.split()
                if len(part) >= 6 and part[2].isdigit():
                    found.append((int(part[4]) + int(part[5]) / 1e6, int(part[2]) / 1e6))
        return found


def latencies(work: Callable[[], None], where: tuple[str, int, int]) -> tuple[float, list[float]]:
    """Seconds that `work` took, and those of each transaction that was under way meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        load = Load(*where, Path(folder))
        time.sleep(2.0)  # pgbench connects; a measuring window, not a wait for a condition
        started = time.time()
        work()
        ended = time.time()
        # A transaction that waits has to end before it is counted.
        time.sleep(2.0)
        done = load.stop()
    return ended - started, [
        seconds for at, seconds in done if at >= started and at - seconds <= ended
    ]


def p99(name: str, windows: list[tuple[float, list[float]]]) -> float:
    """Milliseconds, of the transactions of all windows together; a line of figures is printed."""
    taken = sorted(each for _, window in windows for each in window)
    figures = {
        "seconds": sum(seconds for seconds, _ in windows) / len(windows),
        "transactions": len(taken),
        "p50_ms": taken[len(taken) // 2] * 1000,
        "p99_ms": taken[int(len(taken) * 0.99)] * 1000,
        "longest_ms": taken[-1] * 1000,
    }
    print(f"{name:<44}" + "".join(f" {key} {value:>9.1f}" for key, value in figures.items()))
    sys.stdout.flush()
    return figures["p99_ms"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=5_000_000)
    options.add_argument("--rate", type=int, default=100)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--workers", type=int, default=0, help="database.build_workers")
    chosen = options.parse_args()
    with ThrowawayServer(find("postgres", best=17), SETTINGS) as server:
        dsn = server.dsn()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(SCHEMA.read_bytes())
            connection.execute(
                "INSERT INTO missions (name, status, agent, created_at) SELECT 'mission-' || n, "
                "(ARRAY['active', 'completed', 'failed', 'queued'])[1 + n % 4], 'ppo', "
                f"now() - n * interval '1 second' FROM generate_series(3001, {chosen.rows}) n"
            )
            connection.execute("VACUUM ANALYZE missions")
            connection.execute("CHECKPOINT")
        where = (dsn, chosen.rows, chosen.rate)
        windows: dict[str, Callable[[str], None]] = {
            "before": nothing,
            "during tarsrelease migrate up": partial(migrate, chosen.workers),
            "during psql -f without CONCURRENTLY": psql,
        }
        found: dict[str, list[tuple[float, list[float]]]] = {each: [] for each in windows}
        for _ in range(chosen.runs):
            for name, work in windows.items():
                found[name].append(latencies(partial(work, dsn), where))
                with psycopg.connect(dsn, autocommit=True) as connection:
                    undo(connection)
    before, during, plain = (p99(name, taken) for name, taken in found.items())
    print(f"p99 during migrate up: {during / before:.1f} times that of before")
    print(f"p99 during psql -f:    {plain / before:.1f} times that of before")


def nothing(_dsn: str) -> None:
    time.sleep(BEFORE)


def migrate(workers: int, dsn: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "environments" / "here.yaml"
        place.parent.mkdir()
        text = (ROOT / "environments/rehearsal.yaml").read_text()
        text = text.replace("name: rehearsal", "name: here", 1).partition("\ndatabase:")[0]
        place.write_text(
            text + f"\ndatabase:\n  dsn_env: BENCHMARK_DSN\n  build_workers: {workers}\n"
        )
        subprocess.run(
            [
                # On a release day it runs on another machine than the server, which has two cores.
                *("nice", "-n", "19"),
                *(sys.executable, "-m", "tarsrelease", "migrate", "up", "--release", str(BUNDLE)),
                *("--environment", str(place), "--evidence", folder),
            ],
            env={**os.environ, "BENCHMARK_DSN": dsn},
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )


def undo(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """As before any migration, the history too; the inserted rows stay."""
    for name in ("missions_status_created", "evaluations_mission_timestamp", "traces_span_id"):
        connection.execute(f"DROP INDEX IF EXISTS idx_{name}")
    for name in ("trace_id", "span_id"):
        connection.execute(f"ALTER TABLE missions DROP COLUMN IF EXISTS {name}")
    connection.execute("DROP TABLE IF EXISTS tarsrelease_migrations, tarsrelease_migration_lock")
    connection.execute("VACUUM ANALYZE missions")
    connection.execute("CHECKPOINT")


def psql(dsn: str) -> None:
    files = sorted((BUNDLE / "migrations").glob("*.sql"))
    text = "\n".join(file.read_text() for file in files).replace("CONCURRENTLY ", "")
    subprocess.run(
        [str(find("psql", best=17)), "--set=ON_ERROR_STOP=1", "--quiet", "--file=-", dsn],
        input=text,
        text=True,
        check=True,
    )


if __name__ == "__main__":
    main()
