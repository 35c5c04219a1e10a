"""The services of T.A.R.S. as they are built, on a real PostgreSQL and Valkey: what the release
day's checks see of each version, and that v1.0.0 really has the five defects."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest

from tarsrelease.rehearsal.images import ImageEntry, build_images
from tarsrelease.rehearsal.paths import cache_root

ROOT = Path(__file__).parents[2]
UNIT_MB = 32
VERSIONS = ("1.0.0", "1.0.1")
SERVICES = ("orchestration-agent", "insight-engine", "dashboard-api", "ppo-agent")

# One process for all of them: they share the database and the services.
pytestmark = pytest.mark.slow


_numbers = itertools.count(1)


def own_address() -> str:
    """A loopback address that nothing else uses: the ports are fixed, so addresses differ."""
    pid = os.getpid()
    return f"127.{64 + next(_numbers)}.{pid >> 8 & 255}.{max(1, pid & 255)}"


def wait_until(what: str, holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {seconds} s: {what}"
        time.sleep(0.02)


@contextmanager
def running(
    argv: list[str], folder: Path, name: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its output in ``folder/name.log``; ended by SIGTERM, then by force."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            argv, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class World:
    """Every service of both versions, and the database behind them."""

    def __init__(self, folder: Path, entries: list[ImageEntry]) -> None:
        self.folder = folder
        self.programs = {
            entry["tag"].removeprefix("v"): entry["command"][0]
            for entry in entries
            if "dashboard-api" in entry["name"]
        }
        self.database = own_address()
        self.redis = own_address()
        self.client = httpx.Client(timeout=20)
        self.urls: dict[tuple[str, str], str] = {}

    @contextmanager
    def backing(self, server: str) -> Iterator[None]:
        """PostgreSQL or Valkey, by the launcher that stands for its image."""
        scratch = self.folder / server
        scratch.mkdir()
        argv = [sys.executable, "-m", "tarsrelease.rehearsal.launchers", server]
        access = {f"POSTGRES_{what}": "tars" for what in ("USER", "PASSWORD", "DB")}
        address = self.database if server == "postgres" else self.redis
        place = {"POD_IP": address, "POD_DIR": str(scratch)}
        with running(argv, self.folder, server, **place, **access):
            yield

    @contextmanager
    def service(self, version: str, service: str) -> Iterator[str]:
        """The service's base URL, once it is there (not necessarily ready)."""
        address = own_address()
        environment = {
            "PGHOST": self.database,
            "PGUSER": "tars",
            "PGPASSWORD": "tars",
            "PGDATABASE": "tars",
            "PGSSLMODE": "disable",
            "REDIS_ADDR": f"{self.redis}:6379",
            "POD_IP": address,
            "TARS_DRAIN_SECONDS": "0.1",
            "TARS_FAULT_SWITCH": "true",
            "TARS_PPO_MEMORY_UNIT_MB": str(UNIT_MB),
        }
        name = f"{service}-{version}-{address}"
        argv = [self.programs[version], service]
        with running(argv, self.folder, name, **environment) as process:
            url = f"http://{address}:8080"
            wait_until(f"{service} {version} answers", lambda: status(f"{url}/health") == 200)
            yield url
            assert process.poll() is None, (self.folder / f"{name}.log").read_text()

    def get(self, version: str, service: str, path: str) -> httpx.Response:
        return self.client.get(f"{self.urls[version, service]}{path}")

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        """One statement outside of a transaction, as CREATE INDEX CONCURRENTLY wants it."""
        where = f"host={self.database} user=tars password=tars dbname=tars"
        with psycopg.connect(where, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


def is_ready(url: str) -> bool:
    return status(f"{url}/ready") == 200


def status(url: str) -> int:
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.TransportError:
        return 0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Services first, database second: each must wait for it, and one of them fills it."""
    entries = build_images(cache_root(), ROOT / "examples/tars/services", print)
    world = World(tmp_path_factory.mktemp("world"), entries)
    with ExitStack() as stack:
        for version in VERSIONS:
            for service in SERVICES:
                world.urls[version, service] = stack.enter_context(world.service(version, service))
        waiting = world.get("1.0.1", "dashboard-api", "/ready")
        assert waiting.status_code == 503
        assert "the database" in waiting.text
        for server in ("postgres", "valkey"):
            stack.enter_context(world.backing(server))
        for (version, service), url in world.urls.items():
            wait_until(f"{service} {version} is ready", partial(is_ready, url))
        yield world
    world.client.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_service_is_healthy_and_says_its_version(world: World, version: str) -> None:
    for service in SERVICES:
        health = world.get(version, service, "/health")
        assert health.text == '{"status": "healthy"}'
        assert health.headers["X-Tars-Version"] == version
        told = world.get(version, service, "/version").json()
        assert (told["service"], told["version"]) == (service, version)
        assert len(told["hotfixes"]) == (5 if version == "1.0.1" else 0)


def test_the_tables_are_filled_once(world: World) -> None:
    for table, rows in (("missions", 3000), ("evaluations", 4000), ("traces", 4000)):
        assert world.sql(f"SELECT count(*) FROM {table}") == [(rows,)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("service", "path", "contains"),
    [
        ("orchestration-agent", "/api/v1/agents", '"ppo-1"'),
        ("insight-engine", "/api/v1/evaluations?limit=5", '"score"'),
        ("insight-engine", "/api/v1/evaluations?mission=7", '"mission_id":7'),
        ("dashboard-api", "/", "T.A.R.S."),
        ("dashboard-api", "/grafana/d/tars-overview", "Missions: active"),
        ("dashboard-api", "/grafana/d/tars-agents", "Agent: ppo"),
        ("dashboard-api", "/grafana/api/health", "ok"),
        ("dashboard-api", "/prometheus/-/healthy", "Healthy"),
    ],
)
def test_what_the_day_looks_at_is_there(
    world: World, version: str, service: str, path: str, contains: str
) -> None:
    answer = world.get(version, service, path)
    assert answer.status_code == 200
    assert contains in answer.text


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/missions?limit=0",
        "/api/v1/missions?limit=many",
        "/api/v1/missions?limit=100000",
        "/api/v1/missions?status=lost",
    ],
)
def test_wrong_questions_are_answered_with_400(world: World, version: str, path: str) -> None:
    assert world.get(version, "dashboard-api", path).status_code == 400


def test_tars_1001_reconnection(world: World) -> None:
    stats = {
        version: world.get(version, "orchestration-agent", "/api/v1/websocket/stats").json()
        for version in VERSIONS
    }
    assert (stats["1.0.0"]["reconnection_enabled"], stats["1.0.0"]["max_retries"]) == (False, 0)
    assert (stats["1.0.1"]["reconnection_enabled"], stats["1.0.1"]["max_retries"]) == (True, 5)


def test_tars_1002_evaluation_dashboard(world: World) -> None:
    pages = {v: world.get(v, "dashboard-api", "/grafana/d/tars-evaluation") for v in VERSIONS}
    assert all(page.status_code == 200 for page in pages.values())
    assert pages["1.0.0"].elapsed.total_seconds() > 3
    assert pages["1.0.1"].elapsed.total_seconds() < 3
    # Faster, and still the same dashboard.
    assert pages["1.0.0"].text == pages["1.0.1"].text


def test_tars_1003_missions_query(world: World) -> None:
    path = "/api/v1/missions?limit=100&status=active"
    answers = {v: [world.get(v, "dashboard-api", path) for _ in range(11)] for v in VERSIONS}
    median = {
        version: sorted(a.elapsed.total_seconds() for a in each)[5]
        for version, each in answers.items()
    }
    assert median["1.0.0"] > 0.05
    assert median["1.0.1"] < 0.05
    old, new = (answers[version][0].json() for version in VERSIONS)
    assert old == new
    assert new["count"] == len(new["missions"]) == 100
    assert {mission["status"] for mission in new["missions"]} == {"active"}
    times = [mission["created_at"] for mission in new["missions"]]
    assert times == sorted(times, reverse=True)


def test_tars_1004_trace_coverage(world: World) -> None:
    stats = {v: world.get(v, "insight-engine", "/api/v1/traces/stats").json() for v in VERSIONS}
    assert stats["1.0.0"] == {"coverage_pct": 87.5, "total_traces": 4000}
    assert stats["1.0.1"] == {"coverage_pct": 100.0, "total_traces": 4000}
    for version, complete in (("1.0.0", False), ("1.0.1", True)):
        recent = world.get(version, "insight-engine", "/api/v1/traces/recent?limit=10").json()
        traces = recent["traces"]
        assert len(traces) == 10
        assert all(trace["trace_id"] for trace in traces)
        assert all(trace["span_id"] for trace in traces) is complete


def test_tars_1005_ppo_memory(world: World) -> None:
    def units(version: str) -> float:
        text = world.get(version, "ppo-agent", "/metrics").text
        line = next(x for x in text.splitlines() if x.startswith("process_resident_memory_bytes "))
        return float(line.split()[1]) / (UNIT_MB << 20)

    assert units("1.0.0") == pytest.approx(3.7, rel=0.1)
    assert units("1.0.1") == pytest.approx(1.4, rel=0.1)


def test_the_migrations_apply_twice_hold_and_can_be_undone(world: World) -> None:
    folder = ROOT / "release/v1_0_1/migrations"
    query = "SELECT * FROM missions WHERE status = 'active' ORDER BY created_at DESC LIMIT 100"

    def apply(file: str) -> None:
        lines = (folder / file).read_text().splitlines()
        text = "\n".join(line for line in lines if not line.startswith("--"))
        for statement in filter(str.strip, text.split(";")):
            world.sql(statement)

    def plan() -> str:
        return "\n".join(str(row[0]) for row in world.sql(f"EXPLAIN {query}"))

    indexes = (
        "SELECT count(*) FROM pg_index WHERE indisvalid AND indisready"
        " AND indexrelid::regclass::text LIKE 'idx_%'"
    )
    assert "idx_missions_status_created" not in plan()
    for _ in range(2):
        apply("v1_0_1_add_indexes.sql")
        apply("v1_0_1_add_trace_columns.sql")
    assert world.sql(indexes) == [(3,)]
    assert "idx_missions_status_created" in plan()
    for version in VERSIONS:  # an expand migration: both run on it
        path = "/api/v1/missions?limit=3&status=queued"
        assert world.get(version, "dashboard-api", path).status_code == 200
    apply("rollback/v1_0_1_rollback.sql")
    assert world.sql(indexes) == [(0,)]
    for version in VERSIONS:
        path = "/api/v1/missions?limit=4&status=queued"
        assert world.get(version, "dashboard-api", path).status_code == 200


def test_redis_and_the_database_may_go_away(world: World, tmp_path: Path) -> None:
    """Without Redis, answers are computed; without the database, they are 503 and not a hang."""
    own = World(tmp_path, [])
    own.programs = world.programs

    def asked(limit: int) -> int:
        return httpx.get(f"{url}/api/v1/missions?limit={limit}", timeout=20).status_code

    with own.service("1.0.1", "dashboard-api") as url:
        with own.backing("postgres"):
            with own.backing("valkey"):
                wait_until("it is ready", partial(is_ready, url))
                assert asked(1) == 200
            assert asked(2) == 200
        assert asked(3) == 503
        assert status(f"{url}/health") == 200


def test_maintenance_is_a_job_that_ends(world: World) -> None:
    where = {"HOST": world.database, "USER": "tars", "PASSWORD": "tars", "DATABASE": "tars"}
    environment = {f"PG{name}": value for name, value in where.items()}
    done = subprocess.run(
        [world.programs["1.0.1"], "db-maintenance"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    analyzed = world.sql(
        "SELECT count(*) FROM pg_stat_user_tables WHERE last_vacuum IS NOT NULL"
        " AND last_analyze IS NOT NULL"
    )
    assert analyzed == [(3,)]
