"""Does each address answer with what its clients rely on?"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from validation.asking import (
    AGENT_TYPES,
    KEYS,
    STATUSES,
    TRACE_ID,
    VERSION,
    keys_of,
    page_of,
    rows_of,
)

if TYPE_CHECKING:
    from conftest import Measured, Target

AGENT = {"name": str, "type": str, "status": str}
MISSION = {"id": int, "name": str, "status": str, "agent": str, "created_at": str}
EVALUATION = {"id": int, "mission_id": int, "score": (int, float), "timestamp": str}
TRACE = {"trace_id": str, "span_id": (str, type(None)), "operation": str, "started_at": str}
ROWS: dict[str, dict[str, Any]] = {
    "agents": AGENT,
    "missions": MISSION,
    "evaluations": EVALUATION,
    "traces": TRACE,
}
ADDRESSES: list[tuple[str, str, dict[str, Any]]] = [
    ("orchestration-agent", "/api/v1/agents", {"agents": list, "count": int}),
    ("orchestration-agent", "/api/v1/agents/ppo-1", AGENT),
    (
        "orchestration-agent",
        "/api/v1/websocket/stats",
        {
            "reconnection_enabled": bool,
            "max_retries": int,
            "connections_open": int,
            "reconnects": dict,
        },
    ),
    ("insight-engine", "/api/v1/traces/recent?limit=10", {"traces": list, "count": int}),
    ("insight-engine", "/api/v1/traces/stats", {"coverage_pct": (int, float), "total_traces": int}),
    ("insight-engine", "/api/v1/evaluations?limit=10", {"evaluations": list, "count": int}),
    ("insight-engine", "/api/v1/evaluations?mission=7", {"evaluations": list, "count": int}),
    ("insight-engine", "/api/v1/evaluations/1", EVALUATION),
    ("dashboard-api", "/api/v1/missions?limit=100&status=active", {"missions": list, "count": int}),
    ("dashboard-api", "/api/v1/missions/1", MISSION),
    ("dashboard-api", "/", {"product": str, "version": str}),
]
addresses = pytest.mark.parametrize(
    ("service", "path", "shape"), ADDRESSES, ids=[each[1] for each in ADDRESSES]
)
lists = pytest.mark.parametrize("name", ROWS)


def assert_shape(value: dict[str, Any], shape: dict[str, Any], *, exactly: bool = True) -> None:
    missing = set(shape) - set(value)
    assert not missing, f"without {missing}"
    assert not exactly or set(value) == set(shape), f"also {set(value) - set(shape)}"
    wrong = {key: value[key] for key, kind in shape.items() if not isinstance(value[key], kind)}
    assert not wrong


@pytest.mark.canary
@pytest.mark.endpoint
class TestContracts:
    @addresses
    def test_address_answers_with_its_keys(
        self, target: Target, service: str, path: str, shape: dict[str, Any], measured: Measured
    ) -> None:
        answer = target.get(path)
        measured(answer.status_code, "status", f"200, with {', '.join(shape)}", service)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/json")
        assert_shape(answer.json(), shape, exactly="limit" not in path)

    @lists
    def test_every_row_has_its_fields(self, target: Target, name: str) -> None:
        rows = rows_of(target, name, limit=50)
        assert rows
        for row in rows:
            assert_shape(row, ROWS[name])

    @lists
    def test_count_is_the_number_of_rows(self, target: Target, name: str) -> None:
        page = page_of(target, name, limit=3)
        assert page["count"] == len(page[name]) == 3

    @lists
    def test_no_row_comes_twice(self, target: Target, name: str) -> None:
        keys = Counter(keys_of(name, rows_of(target, name, limit=200)))
        assert max(keys.values()) == 1

    @pytest.mark.parametrize(
        ("name", "field"),
        [("missions", "created_at"), ("evaluations", "timestamp"), ("traces", "started_at")],
    )
    def test_times_have_a_zone(self, target: Target, name: str, field: str) -> None:
        times = [datetime.fromisoformat(row[field]) for row in rows_of(target, name, limit=20)]
        assert all(each.tzinfo for each in times)

    @pytest.mark.parametrize(("name", "field"), [("missions", "created_at"), ("evaluations", "id")])
    def test_the_newest_come_first(self, target: Target, name: str, field: str) -> None:
        found = [row[field] for row in rows_of(target, name, limit=100)]
        assert found == sorted(found, reverse=True)

    @pytest.mark.parametrize(
        ("name", "path"),
        [
            ("agents", "/api/v1/agents"),
            ("missions", "/api/v1/missions"),
            ("evaluations", "/api/v1/evaluations"),
            ("traces", "/api/v1/traces"),
        ],
    )
    def test_a_row_is_the_same_alone(self, target: Target, name: str, path: str) -> None:
        row = rows_of(target, name, limit=3)[-1]
        answer = target.get(f"{path}/{row[KEYS[name]]}")
        assert answer.status_code == 200, answer.text
        assert answer.json() == row


@pytest.mark.canary
@pytest.mark.endpoint
class TestMeaning:
    @pytest.mark.parametrize("status", STATUSES)
    def test_missions_of_a_status_have_it(self, target: Target, status: str) -> None:
        answer = target.get(f"/api/v1/missions?status={status}&limit=20")
        rows = answer.json()["missions"]
        assert {row["status"] for row in rows} == {status}

    def test_active_missions_come_without_a_status(self, target: Target) -> None:
        rows = target.get("/api/v1/missions?limit=5").json()["missions"]
        assert {row["status"] for row in rows} == {"active"}

    def test_missions_belong_to_known_agents(self, target: Target) -> None:
        assert {row["agent"] for row in rows_of(target, "missions")} <= set(AGENT_TYPES)

    def test_scores_are_shares(self, target: Target) -> None:
        scores = [row["score"] for row in rows_of(target, "evaluations", limit=200)]
        assert all(0 <= score <= 1 for score in scores)

    def test_evaluations_of_a_mission_are_its_own(self, target: Target) -> None:
        rows = target.get("/api/v1/evaluations?mission=7").json()["evaluations"]
        assert {row["mission_id"] for row in rows} == {7}

    def test_an_evaluation_belongs_to_a_mission(self, target: Target) -> None:
        row = rows_of(target, "evaluations", limit=1)[0]
        mission = target.get(f"/api/v1/missions/{row['mission_id']}")
        assert mission.json()["id"] == row["mission_id"]

    def test_trace_ids_are_ids(self, target: Target) -> None:
        rows = rows_of(target, "traces", limit=50)
        assert all(TRACE_ID.fullmatch(row["trace_id"]) for row in rows)

    def test_operations_have_a_part_and_an_action(self, target: Target) -> None:
        rows = rows_of(target, "traces", limit=50)
        assert all(len(row["operation"].split(".")) == 2 for row in rows)

    @pytest.mark.parametrize("kind", AGENT_TYPES)
    def test_agents_of_a_type_have_it(self, target: Target, kind: str) -> None:
        rows = rows_of(target, "agents", type=kind)
        assert {row["type"] for row in rows} == {kind}

    @pytest.mark.parametrize("status", ["running", "idle"])
    def test_agents_of_a_status_have_it(self, target: Target, status: str) -> None:
        rows = rows_of(target, "agents", status=status)
        assert {row["status"] for row in rows} == {status}

    def test_type_and_status_narrow_together(self, target: Target) -> None:
        page = page_of(target, "agents", type="ppo", status="idle")
        assert page == {"agents": [], "count": 0}

    def test_the_product_names_its_version(self, target: Target) -> None:
        assert target.get("/").json() == {"product": "T.A.R.S.", "version": VERSION}

    def test_the_hosts_answer_alike(self, target: Target) -> None:
        paths = "/api/v1/agents"
        api, web = target.get(paths, "api").json(), target.get(paths, "web").json()
        assert api == web
        assert "agents" in api
