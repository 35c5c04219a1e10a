"""A release in waves to three real clusters, good and in trouble."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from in_background import Running
from tars_day import NAMESPACE
from waves_day import WavesDay, rows

from tarsrelease.model.outcome import ExitCode
from tarsrelease.rehearsal import commands
from tarsrelease.rehearsal.clusters import Fleet, clusters

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(3000)]

RUN = ("run", "--yes", "--stages", "25,100", "--leave-out", "validate=a test")
CANARY = "deployment=canary,service"
OLD, NEW = {"1.0.0"}, {"1.0.1"}
BUDGET = 300.0


def say(text: str) -> None:
    """Progress, shown by pytest -s."""
    print(f"cluster: {text}", file=sys.stderr, flush=True)


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Three running clusters, without T.A.R.S."""
    name = f"test-waves-{uuid.uuid4().hex[:8]}"
    try:
        with clusters(name, 3, say) as running:
            yield running
    finally:
        for number in range(1, 4):
            commands.down(f"{name}-{number}", say, keep_logs=False)


@pytest.fixture
def waves(fleet: Fleet, tmp_path: Path) -> Iterator[WavesDay]:
    """1.0.0 serving at all three."""
    day = WavesDay(fleet, tmp_path)
    day.install()
    with day.load():
        yield day


def released(waves: WavesDay, *codes: int) -> dict[str, Any]:
    with Running(waves, *RUN) as release:
        return release.outcome(*codes)


def changes(waves: WavesDay, target: str) -> list[dict[str, Any]]:
    """What the journal of a target says was done there."""
    return [entry for entry in waves.journal(target) if entry["action"] != "run"]


def with_a_bad_region_3(waves: WavesDay) -> tuple[dict[str, Any], float]:
    """A release whose canary at region-3 fails every request: its outcome, and the seconds from
    then until that canary has no traffic."""
    with Running(waves, *RUN) as release:
        waves.until_weight("region-3", 25, release)
        waves.regions["region-3"].fault('{"error_share": 1.0}', CANARY)
        began = time.monotonic()
        waves.until_weight("region-3", 0, release)
        took = time.monotonic() - began
        return release.outcome(ExitCode.ROLLBACK), took


def assert_clients_saw_nothing(waves: WavesDay, *targets: str) -> None:
    for target in targets or waves.regions:
        waves.regions[target].assert_no_client_noticed()


def test_a_release_in_trouble_ends_right_when_it_is_run_again(waves: WavesDay) -> None:
    # A bad region in wave 2: wave 1 stays.
    outcome, took = with_a_bad_region_3(waves)
    print(f"\nno traffic on the bad canary after {took:.1f} s")
    assert took < 20
    assert waves.versions_everywhere() == {"region-1": NEW, "region-2": OLD, "region-3": OLD}
    for region in waves.regions.values():
        region.assert_nothing_of_the_canary_is_left()
    assert rows(outcome)["region-3"]["verdict"] == "rollback"
    assert "region-3" in outcome["summary"]
    assert_clients_saw_nothing(waves, "region-1", "region-2")

    # A cluster whose API server is down holds its wave, and nothing is rolled back.
    first = changes(waves, "region-1")
    away = waves.regions["region-3"].cluster
    away.control({"do": "kill", "part": "kube-apiserver"})
    try:
        outcome = released(waves, ExitCode.STOPPED)
        status = waves.tarsrelease("status", code=ExitCode.UNREACHABLE)
    finally:
        away.control({"do": "start", "part": "kube-apiserver"})
    assert {name: row["exit_code"] for name, row in rows(outcome).items()} == {
        "region-1": ExitCode.DONE,
        "region-2": ExitCode.DONE,
        "region-3": ExitCode.UNREACHABLE,
    }
    assert "region-3" in outcome["error"]["doing"]
    assert rows(status)["region-3"]["exit_code"] == ExitCode.UNREACHABLE
    assert waves.versions_everywhere() == {"region-1": NEW, "region-2": NEW, "region-3": OLD}

    # The cluster is back, and the runner is killed in the middle of wave 2.
    second = changes(waves, "region-2")
    weight = (
        f"until kubectl --context region-3 --namespace {NAMESPACE} get httproute "
        "tars-dashboard-api --output json | grep -q '\"weight\": 25'; do sleep 0.2; done"
    )
    until = f"export KUBECONFIG={waves.kubeconfig}; {weight}"
    waves.killed("wave 2 of 2", *RUN, until=until)
    weights = {name: row.get("weight") for name, row in rows(waves.tarsrelease("status")).items()}
    assert weights == {"region-1": 0, "region-2": 0, "region-3": 25}
    outcome = released(waves, ExitCode.DONE)
    assert waves.versions_everywhere() == dict.fromkeys(waves.regions, NEW)
    assert (changes(waves, "region-1"), changes(waves, "region-2")) == (first, second)
    identities = {each["identity"] for name in waves.regions for each in waves.journal(name)}
    assert len(identities) == 1
    for region in waves.regions.values():
        region.assert_nothing_of_the_canary_is_left()

    # Everything is rolled back at once, in each cluster within its own time.
    began = time.monotonic()
    with Running(waves, "rollback", "--reason", "wrong totals", "--yes") as rollback:
        outcome = rollback.outcome(ExitCode.DONE)
    took = time.monotonic() - began
    print(f"\nall rolled back in {took:.1f} s")
    assert took < BUDGET
    assert list(rows(outcome)) == list(waves.regions)
    assert waves.versions_everywhere() == dict.fromkeys(waves.regions, OLD)
    assert_clients_saw_nothing(waves, "region-1", "region-2")


def test_a_bad_region_in_wave_2_rolls_all_waves_back_if_the_policy_says_so(
    waves: WavesDay,
) -> None:
    waves.on_failure("all")
    outcome, took = with_a_bad_region_3(waves)
    print(f"\nno traffic on the bad canary after {took:.1f} s")
    assert took < 20
    assert waves.versions_everywhere() == dict.fromkeys(waves.regions, OLD)
    assert [row["verdict"] for row in rows(outcome).values()] == ["rollback"] * 3
    assert_clients_saw_nothing(waves, "region-1", "region-2")


def rehearse(folder: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """The outcome of a rehearsal on three clusters, and the name of its clusters."""
    name = f"test-waves-{uuid.uuid4().hex[:8]}"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tarsrelease", "rehearse", "--format", "json"),
            *("--targets", "3", "--waves", "1,2", "--stages", "25,100", "--rate", "150"),
            *("--name", name, "--evidence", str(folder / "evidence"), *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.stdout, done.stderr[-3000:]
    outcome: dict[str, Any] = json.loads(done.stdout)
    assert outcome["exit_code"] == done.returncode
    return outcome, name


def test_a_rehearsal_of_a_good_release(tmp_path: Path) -> None:
    outcome, name = rehearse(tmp_path)
    assert outcome["verdict"] == "proceed", outcome
    assert [row["verdict"] for row in rows(outcome).values()] == ["proceed"] * 3
    clients = outcome["details"]["clients"]
    assert list(clients["by_target"]) == ["region-1", "region-2", "region-3"]
    assert (clients["lost"], set(clients["by_status"])) == (0, {"200"})
    assert not [each for each in commands.running() if each.startswith(name)]


def test_ctrl_c_moves_the_traffic_to_stable_and_ends_the_clusters(tmp_path: Path) -> None:
    name = f"test-waves-{uuid.uuid4().hex[:8]}"
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "tarsrelease", "rehearse", "--format", "json"),
            *("--targets", "2", "--waves", "2", "--stages", "25,100", "--rate", "150"),
            *("--name", name, "--evidence", str(tmp_path / "evidence")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "canary-25: 25 %" in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        said += process.stderr.readlines()
        outcome = json.loads(process.stdout.read())
        code = process.wait(60)
    assert code == outcome["exit_code"] == ExitCode.INTERRUPTED, said[-20:]
    assert [row["exit_code"] for row in rows(outcome).values()] == [ExitCode.INTERRUPTED] * 2
    assert not [each for each in commands.running() if each.startswith(name)]
