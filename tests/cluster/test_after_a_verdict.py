"""What follows a stage's verdict on a real cluster: a fix after a rollback, and a watched wait."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tars_day import Day

from tarsrelease.model.outcome import ExitCode
from tarsrelease.rehearsal.commands import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.full]

CANARY = "deployment=canary,service"


@pytest.fixture
def day(cluster: Cluster, tmp_path: Path) -> Iterator[Day]:
    day = Day(cluster, tmp_path)
    day.install()
    with day.load(300.0):
        yield day


def test_a_fix_deployed_right_after_its_rolled_back_predecessor_passes(day: Day) -> None:
    """Same version, same labels: what the predecessor did is in the metrics, and is not counted."""
    day.tarsrelease("canary", "deploy")
    day.fault('{"error_share": 1.0}', CANARY)
    taken = day.tarsrelease(
        "canary", "gate", "--stage", "10", "--skip-stages", "a test", code=ExitCode.ROLLBACK
    )
    assert {c["id"] for c in taken["checks"] if c["status"] == "fail"} >= {"canary.error_rate"}
    day.tarsrelease("rollback")
    day.forget_clients()

    day.tarsrelease("canary", "deploy")
    for weight in ("10", "25"):
        passed = day.tarsrelease("canary", "gate", "--stage", weight, "--skip-stages", "a test")
        assert passed["verdict"] == "proceed"
        counted = [c for c in passed["checks"] if c["id"] == "canary.error_rate"]
        assert len(counted) == 3
        assert {check["observed"]["value"] for check in counted} == {0.0}
        assert {check["status"] for check in counted} == {"pass"}
    assert day.canary_weights() == [25, 25, 25]
    day.assert_no_client_noticed()


@contextmanager
def watched(day: Day, *flags: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """`canary gate --wait` beside what the block does; call what is given for its Outcome."""
    argv = day.command("canary", "gate", "--wait", *flags, "--format", "json")
    with subprocess.Popen(
        day.cluster.enter_argv(argv),
        env=day.cluster.env | {"TARSRELEASE_RUN": "observer"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:

        def outcome() -> dict[str, Any]:
            printed, said = process.communicate(timeout=200)
            assert printed.strip(), said
            found: dict[str, Any] = json.loads(printed)
            assert found["exit_code"] == process.returncode
            return found

        try:
            assert process.stderr is not None
            for line in process.stderr:
                if "evaluating while the release waits" in line:
                    break
            yield outcome
        finally:
            process.kill()


def test_a_wait_ends_when_the_next_stage_is_entered_and_takes_traffic_off_on_proof(
    day: Day,
) -> None:
    day.tarsrelease("canary", "deploy")
    day.tarsrelease("canary", "gate", "--stage", "10", "--skip-stages", "a test")
    with watched(day, "--stage", "10") as ended:
        day.tarsrelease(
            "canary", "gate", "--stage", "25", "--skip-stages", "a test"
        )  # the lock is free for it
        outcome = ended()
        assert outcome["exit_code"] == ExitCode.DONE, outcome["summary"]
        assert outcome["details"]["over"] == "went on"
    assert day.canary_weights() == [25, 25, 25]

    with watched(day, "--stage", "25") as ended:
        began = time.monotonic()
        day.fault('{"error_share": 1.0}', CANARY)
        outcome = ended()
        assert outcome["exit_code"] == ExitCode.ROLLBACK, outcome["summary"]
        assert time.monotonic() - began < 60
    assert day.canary_weights() == [0, 0, 0]
    # The approval that comes too late finds the release rolled back, and rollback completes it.
    day.tarsrelease("canary", "gate", "--stage", "50", code=ExitCode.NO)
    day.tarsrelease("rollback")
    day.assert_nothing_of_the_canary_is_left()


def test_a_wait_that_is_too_long_takes_the_traffic_off_and_the_day_can_go_on(day: Day) -> None:
    day.tarsrelease("canary", "deploy")
    day.tarsrelease("canary", "gate", "--stage", "10", "--skip-stages", "a test")
    held = day.tarsrelease(
        *("canary", "gate", "--wait", "--stage", "10", "--for", "5s"), code=ExitCode.HOLD
    )
    assert "not a rollback" in held["summary"]
    assert day.canary_weights() == [0, 0, 0]
    assert (
        day.tarsrelease("canary", "gate", "--stage", "10", "--skip-stages", "a test")["verdict"]
        == "proceed"
    )
    day.assert_no_client_noticed()
