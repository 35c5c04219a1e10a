"""Whatever breaks in the middle of a release: the right end, and a rollback within its budget.

Each test prints a row for the table in docs/rehearsal.md (pytest -s).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from in_background import Running
from tars_day import Day
from troubles import OUTAGE, TROUBLES, Trouble, later, shorter, wrong_clock

from tarsrelease.model.outcome import ExitCode
from tarsrelease.rehearsal.commands import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(900)]

BUDGET = 300.0
GATE = ("canary", "gate", "--stage", "50", "--skip-stages", "a test")
LAST = ("canary", "gate", "--stage", "100", "--skip-stages", "a test")


@pytest.fixture
def day(cluster: Cluster, tmp_path: Path) -> Iterator[Day]:
    day = Day(cluster, tmp_path)
    shorter(day)
    day.install()
    day.kubectl("delete", "events", "--all")
    with day.load(400.0):
        day.wait_until_scraped()
        yield day


def events(day: Day) -> str:
    """What the cluster says of itself, newest last."""
    return day.inside(
        "bash", "-c", "kubectl get events -A --sort-by=.metadata.creationTimestamp | tail -60"
    )


def node_taken_for_dead(day: Day) -> bool:
    """Whether the node controller took all pods out of their Services, whatever a release does.

    It may after an outage of the API server or etcd that is longer than its grace period, 50 s.
    """
    reason = ("--field-selector", "reason=NodeNotReady", "--output", "name")
    return bool(day.kubectl("get", "events", *reason))


def row(name: str, gate: str, outcome: dict[str, Any], seconds: float) -> None:
    phases = outcome["details"].get("phases", {})
    parts = ", ".join(f"{phase} {took:.1f}" for phase, took in phases.items())
    print(f"\nROW | {name} | {gate} | {seconds:.0f} s | {parts} |", file=sys.stderr)


def rolled_back(day: Day, name: str, gate: str, *, away: float = 0.0) -> None:
    """A rollback within its budget, counted from when the API server answers."""
    began = time.monotonic()
    with Running(day, "rollback") as running:
        outcome = running.outcome(ExitCode.DONE, ExitCode.STOPPED)
    took = time.monotonic() - began - away
    row(name, gate, outcome, took)
    assert took < BUDGET
    assert day.canary_weights() in ([], [0, 0, 0])
    if outcome["exit_code"] == ExitCode.STOPPED:
        assert "not proven" in outcome["summary"], outcome["summary"]


@pytest.mark.parametrize("name", TROUBLES)
def test_a_stage_and_a_rollback_in_trouble(day: Day, name: str) -> None:
    trouble = TROUBLES[name]
    day.tarsrelease("canary", "deploy")
    with broken(day, trouble) as begin, Running(day, *GATE) as gate:
        gate.wait_for("traffic: 50 %")
        begin()
        outcome = gate.outcome(*trouble.codes)
        said = gate.said + str(outcome)
        missing = [text for text in trouble.says if text not in said]
        assert not missing, said
        failed = sum(each["failed"] + each["lost"] for each in day.clients()["by_path"].values())
        lost = failed and not trouble.loses and not node_taken_for_dead(day)
        assert not lost, f"{failed} requests failed: {said}\n{events(day)}"
        if not trouble.lasts:
            rolled_back(day, name, f"{outcome['summary']} ({failed} requests failed)")
    if trouble.lasts:
        with broken(day, trouble) as begin:
            begin()
            away = trouble.seconds if trouble.away else 0.0
            rolled_back(day, name, f"{outcome['summary']} ({failed} requests failed)", away=away)
    day.tarsrelease("rollback")
    assert day.versions() == {"1.0.0"}
    day.assert_nothing_of_the_canary_is_left()
    if not trouble.loses and not node_taken_for_dead(day):
        day.assert_no_client_noticed()


@contextmanager
def broken(day: Day, trouble: Trouble) -> Iterator[Callable[[], None]]:
    """Begin the trouble with what is yielded; it ends after its time if it lasts, or else with
    the block."""
    mended: list[Thread] = []

    def begin() -> None:
        trouble.begin(day)
        if trouble.lasts:
            mended.append(later(trouble.seconds, lambda: trouble.end(day)))

    try:
        yield begin
    finally:
        for each in mended:
            each.join()
        if not trouble.lasts:
            trouble.end(day)


@pytest.mark.parametrize(
    ("step", "at"),
    [
        (("canary", "deploy"), "installing"),
        (("canary", "gate", "--wait", "--stage", "100", "--for", "90s"), "evaluating while"),
        (("promote",), "upgrading tars"),
        (("promote",), "traffic: 50 %"),
    ],
)
def test_the_api_server_is_stopped_in_each_phase(day: Day, step: tuple[str, ...], at: str) -> None:
    if step != ("canary", "deploy"):
        day.tarsrelease("canary", "deploy")
        day.tarsrelease(*LAST)
    with Running(day, *step) as running:
        running.wait_for(at)
        day.cluster.control({"do": "kill", "part": "kube-apiserver"})
        time.sleep(OUTAGE)
        day.cluster.control({"do": "start", "part": "kube-apiserver"})
        outcome = running.outcome(ExitCode.DONE, ExitCode.HOLD, ExitCode.STOPPED)
    row(f"API server stopped for 60 s, {' '.join(step[:2])}, {at}", outcome["summary"], outcome, 0)
    if node_taken_for_dead(day):
        day.forget_clients()
    else:
        day.assert_no_client_noticed()
    if step == ("promote",):
        assert day.tarsrelease("promote")["verdict"] == "proceed"
        assert day.versions() == {"1.0.1"}
    elif step == ("canary", "deploy"):
        assert day.tarsrelease(*step)["verdict"] == "proceed"
    rolled_back(day, f"after {' '.join(step[:2])}", "")
    assert day.versions() == {"1.0.0"}
    day.assert_nothing_of_the_canary_is_left()
    day.assert_no_client_noticed()


@pytest.mark.parametrize("seconds", [600, -600])
def test_the_runners_clock_is_wrong_by_ten_minutes(day: Day, seconds: int, tmp_path: Path) -> None:
    wrong = wrong_clock(tmp_path, seconds)
    for step in (("canary", "deploy"), LAST, ("promote",)):
        with Running(day, argv=[*wrong, *day.command(*step)]) as running:
            running.outcome(ExitCode.DONE)
    day.assert_nothing_of_the_canary_is_left()
    began = time.monotonic()
    with Running(day, argv=[*wrong, *day.command("rollback")]) as running:
        outcome = running.outcome(ExitCode.DONE)
    row(f"clock {seconds:+d} s", "promoted", outcome, time.monotonic() - began)
    assert day.versions() == {"1.0.0"}
    day.assert_no_client_noticed()
    # A machine whose clock is wrong takes no lock that another holds.
    day.tarsrelease("canary", "deploy")
    with Running(day, *GATE) as holder:
        holder.wait_for("traffic: 50 %")
        with Running(day, argv=[*wrong, *day.command(*LAST)]) as other:
            refused = other.outcome(ExitCode.LOCKED)
        assert "holds it since" in refused["error"]["found"]
        holder.outcome(ExitCode.DONE)


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_the_evidence_cannot_be_written(day: Day, how: str) -> None:
    day.tarsrelease("canary", "deploy")
    evidence = day.folder / "evidence"
    mount = "size=4k" if how == "full" else "ro"
    fill = f"head -c 1M /dev/zero > {evidence}/filler 2>/dev/null" if how == "full" else "true"
    script = f'mount -t tmpfs -o {mount} none {evidence}; {fill}; exec "$@"'
    inside = ["unshare", "--mount", "bash", "-c", script, "bash"]
    with Running(day, argv=[*inside, *day.command(*GATE)]) as gate:
        # A full disk is noticed when the outcome is written, after the stage.
        refused = gate.outcome(ExitCode.DONE if how == "full" else ExitCode.USAGE)
    assert day.canary_weights() == [50 if how == "full" else 0] * 3, refused["summary"]
    assert how != "full" or "NOT RECORDED" in gate.said
    day.tarsrelease(*GATE)
    began = time.monotonic()
    with Running(day, argv=[*inside, *day.command("rollback")]) as running:
        outcome = running.outcome(ExitCode.DONE)
    row(f"evidence folder {how}", refused["summary"], outcome, time.monotonic() - began)
    assert "evidence" in running.said + str(outcome["details"])
    assert day.versions() == {"1.0.0"}
    day.assert_nothing_of_the_canary_is_left()
    day.assert_no_client_noticed()
