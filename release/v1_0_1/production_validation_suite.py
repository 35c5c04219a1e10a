"""Does T.A.R.S. v1.0.1 do in production what it was released for?

Health, endpoints, and the five hotfixes: each of those is a test that v1.0.0 fails. Limits are
those of the runbook. Times are the best of several tries: a busy machine slows single requests,
while a defect slows each of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx
    from conftest import Target

VERSION = "1.0.1"
Measured = Callable[..., None]

HEALTH = {  # by service, a path that its route leads to
    "orchestration-agent": "/api/v1/websocket/stats",
    "insight-engine": "/api/v1/traces/stats",
    "dashboard-api": "/health",
}
ENDPOINTS = [
    ("orchestration-agent", "/api/v1/agents", "agents"),
    ("orchestration-agent", "/api/v1/websocket/stats", "reconnection_enabled"),
    ("insight-engine", "/api/v1/traces/recent?limit=10", "traces"),
    ("insight-engine", "/api/v1/traces/stats", "coverage_pct"),
    ("insight-engine", "/api/v1/evaluations?limit=10", "evaluations"),
    ("dashboard-api", "/api/v1/missions?limit=100&status=active", "missions"),
    ("dashboard-api", "/api/v1/missions?limit=5&status=completed", "missions"),
    ("dashboard-api", "/", "product"),
]
DASHBOARDS = ("tars-overview", "tars-evaluation", "tars-agents")
PPO_LIMIT_UNITS = 1.5
"""What the runbook calls 1.5 GB: a unit of the PPO agent's memory is 1 GB at full size."""

canary = pytest.mark.canary
services = pytest.mark.parametrize("service", HEALTH)


def timed(ask: Callable[[], httpx.Response]) -> tuple[float, httpx.Response]:
    began = time.perf_counter()
    answer = ask()
    return time.perf_counter() - began, answer


# Health


@canary
@pytest.mark.health
@pytest.mark.parametrize("host", ["web", "api"])
def test_health(target: Target, host: str) -> None:
    answer = target.get("/health", host)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"status": "healthy"}


@canary
@pytest.mark.health
@services
def test_the_side_under_test_answers_with_the_released_version(
    target: Target, service: str, measured: Measured
) -> None:
    answer = target.get(HEALTH[service])
    version, side = answer.headers.get("x-tars-version"), answer.headers.get("x-tars-deployment")
    measured(f"{version} ({side})", "version", f"{VERSION} ({target.deployment})", service)
    assert answer.status_code == 200, answer.text
    assert version == VERSION
    assert side == target.deployment


@canary
@pytest.mark.health
@pytest.mark.parametrize(
    ("path", "said"), [("/grafana/api/health", "ok"), ("/prometheus/-/healthy", "Healthy")]
)
def test_monitoring_answers(target: Target, path: str, said: str) -> None:
    answer = target.get(path, "web")
    assert answer.status_code == 200
    assert said in answer.text


# Endpoints


@canary
@pytest.mark.endpoint
@pytest.mark.parametrize(("service", "path", "key"), ENDPOINTS, ids=[e[1] for e in ENDPOINTS])
def test_endpoint(target: Target, service: str, path: str, key: str, measured: Measured) -> None:
    answer = target.get(path)
    measured(answer.status_code, "status", f"200, with {key!r}", service)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert key in answer.json()


@canary
@pytest.mark.endpoint
@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("dashboard-api", "/api/v1/missions?status=nonsense"),
        ("dashboard-api", "/api/v1/missions?limit=-1"),
        ("insight-engine", "/api/v1/evaluations?mission=0"),
        ("orchestration-agent", "/ws?session=nonsense"),
    ],
)
def test_a_wrong_request_is_the_clients_fault(
    target: Target, service: str, path: str, measured: Measured
) -> None:
    answer = target.get(path)
    measured(answer.status_code, "status", "400", service)
    assert answer.status_code == 400, answer.text


@canary
@pytest.mark.endpoint
@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_dashboard_is_there(target: Target, dashboard: str) -> None:
    """The dashboard itself: a redirect to a login page is none."""
    answer = target.get(f"/grafana/d/{dashboard}", "web")
    assert answer.status_code == 200
    assert dashboard in answer.text


# TARS-1001: WebSocket sessions reconnect


def websocket(target: Target, session: str = "") -> tuple[int, dict[str, Any]]:
    """Status of the handshake and the first message; the connection is given up after it."""
    request = target.web.build_request(
        "GET",
        f"/ws?session={session}" if session else "/ws",
        headers={
            **target.headers,
            "host": target.hosts["api"],
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
    )
    answer = target.web.send(request, stream=True)
    try:
        if answer.status_code != 101:
            return answer.status_code, {}
        return 101, json.loads(first_text(answer.extensions["network_stream"]))
    finally:
        answer.close()


def first_text(stream: Any) -> bytes:
    """The payload of a server's first frame: short, final, unmasked text (RFC 6455, 5.2)."""
    got = b""
    while len(got) < 2 or len(got) < 2 + got[1]:
        more = stream.read(4096, timeout=5.0)
        assert more, f"the connection ended after {len(got)} bytes"
        got += more
    assert got[0] == 0x81, f"no final text frame: {got[:2].hex()}"
    assert got[1] < 126, f"a longer frame than expected: {got[1]}"
    return got[2 : 2 + got[1]]


@canary
@pytest.mark.hotfix
def test_tars_1001_reconnection_is_enabled(target: Target, measured: Measured) -> None:
    stats = target.get("/api/v1/websocket/stats").json()
    said = f"enabled: {stats['reconnection_enabled']}, retries: {stats['max_retries']}"
    measured(said, "setting", "enabled, 5 retries", "orchestration-agent")
    assert stats["reconnection_enabled"] is True
    assert stats["max_retries"] == 5


@canary
@pytest.mark.hotfix
def test_tars_1001_a_lost_session_is_taken_up_again(target: Target, measured: Measured) -> None:
    status, hello = websocket(target)
    assert status == 101
    again, resumed = websocket(target, hello["session_id"])
    measured(again, "status", "101, resumed", "orchestration-agent")
    assert again == 101, "the session is gone"
    assert resumed["resumed"] is True
    assert resumed["session_id"] == hello["session_id"]


# TARS-1002: Grafana evaluation dashboard loads within 3 s


@canary
@pytest.mark.hotfix
@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_tars_1002_dashboard_loads_within_3_s(
    target: Target, dashboard: str, measured: Measured
) -> None:
    tries = [timed(lambda: target.get(f"/grafana/d/{dashboard}", "web")) for _ in range(2)]
    seconds = min(took for took, _ in tries)
    measured(round(seconds, 3), "seconds", "< 3 s", "dashboard-api")
    assert {answer.status_code for _, answer in tries} == {200}
    assert seconds < 3


# TARS-1003: missions query uses its index


@canary
@pytest.mark.hotfix
def test_tars_1003_missions_are_found_within_50_ms(target: Target, measured: Measured) -> None:
    """Another limit at each try, so that no answer comes from the cache."""
    tries = [
        timed(lambda limit=limit: target.get(f"/api/v1/missions?limit={limit}&status=active"))  # type: ignore[misc]
        for limit in range(91, 101)
    ]
    seconds = min(took for took, _ in tries)
    measured(round(seconds, 4), "seconds", "< 0.05 s", "dashboard-api")
    assert {answer.status_code for _, answer in tries} == {200}
    assert seconds < 0.05


# TARS-1004: every trace carries a span id


@canary
@pytest.mark.hotfix
def test_tars_1004_recent_traces_have_both_ids(target: Target, measured: Measured) -> None:
    traces = target.get("/api/v1/traces/recent?limit=100").json()["traces"]
    without = [trace for trace in traces if not trace["span_id"] or not trace["trace_id"]]
    measured(len(without), "count", "0 traces without an id", "insight-engine")
    assert traces, "there is no trace to look at"
    assert not without


@canary
@pytest.mark.hotfix
def test_tars_1004_all_traces_are_covered(target: Target, measured: Measured) -> None:
    stats = target.get("/api/v1/traces/stats").json()
    measured(stats["coverage_pct"] / 100, "share", "100 %", "insight-engine")
    assert stats["total_traces"] > 0
    assert stats["coverage_pct"] == 100


# TARS-1005: PPO agent releases finished rollouts


@canary
@pytest.mark.hotfix
def test_tars_1005_ppo_memory(target: Target, measured: Measured) -> None:
    """What the buffers of each agent hold, in units: 1.4 of them, where v1.0.0 holds 3.7."""
    of = f'namespace="{target.namespace}",deployment="{target.deployment}"'
    held = target.query(f"ppo_buffer_bytes{{{of}}}")
    if not held:
        target.cannot("no PPO agent of this side is scraped")
    most = max(float(each["value"][1]) for each in held) / target.ppo_unit
    measured(round(most, 2), "units of memory", f"< {PPO_LIMIT_UNITS}", "ppo-agent")
    assert most < PPO_LIMIT_UNITS
