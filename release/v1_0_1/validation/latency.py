"""Does each address answer within its budget? The fastest of several tries counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from validation.asking import fastest

if TYPE_CHECKING:
    from conftest import Measured, Target

BUDGETS = [  # service, address with a {number} that keeps the cache out, milliseconds
    ("orchestration-agent", "/api/v1/agents", 50),
    ("orchestration-agent", "/api/v1/agents/ppo-1", 50),
    ("orchestration-agent", "/api/v1/websocket/stats", 50),
    ("insight-engine", "/api/v1/traces/recent?limit={number}", 100),
    ("insight-engine", "/api/v1/traces/stats", 100),
    ("insight-engine", "/api/v1/evaluations?limit={number}", 100),
    ("insight-engine", "/api/v1/evaluations?mission={number}", 100),
    ("insight-engine", "/api/v1/evaluations/{number}", 50),
    ("dashboard-api", "/health", 50),
    ("dashboard-api", "/", 50),
    ("dashboard-api", "/api/v1/missions/{number}", 50),
    ("dashboard-api", "/api/v1/missions?limit={number}&offset=1000&status=completed", 100),
    ("dashboard-api", "/grafana/api/health", 100),
    ("dashboard-api", "/prometheus/-/healthy", 100),
]


@pytest.mark.canary
@pytest.mark.latency
class TestLatency:
    @pytest.mark.parametrize(
        ("service", "path", "budget"), BUDGETS, ids=[each[1] for each in BUDGETS]
    )
    def test_an_answer_keeps_its_budget(
        self, target: Target, service: str, path: str, budget: int, measured: Measured
    ) -> None:
        host = "web" if path.startswith(("/grafana", "/prometheus")) else "api"
        took = fastest(
            lambda number: target.get(path.format(number=101 + number), host), budget / 1000
        )
        measured(round(took * 1000, 1), "ms", f"< {budget} ms", service)
        assert took * 1000 < budget

    def test_a_token_is_given_within_its_budget(self, target: Target, measured: Measured) -> None:
        took = fastest(lambda _: target.ask("POST", "/api/v1/tokens"), 0.05)
        measured(round(took * 1000, 1), "ms", "< 50 ms", "dashboard-api")
        assert took < 0.05

    def test_refusing_is_as_quick_as_answering(self, target: Target, measured: Measured) -> None:
        took = fastest(lambda _: target.get("/api/v1/missions?limit=0"), 0.05, status=400)
        measured(round(took * 1000, 1), "ms", "< 50 ms", "dashboard-api")
        assert took < 0.05
