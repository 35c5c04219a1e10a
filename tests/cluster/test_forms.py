"""Preflight and the release's own suite on a cluster: 1.0.0 has five defects, the canary none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tars_day import Day

from tarsrelease.rehearsal.commands import Cluster

pytestmark = pytest.mark.slow

DEFECTS = {
    "test_tars_1001_reconnection_is_enabled",
    "test_tars_1001_a_lost_session_is_taken_up_again",
    "test_tars_1002_dashboard_loads_within_3_s[tars-evaluation]",
    "test_tars_1003_index_is_valid[idx_traces_span_id]",
    "test_tars_1004_recent_traces_have_both_ids",
    "test_tars_1004_all_traces_are_covered",
    "test_tars_1005_ppo_memory",
}


@pytest.fixture(scope="module")
def day(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    made = Day(cluster, tmp_path_factory.mktemp("forms"))
    made.install()
    with made.load():  # a rollback is proven by who serves
        made.wait_until_scraped()  # what preflight asks for
        yield made


def failed(outcome: dict[str, object]) -> set[str]:
    checks = outcome["checks"]
    assert isinstance(checks, list)
    return {
        check["source"].partition("::")[2]
        for check in checks
        if check["id"] == "validation.test" and check["status"] != "pass"
    }


def test_the_ground_carries_the_release_and_the_suite_tells_the_versions_apart(day: Day) -> None:
    preflight = day.tarsrelease("check", "preflight", "--running", "1.0.0")
    assert preflight["verdict"] == "proceed", preflight["checks"]
    stable = day.tarsrelease("validate", "--target", "stable", "--mark", "hotfix", code=1)
    assert failed(stable) >= DEFECTS
    assert {name[:14] for name in failed(stable)} == {f"test_tars_100{n}" for n in range(1, 6)}
    day.tarsrelease("migrate", "up")
    day.tarsrelease("canary", "deploy")
    day.wait_until_scraped()
    canary = day.tarsrelease("validate", "--target", "canary")
    assert failed(canary) == set()
    assert canary["details"]["tests"] > 25
    page = Path(canary["details"]["html"]).read_text()
    assert "PROCEED" in page
    day.tarsrelease("rollback", code=0)
