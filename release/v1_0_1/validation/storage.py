"""Do the services reach PostgreSQL and Redis, with room left?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from validation.asking import SERVICES

if TYPE_CHECKING:
    from conftest import Target

users = pytest.mark.parametrize("service", ["insight-engine", "dashboard-api"])
services = pytest.mark.parametrize("service", SERVICES)
TABLES = {"missions", "evaluations", "traces"}


@pytest.mark.canary
@pytest.mark.database
class TestDatabase:
    @users
    def test_every_pod_reaches_the_database(self, target: Target, service: str) -> None:
        assert all(each.value == 1 for each in target.samples("database_up", service))

    @users
    def test_connections_are_left(self, target: Target, service: str) -> None:
        most = {x.pod: x.value for x in target.samples("database_connections_max", service)}
        used = target.samples("database_connections", service, state="used")
        assert all(each.value < most[each.pod] for each in used)

    @users
    def test_a_connection_is_kept_ready(self, target: Target, service: str) -> None:
        def open_connections() -> list[float]:
            pods: dict[str, float] = {}
            for each in target.samples("database_connections", service):
                pods[each.pod] = pods.get(each.pod, 0) + each.value
            return list(pods.values())

        assert all(count >= 1 for count in open_connections())

    @users
    def test_the_tables_are_there(self, target: Target, service: str) -> None:
        found = target.samples("database_table_rows", service)
        assert {each.labels["table"] for each in found} == TABLES

    @pytest.mark.parametrize(
        "path", ["/api/v1/missions/1", "/api/v1/evaluations/1", "/api/v1/traces/recent?limit=499"]
    )
    def test_a_row_is_read_from_the_database(self, target: Target, path: str) -> None:
        """None of these answers is kept in the cache of another test."""
        answer = target.get(path)
        assert answer.status_code == 200, answer.text


@pytest.mark.canary
@pytest.mark.cache
class TestCache:
    @services
    def test_the_results_of_questions_are_announced(self, target: Target, service: str) -> None:
        found = target.samples("cache_requests_total", service)
        assert {each.labels["result"] for each in found} == {"hit", "miss", "failure"}
        assert not failing(target, service)

    def test_a_repeated_question_is_a_hit(self, target: Target) -> None:
        def hits() -> float:
            found = target.samples("cache_requests_total", "insight-engine", result="hit")
            return sum(each.value for each in found)

        before = hits()
        for _ in range(3):
            assert target.get("/api/v1/traces/stats").status_code == 200
        target.wait_for("a hit", lambda: hits() > before)

    def test_every_pod_that_asked_was_answered(self, target: Target) -> None:
        assert target.get("/api/v1/traces/stats").status_code == 200
        target.wait_for(
            "an answer of Redis",
            lambda: any(each.value == 1 for each in target.samples("cache_up", "insight-engine")),
        )
        assert not failing(target, "insight-engine")


def failing(target: Target, service: str) -> bool:
    """Requests to Redis fail now: the count of failures grows while this side is asked."""

    def failures() -> float:
        found = target.samples("cache_requests_total", service, result="failure")
        return sum(each.value for each in found)

    before = failures()
    for _ in range(3):
        target.get("/api/v1/traces/stats")
    target.next_scrape()
    return failures() > before
