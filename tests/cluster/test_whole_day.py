"""The whole day on the embedded cluster, good and bad, as `tarsrelease rehearse` plays it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tarsrelease.model.outcome import ExitCode
from tarsrelease.rehearsal import world
from tarsrelease.rehearsal.commands import Cluster
from tarsrelease.rehearsal.paths import locked

pytestmark = pytest.mark.slow

STAGE = 20.0
"""Seconds of a stage in environments/rehearsal.yaml."""
REQUESTS = 100.0
"""A second and service."""


def rehearse(folder: Path, *arguments: str) -> dict[str, Any]:
    """Plays a day on a cluster of its own; the Outcome, with the process's exit code checked."""
    name = f"day-{os.getpid()}"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tarsrelease", "rehearse", "--format", "json"),
            *("--name", name, "--evidence", str(folder / "evidence"), *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.stdout.strip(), done.stderr[-4000:]
    outcome: dict[str, Any] = json.loads(done.stdout)
    assert outcome["exit_code"] == done.returncode, done.stderr[-4000:]
    return outcome


def story(outcome: dict[str, Any]) -> str:
    """What an assertion shows when it fails."""
    return json.dumps(
        {key: outcome[key] for key in ("summary", "verdict", "error", "details", "checks")},
        indent=1,
        default=str,
    )[:6000]


def verdicts(outcome: dict[str, Any]) -> dict[str, str]:
    """By the canary's stages, in their order, without the migrations before them."""
    stages = outcome["details"]["stages"]
    return {
        stage["name"]: stage["verdict"] for stage in stages if stage["name"].startswith("canary-")
    }


def clients(outcome: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = outcome["details"]["clients"]
    return found


def test_a_good_release_goes_through_all_stages_and_no_client_notices(tmp_path: Path) -> None:
    outcome = rehearse(tmp_path)
    assert outcome["verdict"] == "proceed", story(outcome)
    assert list(verdicts(outcome)) == [f"canary-{weight}" for weight in (1, 10, 25, 50, 100)]
    assert {stage["verdict"] for stage in outcome["details"]["stages"]} == {"proceed"}
    assert outcome["details"]["phases"]["validate"] > 0
    seen = clients(outcome)
    assert seen["sent"] > 10_000
    assert seen["lost"] == 0
    assert not [status for status in seen["by_status"] if not status.startswith("2")]
    # Both versions answered: the load really was moved.
    assert set(seen["by_version"]) == {"1.0.0", "1.0.1"}
    whole = subprocess.run(
        [sys.executable, "-m", "tarsrelease", "report", "evidence", str(tmp_path / "evidence")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert whole.returncode == ExitCode.DONE, whole.stdout + whole.stderr


def test_a_canary_that_only_fails_is_taken_back_within_seconds(tmp_path: Path) -> None:
    outcome = rehearse(tmp_path, "--fault", "errors", "--stages", "10,100")
    assert outcome["exit_code"] == ExitCode.ROLLBACK, story(outcome)
    failed = {check["id"] for check in outcome["checks"] if check["status"] == "fail"}
    assert failed & {"canary.error_rate", "canary.availability"}, story(outcome)
    [gate] = [
        line["outcome"]["details"]
        for line in map(
            json.loads, (tmp_path / "evidence" / "evidence.jsonl").read_text().splitlines()
        )
        if line["outcome"]["verdict"] == "rollback" and "gate" in line["outcome"]["step"]
    ]
    assert gate["seconds_from_verdict_to_write"] < gate["seconds_from_shift_to_write"]
    # What is promised is measured by benchmarks/rollback_speed.py; this only catches a loss of
    # the whole mechanism, such as waiting for the end of the stage.
    assert gate["seconds_from_shift_to_write"] < STAGE, story(outcome)
    proof = {check["status"] for check in outcome["checks"] if check["id"].startswith("rollback.")}
    assert proof == {"pass"}, story(outcome)


@pytest.mark.full
@pytest.mark.parametrize(
    ("fault", "checks"),
    [
        ("latency", {"canary.latency_p95"}),
        ("crashloop", {"canary.restarts", "canary.ready"}),
        ("memory", {"canary.memory"}),
    ],
)
def test_each_fault_is_found_by_its_check_and_taken_back(
    tmp_path: Path, fault: str, checks: set[str]
) -> None:
    outcome = rehearse(tmp_path, "--fault", fault, "--stages", "10,100")
    assert outcome["exit_code"] == ExitCode.ROLLBACK, story(outcome)
    failed = {found["id"] for found in outcome["checks"] if found["status"] == "fail"}
    assert failed & checks, story(outcome)


@pytest.mark.full
def test_after_an_incident_of_stable_a_failing_canary_is_protected_in_one_evaluation(
    tmp_path: Path,
) -> None:
    faults = ("--fault", "stable-pod-ill", "--fault", "errors")
    outcome = rehearse(tmp_path, *faults, "--stages", "10,100")
    assert outcome["exit_code"] == ExitCode.ROLLBACK, story(outcome)
    found = [check for check in outcome["checks"] if check["id"] == "canary.protection"]
    assert [check["status"] for check in found] == ["fail"], story(outcome)
    assert "for the second time" in found[0]["reason"]
    [gate] = [
        line["outcome"]["details"]
        for line in map(
            json.loads, (tmp_path / "evidence" / "evidence.jsonl").read_text().splitlines()
        )
        if line["outcome"]["verdict"] == "rollback" and "gate" in line["outcome"]["step"]
    ]
    # The first reading after the fault began; a scrape takes five seconds.
    assert gate["seconds_from_shift_to_protection"] < STAGE, story(outcome)


@pytest.mark.full
def test_errors_that_begin_late_do_not_pass_the_stage(tmp_path: Path) -> None:
    outcome = rehearse(
        tmp_path, "--fault", "late-errors", "--stages", "10,100", "--stage-duration", "60s"
    )
    assert outcome["exit_code"] == ExitCode.ROLLBACK, story(outcome)
    assert verdicts(outcome) == {"canary-10": "rollback"}


@pytest.mark.full
def test_a_defect_that_only_the_tests_of_the_release_find_is_rolled_back(tmp_path: Path) -> None:
    outcome = rehearse(tmp_path, "--fault", "broken-paging", "--stages", "10,100")
    assert outcome["exit_code"] == ExitCode.ROLLBACK, story(outcome)
    assert verdicts(outcome) == {"canary-10": "proceed", "canary-100": "proceed"}
    tests = [check for check in outcome["checks"] if check["id"] == "validation.test"]
    assert len(tests) > 200
    assert any(check["status"] == "fail" for check in tests)
    assert clients(outcome)["lost"] == 0


@pytest.mark.full
def test_a_wrong_selector_is_found_before_anything_is_changed(tmp_path: Path) -> None:
    outcome = rehearse(tmp_path, "--fault", "wrong-selector", "--stages", "10,100")
    assert outcome["exit_code"] == ExitCode.NO, story(outcome)
    failed = [check for check in outcome["checks"] if check["id"] == "preflight.selectors"]
    assert {check["status"] for check in failed} == {"fail"}
    assert all("label code" in check["reason"] for check in failed)
    assert clients(outcome)["by_version"].keys() == {"1.0.0"}


@pytest.mark.full
def test_pods_that_are_scraped_twice_are_counted_once(tmp_path: Path) -> None:
    outcome = rehearse(tmp_path, "--fault", "duplicate-scrape", "--stages", "10,50,100")
    assert outcome["verdict"] == "proceed", story(outcome)
    counted = [c for c in outcome["checks"] if c["id"] == "canary.error_rate" and c["samples"]]
    # Stages of 20 s at 100 requests a second and service, in which a request counts once.
    assert clients(outcome)["sent"] > max(check["samples"] for check in counted)
    for weight, checks in error_rates(tmp_path).items():
        arrived = REQUESTS * weight / 100 * sum(check["window"] for check in checks)
        # Chance decides which side a request goes to. A stage lasts four scrapes, of which one is
        # not known yet: counted twice, they would be 1.4 times as many as arrived.
        assert sum(check["samples"] for check in checks) <= arrived + 5 * arrived**0.5, weight


def error_rates(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """By stage, what became of canary.error_rate in its three services, from the evidence."""
    lines = (folder / "evidence" / "evidence.jsonl").read_text().splitlines()
    outcomes = [json.loads(line)["outcome"] for line in lines]
    found = {
        outcome["details"]["weight"]: [
            check
            for check in outcome["checks"]
            if check["id"] == "canary.error_rate" and check["samples"]
        ]
        for outcome in outcomes
        if outcome["step"] == "gate"
    }
    assert {weight: len(checks) for weight, checks in found.items()} == {10: 3, 50: 3, 100: 3}
    return found


@pytest.mark.full
def test_too_little_traffic_holds_and_never_proceeds(tmp_path: Path) -> None:
    outcome = rehearse(tmp_path, "--fault", "low-traffic", "--stages", "10,100")
    assert outcome["exit_code"] == ExitCode.HOLD, story(outcome)
    assert verdicts(outcome) == {"canary-10": "hold"}


@pytest.mark.full
@pytest.mark.parametrize("fault", ["metrics-outage", "metrics-hang"])
def test_an_outage_of_the_metrics_ends_no_release(tmp_path: Path, fault: str) -> None:
    outcome = rehearse(tmp_path, "--fault", fault, "--stages", "10,50,100")
    assert outcome["verdict"] == "proceed", story(outcome)
    assert clients(outcome)["lost"] == 0


def test_a_second_day_on_the_same_cluster_is_refused_before_it_changes_anything(
    cluster: Cluster,
) -> None:
    folder = cluster.folder.data / "day"
    folder.mkdir(mode=0o700, exist_ok=True)
    releases = ["helm", "list", "--all-namespaces", "--output", "json"]
    before = cluster.run(releases).stdout
    with locked(folder / "lock"):
        done = subprocess.run(
            [sys.executable, "-m", "tarsrelease", "rehearse", "--name", cluster.folder.name],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == ExitCode.LOCKED, done.stderr
    assert "another rehearsal is running" in done.stderr + done.stdout
    assert cluster.run(releases).stdout == before


@pytest.mark.full
def test_a_day_is_played_on_a_cluster_that_is_already_there(
    cluster: Cluster, tmp_path: Path
) -> None:
    done = cluster.run(
        [
            *(sys.executable, "-m", "tarsrelease", "rehearse", "--format", "json"),
            *("--context", world.CONTEXT, "--stages", "10,100"),
            *("--evidence", str(tmp_path / "evidence")),
        ],
        timeout=540,
    )
    assert done.stdout.strip(), done.stderr[-4000:]
    outcome = json.loads(done.stdout)
    assert outcome["verdict"] == "proceed", story(outcome)
    assert clients(outcome)["lost"] == 0
    assert list(verdicts(outcome)) == ["canary-10", "canary-100"]
