"""Is a wrong request the client's fault, and told so in one way?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from validation.asking import LISTS, MISSING, assert_refused

if TYPE_CHECKING:
    from conftest import Target

lists = pytest.mark.parametrize("name", LISTS)
services = pytest.mark.parametrize("service", MISSING)
WRONG = [
    ("dashboard-api", "/api/v1/missions?status=nonsense", 400),
    ("dashboard-api", "/api/v1/missions?status=active'%20OR%201=1--", 400),
    ("dashboard-api", "/api/v1/missions?status=ACTIVE", 400),
    ("dashboard-api", "/api/v1/missions/0", 400),
    ("dashboard-api", "/api/v1/missions/seven", 400),
    ("dashboard-api", "/api/v1/missions/99999999999999999999", 400),
    ("dashboard-api", "/api/v1/missions/987654321", 404),
    ("insight-engine", "/api/v1/evaluations?mission=0", 400),
    ("insight-engine", "/api/v1/evaluations?mission=seven", 400),
    ("insight-engine", "/api/v1/evaluations/-1", 400),
    ("insight-engine", "/api/v1/evaluations/987654321", 404),
    ("insight-engine", "/api/v1/traces/nonsense", 400),
    ("insight-engine", f"/api/v1/traces/{'f' * 32}", 404),
    ("orchestration-agent", "/api/v1/agents?type=nonsense", 400),
    ("orchestration-agent", "/api/v1/agents?status=nonsense", 400),
    ("orchestration-agent", "/api/v1/agents/nobody", 404),
    ("orchestration-agent", "/ws?session=nonsense", 400),
    ("dashboard-api", "/grafana/d/nonsense", 404),
]


def with_query(name: str, query: str) -> str:
    path = LISTS[name][1]
    return f"{path}{'&' if '?' in path else '?'}{query}"


@pytest.mark.canary
@pytest.mark.errors
class TestErrors:
    @pytest.mark.parametrize(("service", "path", "status"), WRONG, ids=[w[1] for w in WRONG])
    def test_a_wrong_request_is_the_clients_fault(
        self, target: Target, service: str, path: str, status: int
    ) -> None:
        del service
        assert_refused(target.get(path), status)

    @lists
    def test_a_limit_of_nothing_is_refused(self, target: Target, name: str) -> None:
        assert "limit" in assert_refused(target.get(with_query(name, "limit=0")), 400)

    @lists
    def test_a_limit_above_500_is_refused(self, target: Target, name: str) -> None:
        assert "500" in assert_refused(target.get(with_query(name, "limit=501")), 400)

    @lists
    def test_a_limit_that_is_no_number_is_refused(self, target: Target, name: str) -> None:
        assert "many" in assert_refused(target.get(with_query(name, "limit=many")), 400)

    @lists
    def test_a_negative_offset_is_refused(self, target: Target, name: str) -> None:
        assert "offset" in assert_refused(target.get(with_query(name, "offset=-1")), 400)

    @services
    def test_an_unknown_address_is_not_found(self, target: Target, service: str) -> None:
        assert_refused(target.get(MISSING[service]), 404)

    @services
    def test_an_unknown_address_is_not_repeated(self, target: Target, service: str) -> None:
        answer = target.get(f"{MISSING[service]}?x=<script>alert(1)</script>")
        assert "script" not in assert_refused(answer, 404)

    @pytest.mark.parametrize(
        ("service", "path", "allowed"),
        [
            ("orchestration-agent", "/api/v1/agents", "GET"),
            ("insight-engine", "/api/v1/traces/stats", "GET"),
            ("dashboard-api", "/api/v1/missions", "GET, POST"),
            ("dashboard-api", "/api/v1/tokens", "POST"),
        ],
    )
    def test_another_method_is_refused_with_those_allowed(
        self, target: Target, service: str, path: str, allowed: str
    ) -> None:
        del service
        answer = target.ask("DELETE", path)
        assert_refused(answer, 405)
        assert answer.headers["allow"] == allowed
