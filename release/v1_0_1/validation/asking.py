"""What the groups share: the services, refused requests, pages and times."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx
    from conftest import Target

VERSION = "1.0.1"
SERVICES = ("orchestration-agent", "insight-engine", "dashboard-api")
PODS = (*SERVICES, "ppo-agent")
"""Every Deployment whose pods Prometheus scrapes."""
LISTS = {  # by name of the rows: the service and the address of a list
    "agents": ("orchestration-agent", "/api/v1/agents"),
    "traces": ("insight-engine", "/api/v1/traces/recent"),
    "evaluations": ("insight-engine", "/api/v1/evaluations"),
    "missions": ("dashboard-api", "/api/v1/missions?status=completed"),
}
KEYS = {"agents": "name", "traces": "trace_id", "evaluations": "id", "missions": "id"}
DASHBOARDS = ("tars-overview", "tars-evaluation", "tars-agents")
STATUSES = ("active", "completed", "failed", "queued")
AGENT_TYPES = ("a2c", "ddpg", "dqn", "ppo")
ANYWHERE = {  # by service, an address that its route leads to
    "orchestration-agent": "/api/v1/websocket/stats",
    "insight-engine": "/api/v1/traces/stats",
    "dashboard-api": "/health",
}
MISSING = {  # by service, an address that its route leads to and nothing answers
    "orchestration-agent": "/api/v1/agents/ppo-1/nothing",
    "insight-engine": "/api/v1/traces/nothing/here",
    "dashboard-api": "/api/v1/nothing",
}
TRACE_ID = re.compile(r"[0-9a-f]{32}")
INNER = re.compile(r"panic|goroutine|SELECT |pgx|\.go:\d|<script", re.IGNORECASE)
"""What an error must not tell a client."""


def rows_of(target: Target, name: str, **query: object) -> list[dict[str, Any]]:
    """The rows of one page of a list."""
    return list(page_of(target, name, **query)[name])


def page_of(target: Target, name: str, **query: object) -> dict[str, Any]:
    """One page of a list, as the service answers it."""
    path = LISTS[name][1]
    asked = "&".join(f"{key}={value}" for key, value in query.items())
    answer = target.get(f"{path}{'&' if '?' in path else '?'}{asked}")
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def keys_of(name: str, rows: list[dict[str, Any]]) -> list[Any]:
    """What tells the rows apart."""
    return [row[KEYS[name]] for row in rows]


def assert_refused(answer: httpx.Response, status: int) -> str:
    """The message of an error: JSON with nothing but `error`, which tells nothing inner."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert set(body) == {"error"}
    message = body["error"]
    assert isinstance(message, str)
    assert message
    assert not INNER.search(message), message
    return message


def fastest(
    ask: Callable[[int], httpx.Response],
    enough: float,
    status: int | None = None,
    tries: int = 30,
) -> float:
    """Seconds of the fastest of several answers, all of which are 2xx or have this status.

    A busy machine slows single requests; a defect slows each of them. So the first answer within
    `enough` seconds ends it.
    """
    least = float("inf")
    for number in range(tries):
        began = time.perf_counter()
        answer = ask(number)
        least = min(least, time.perf_counter() - began)
        expected = answer.is_success if status is None else answer.status_code == status
        assert expected, f"{answer.status_code}: {answer.text}"
        if least < enough:
            break
    return least
