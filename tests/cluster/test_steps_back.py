"""Going back on a real cluster: from the middle of a promotion, killed, and with parts away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tars_day import NAMESPACE, Day

from tarsrelease.model.outcome import ExitCode
from tarsrelease.rehearsal.commands import Cluster

pytestmark = pytest.mark.slow


@pytest.fixture
def day(cluster: Cluster, tmp_path: Path) -> Iterator[Day]:
    day = Day(cluster, tmp_path)
    day.install()
    with day.load():
        yield day


def half_promoted(day: Day) -> None:
    """The canary has everything, and a promotion was killed while Helm upgraded stable."""
    day.tarsrelease("canary", "deploy")
    day.tarsrelease("canary", "gate", "--stage", "100", "--skip-stages", "a test")
    touched = (
        f"until kubectl --namespace {NAMESPACE} get deployments --output jsonpath="
        "'{.items[?(@.metadata.labels.deployment==\"stable\")].spec.template.metadata.labels.version}'"
        " | grep -q 1.0.1; do sleep 0.05; done"
    )
    day.killed("upgrading tars", "promote", until=touched)


def test_a_rollback_in_the_middle_of_a_promotion_loses_no_request(day: Day) -> None:
    half_promoted(day)
    assert day.canary_weights() == [100, 100, 100]
    plan = day.tarsrelease("rollback", "--plan")["details"]["plan"]
    assert plan[0].startswith("all traffic to canary")
    outcome = day.tarsrelease("rollback")
    assert outcome["verdict"] == "proceed"
    assert outcome["details"]["within_budget"]
    assert outcome["details"]["version"] == "1.0.0"
    shares = [c for c in outcome["checks"] if c["id"] == "rollback.traffic_share"]
    assert [check["observed"]["value"] for check in shares] == [1.0, 1.0, 1.0]
    assert day.versions() == {"1.0.0"}
    day.assert_nothing_of_the_canary_is_left()
    day.assert_no_client_noticed()
    # It can be run again, and the release that was rolled back gets no traffic.
    assert day.tarsrelease("rollback")["verdict"] == "proceed"
    day.tarsrelease("canary", "gate", "--stage", "10", code=ExitCode.NO)


def test_the_database_goes_back_after_traffic_and_code_when_asked(day: Day) -> None:
    day.tarsrelease("migrate", "down", "--yes")  # what a test before may have left
    assert day.tarsrelease("migrate", "up")["details"]["statements"] == 4
    day.sql("UPDATE missions SET trace_id = 'kept until now' WHERE id <= 7")
    day.tarsrelease("canary", "deploy")
    plan = day.tarsrelease("rollback", "--plan", "--with-database")["details"]["plan"]
    assert [line for line in plan if "LOST FOR GOOD: 7 rows" in line and "trace_id" in line]
    assert [line for line in plan if "DROP INDEX CONCURRENTLY" in line]

    # Nobody there and no --yes: the release goes back, the database stays, and that is said.
    left = day.tarsrelease("rollback", "--with-database", code=ExitCode.STOPPED)
    assert "no approval" in left["error"]["found"]
    assert day.versions() == {"1.0.0"}
    day.assert_nothing_of_the_canary_is_left()
    assert day.sql("SELECT count(*) FROM missions WHERE trace_id IS NOT NULL") == "7"

    outcome = day.tarsrelease("rollback", "--with-database", "--yes")
    assert outcome["verdict"] == "proceed"
    assert outcome["details"]["database"]["statements"] == 4
    [lost] = outcome["details"]["database"]["lost"]
    assert lost.startswith("7 rows")
    assert {check["status"] for check in outcome["checks"]} <= {"pass", "skipped"}
    assert day.sql("SELECT count(*) FROM pg_indexes WHERE indexname ~ '^idx_'") == "0"
    day.assert_no_client_noticed()


@pytest.mark.full
@pytest.mark.parametrize(
    ("at", "delay"),
    [
        ("all to canary", 0.0),
        ("stable:", 0.0),
        ("stable:", 0.4),
        ("stable:", 1.5),
        ("all to stable", 0.0),
        ("workers:", 0.0),
        ("routes:", 0.0),
        ("removing tars-canary", 0.0),
        ("removing tars-canary", 0.4),
        ("proof:", 0.0),
    ],
)
def test_a_rollback_that_is_killed_anywhere_can_be_run_again(
    day: Day, at: str, delay: float
) -> None:
    half_promoted(day)
    day.killed(at, "rollback", delay=delay)
    day.tarsrelease("rollback")
    assert day.versions() == {"1.0.0"}
    day.assert_nothing_of_the_canary_is_left()
    day.assert_no_client_noticed()


@pytest.mark.full
@pytest.mark.parametrize(
    ("at", "delay"),
    [
        ("upgrading tars", 0.3),
        ("upgrading tars", 1.0),
        ("upgrading tars", 3.0),
        ("traffic: 50 %", 0.0),
        ("traffic: 50 %", 3.0),
        ("traffic: 0 %", 0.0),
        ("routes:", 0.0),
        ("removing tars-canary", 0.0),
        ("removing tars-canary", 0.4),
    ],
)
def test_a_promotion_that_is_killed_anywhere_can_be_run_again(
    day: Day, at: str, delay: float
) -> None:
    day.tarsrelease("canary", "deploy")
    day.tarsrelease("canary", "gate", "--stage", "100", "--skip-stages", "a test")
    day.killed(at, "promote", delay=delay)
    outcome = day.tarsrelease("promote")
    assert outcome["verdict"] == "proceed"
    assert day.versions() == {"1.0.1"}
    day.assert_nothing_of_the_canary_is_left()
    day.assert_no_client_noticed()


@pytest.mark.full
@pytest.mark.parametrize(
    ("at", "delay"),
    [("installing", 0.1), ("installing", 0.5), ("installing", 1.0), ("traffic: 0 %", 0.0)],
)
def test_a_deployment_that_is_killed_anywhere_can_be_run_again(
    day: Day, at: str, delay: float
) -> None:
    day.killed(at, "canary", "deploy", delay=delay)
    assert day.tarsrelease("canary", "deploy")["verdict"] == "proceed"
    assert day.canary_weights() == [0, 0, 0]
    day.assert_no_client_noticed()


@pytest.mark.full
def test_a_canary_that_is_killed_half_installed_is_taken_away(day: Day) -> None:
    day.killed("installing", "canary", "deploy", delay=0.5)
    day.tarsrelease("rollback")
    day.assert_nothing_of_the_canary_is_left()
    day.assert_no_client_noticed()


@pytest.mark.full
def test_without_metrics_the_traffic_goes_all_the_same_and_nothing_is_claimed(day: Day) -> None:
    day.tarsrelease("canary", "deploy")
    day.tarsrelease("canary", "gate", "--stage", "100", "--skip-stages", "a test")
    day.cluster.control({"do": "pause", "part": "prometheus"})
    try:
        outcome = day.tarsrelease("rollback", code=ExitCode.STOPPED)
    finally:
        day.cluster.control({"do": "resume", "part": "prometheus"})
    assert "not proven" in outcome["summary"]
    shares = [c for c in outcome["checks"] if c["id"] == "rollback.traffic_share"]
    assert {check["status"] for check in shares} == {"error"}
    assert all("NOT MEASURED" in check["reason"] for check in shares)
    assert day.versions() == {"1.0.0"}
    day.assert_nothing_of_the_canary_is_left()
    assert day.tarsrelease("rollback")["verdict"] == "proceed"


@pytest.mark.full
def test_a_journal_that_cannot_be_written_holds_nothing_up(day: Day) -> None:
    day.tarsrelease("canary", "deploy")
    day.tarsrelease("canary", "gate", "--stage", "100", "--skip-stages", "a test")
    day.kubectl("patch", "configmap", "tarsrelease-tars", "--patch", '{"immutable": true}')
    day.tarsrelease("rollback")
    assert day.versions() == {"1.0.0"}
    day.assert_nothing_of_the_canary_is_left()
    day.assert_no_client_noticed()


@pytest.mark.full
def test_a_stable_that_fails_after_its_upgrade_gets_no_traffic(day: Day) -> None:
    day.tarsrelease("canary", "deploy")
    day.tarsrelease("canary", "gate", "--stage", "100", "--skip-stages", "a test")
    day.killed("traffic: 50 %", "promote", delay=0.0)
    day.fault('{"error_share": 1.0}', "deployment=stable,agent_type!=ppo")
    outcome = day.tarsrelease("promote", code=ExitCode.STOPPED)
    assert "the canary serves all requests" in outcome["error"]["next"]
    assert day.canary_weights() == [100, 100, 100]
    day.tarsrelease("rollback")
    assert day.versions() == {"1.0.0"}
    day.assert_nothing_of_the_canary_is_left()
