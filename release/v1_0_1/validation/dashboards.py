"""Are the dashboards themselves there, and do they show what the API says?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from validation.asking import AGENT_TYPES, DASHBOARDS, STATUSES

if TYPE_CHECKING:
    from conftest import Target

ROW = re.compile(r"<tr><td>([^<]+)</td><td>([^<]+)</td></tr>")
dashboards = pytest.mark.parametrize("dashboard", DASHBOARDS)


def panels(target: Target, dashboard: str) -> dict[str, float]:
    """Value by panel."""
    answer = target.get(f"/grafana/d/{dashboard}", "web")
    assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
    return {title: float(value) for title, value in ROW.findall(answer.text)}


@pytest.mark.canary
@pytest.mark.dashboards
class TestDashboards:
    @dashboards
    def test_dashboard_is_there(self, target: Target, dashboard: str) -> None:
        """The dashboard itself: a redirect to a login page is none."""
        answer = target.get(f"/grafana/d/{dashboard}", "web")
        assert answer.status_code == 200
        assert dashboard in answer.text

    @dashboards
    def test_dashboard_is_a_page(self, target: Target, dashboard: str) -> None:
        answer = target.get(f"/grafana/d/{dashboard}", "web")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.text.rstrip().endswith("</html>")

    @dashboards
    def test_dashboard_runs_no_script(self, target: Target, dashboard: str) -> None:
        answer = target.get(f"/grafana/d/{dashboard}", "web")
        assert answer.status_code == 200
        assert "<script" not in answer.text.lower()

    @dashboards
    def test_dashboard_has_panels_with_values(self, target: Target, dashboard: str) -> None:
        assert len(panels(target, dashboard)) == 4

    def test_the_overview_has_every_status(self, target: Target) -> None:
        assert set(panels(target, "tars-overview")) == {f"Missions: {each}" for each in STATUSES}

    def test_the_agents_have_their_panels(self, target: Target) -> None:
        assert set(panels(target, "tars-agents")) == {f"Agent: {each}" for each in AGENT_TYPES}

    def test_the_evaluations_are_mean_scores(self, target: Target) -> None:
        found = panels(target, "tars-evaluation")
        assert set(found) == {f"Mean score of {each}" for each in AGENT_TYPES}
        assert all(0 < score < 1 for score in found.values())

    def test_every_mission_is_in_both_dashboards(self, target: Target) -> None:
        totals = {sum(panels(target, each).values()) for each in ("tars-overview", "tars-agents")}
        assert len(totals) == 1

    def test_the_overview_counts_what_the_api_lists(self, target: Target) -> None:
        """By the last page of the active missions."""
        shown = panels(target, "tars-overview")["Missions: active"]
        offset = int(shown) - 1
        rows = target.get(f"/api/v1/missions?status=active&offset={offset}&limit=5").json()
        assert rows["count"] == 1

    @pytest.mark.parametrize("path", ["/grafana/api/health"])
    def test_monitoring_answers(self, target: Target, path: str) -> None:
        answer = target.get(path, "web")
        assert answer.status_code == 200
        assert "ok" in answer.text


@pytest.mark.canary
@pytest.mark.health
class TestMonitoring:
    def test_prometheus_is_healthy(self, target: Target) -> None:
        answer = target.get("/prometheus/-/healthy", "web")
        assert answer.status_code == 200
        assert "Healthy" in answer.text
