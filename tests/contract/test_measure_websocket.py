"""`measure websocket` against the example's real WebSocket service, of both versions."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_rig import wait_for

from tarsrelease.adapters.websocket.probe import SocketProbe, place_of
from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import Status
from tarsrelease.model.sockets import SocketPlan, SocketReport, parse_cuts
from tarsrelease.rehearsal.images import build_images
from tarsrelease.rehearsal.paths import cache_root
from tarsrelease.steps.measure_websocket import judged

ROOT = Path(__file__).parents[2]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def programs() -> dict[str, str]:
    entries = build_images(cache_root(), ROOT / "examples/tars/services", print)
    return {
        entry["tag"].removeprefix("v"): entry["command"][0]
        for entry in entries
        if "orchestration-agent" in entry["name"]
    }


def address() -> str:
    pid = os.getpid()
    return f"127.{160 + next(_numbers)}.{pid >> 8 & 255}.{max(1, pid & 255)}"


def start(program: str, at: str, folder: Path) -> subprocess.Popen[bytes]:
    """The service on its own, without a cache; returns once it answers."""
    environment = {**os.environ, "POD_IP": at, "TARS_DRAIN_SECONDS": "0.1"}
    environment |= {"REDIS_ADDR": "127.0.0.1:1", "TARS_FAULT_SWITCH": "true"}
    with (folder / "service.log").open("ab") as log:
        process = subprocess.Popen(
            [program, "orchestration-agent"], env=environment, stdout=log, stderr=log
        )
    deadline = time.monotonic() + 30
    while True:
        try:
            if httpx.get(f"http://{at}:8080/health", trust_env=False).status_code == 200:
                return process
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, (folder / "service.log").read_text()
        time.sleep(0.05)


@contextmanager
def service(program: str, folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    at = address()
    process = start(program, at, folder)
    try:
        yield at, process
    finally:
        process.kill()
        process.wait()


def open_at(at: str) -> int:
    stats = httpx.get(f"http://{at}:8080/api/v1/websocket/stats", trust_env=False)
    return int(stats.json()["connections_open"])


def measured(at: str, **plan: object) -> SocketReport:
    asked = {"seconds": 4.0, "connections": 3, "every": 0.5, "idle": 0.3} | plan
    return SocketProbe(place_of(f"http://{at}:8080", "/ws")).measure(
        SocketPlan.model_validate(asked)
    )


def statuses(found: SocketReport) -> dict[str, Status]:
    return {each.id.partition(".")[2]: each.status for each in judged(found, 0.999)}


def test_every_session_and_message_comes_back(programs: dict[str, str], tmp_path: Path) -> None:
    with service(programs["1.0.1"], tmp_path) as (at, _):
        found = measured(at)
    assert found.reconnection_success_rate == 100.0, found
    assert set(found.reconnects) == {"close", "drop"}
    assert all(each.attempts >= 3 for each in found.reconnects.values())
    assert found.idle_survived >= 3
    assert found.reconnect_time_max_s is not None
    assert found.reconnect_time_max_s < 3
    assert (found.opened, found.messages_lost) == (3, 0)
    assert found.messages_sent >= 30
    assert found.websocket_uptime_pct is not None
    assert found.websocket_uptime_pct > 80
    assert set(statuses(found).values()) == {Status.PASS}


def test_behind_a_gateway_the_origin_is_that_of_the_host_name(
    programs: dict[str, str], tmp_path: Path
) -> None:
    """The service refuses pages of other origins (403)."""
    plan = SocketPlan(seconds=2.0, connections=2, every=0.5, idle=0.3, cuts=("close",))
    with service(programs["1.0.1"], tmp_path) as (at, _):
        place = place_of(f"http://{at}:8080", "/ws", host="api.tars.ai")
        found = SocketProbe(place).measure(plan)
    assert (found.opened, found.refused, dict(found.errors)) == (2, 0, {}), found


def test_v1_0_0_takes_no_session_up_again(programs: dict[str, str], tmp_path: Path) -> None:
    with service(programs["1.0.0"], tmp_path) as (at, _):
        found = measured(at, cuts=["drop"], connections=2)
    assert found.reconnection_success_rate == 0.0
    assert found.errors["status 410"] >= 5
    assert statuses(found)["reconnects"] is Status.FAIL


def test_a_server_that_closes_is_a_cut_and_its_successor_takes_the_sessions(
    programs: dict[str, str], tmp_path: Path
) -> None:
    """The replica is replaced while it is measured: SIGTERM, then a new process."""
    with service(programs["1.0.1"], tmp_path) as (at, process):
        later: list[subprocess.Popen[bytes]] = []

        def replace() -> None:
            wait_for(lambda: open_at(at) == 3)
            process.send_signal(signal.SIGTERM)
            process.wait()
            later.append(start(programs["1.0.1"], at, tmp_path))

        worker = threading.Thread(target=replace)
        worker.start()
        try:
            found = measured(at, every=30.0, seconds=6.0, retries=8)
        finally:
            worker.join()
            later[0].kill()
            later[0].wait()
    assert found.reconnects["server"].attempts >= 3
    assert found.reconnects["server"].successes >= 3
    assert found.messages_lost == 0


def test_nobody_answers(tmp_path: Path) -> None:
    found = measured(address(), seconds=0.5, connections=1)
    assert (found.opened, found.refused > 0) == (0, True)
    assert statuses(found) == {
        "connections": Status.FAIL,
        "reconnects": Status.INCONCLUSIVE,
        "messages": Status.INCONCLUSIVE,
    }


@pytest.mark.parametrize("url", ["tars.ai", "ftp://tars.ai", "ws://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="the address"):
        place_of(url, "/ws")


def test_a_list_of_cuts() -> None:
    assert parse_cuts("idle, close") == ("close", "idle")
    with pytest.raises(ValueError, match="'cable' is none of"):
        parse_cuts("cable")
