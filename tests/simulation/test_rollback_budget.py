"""A rollback while the API server is away: it uses its budget, then says the truth."""

from __future__ import annotations

import pytest
from day_world import DayWorld, Unattended
from test_rollback_reason import deployed
from world import SERVICES, SimulatedLock

from tarsrelease.model.errors import LostError, StoppedError, UnreachableError
from tarsrelease.model.outcome import ExitCode
from tarsrelease.steps.rollback import rollback

BUDGET = 300.0


def away_while_the_canary_is_removed(
    day: DayWorld, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server goes away after the traffic was moved, and comes back."""

    def uninstall(release: str, *, deadline: float) -> None:
        monkeypatch.undo()
        world = day.world
        world.kubernetes_up = False
        world.at(seconds, lambda: setattr(world, "kubernetes_up", True))
        raise UnreachableError(doing="asking", found="away", expected="it", next_step="wait")

    monkeypatch.setattr(day.charts, "uninstall", uninstall)


def test_a_weight_that_somebody_gives_the_removed_canary_is_no_proof() -> None:
    day = deployed()

    def edits() -> None:
        if not any("proof: " in line for line in day.world.said):
            day.world.at(1.0, edits)
            return
        day.world.edit(SERVICES[0], 60, "kubectl-edit")

    day.world.at(1.0, edits)
    outcome = rollback(day.context(), "it is slow")
    assert outcome.exit_code is ExitCode.STOPPED
    assert "has 60 %, set by kubectl-edit" in outcome.summary
    assert rollback(day.context(), "again").exit_code is ExitCode.DONE
    assert all(day.world.weights.get(service, 0) == 0 for service in SERVICES)


def test_a_canary_that_a_promotion_removes_meanwhile_gets_no_traffic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rollback moves the traffic to the canary before it takes the lock from the promotion."""
    day = DayWorld()
    acquire, uninstall = SimulatedLock.acquire, day.charts.uninstall

    def killed(release: str, *, deadline: float) -> None:
        raise KeyboardInterrupt

    def too_late(lock: SimulatedLock, *, preempt: bool = False) -> None:
        monkeypatch.undo()
        uninstall("tars-canary", deadline=60.0)
        acquire(lock, preempt=preempt)

    monkeypatch.setattr(day.charts, "uninstall", killed)
    with pytest.raises(KeyboardInterrupt):
        day.play(Unattended())
    monkeypatch.setattr(SimulatedLock, "acquire", too_late)
    before = len(day.world.said)
    outcome = rollback(day.context(), "it is slow")
    assert outcome.exit_code is ExitCode.DONE, outcome.summary
    said = [line for line in day.world.said[before:] if "traffic: moving" in line]
    assert [line.rpartition(" ")[2] for line in said[:2]] == ["canary", "stable"]
    restored = next(
        i for i, line in enumerate(day.world.said[before:]) if "restore revision" in line
    )
    assert day.world.said[before:].index(said[1]) < restored


def test_an_outage_shorter_than_the_budget_is_waited_out() -> None:
    day = deployed()
    day.world.kubernetes_up = False
    day.world.at(200, lambda: setattr(day.world, "kubernetes_up", True))
    began = day.world.now
    outcome = rollback(day.context(), "it is slow")
    assert outcome.exit_code is ExitCode.DONE, outcome.summary
    assert all(day.world.weights.get(service, 0) == 0 for service in SERVICES)
    assert 200 <= day.world.now - began <= BUDGET


def test_an_outage_in_the_middle_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    day = deployed()
    away_while_the_canary_is_removed(day, 100, monkeypatch)
    outcome = rollback(day.context(), "it is slow")
    assert outcome.exit_code is ExitCode.DONE, outcome.summary


def test_it_gives_up_when_the_budget_is_used_and_not_before() -> None:
    day = deployed()
    day.world.kubernetes_up = False
    began = day.world.now
    with pytest.raises(UnreachableError):
        rollback(day.context(), "it is slow")
    assert BUDGET - 5 <= day.world.now - began <= BUDGET + 15


def test_after_a_change_it_ends_as_stopped_however_the_last_attempt_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    day = deployed()
    away_while_the_canary_is_removed(day, 10_000, monkeypatch)
    with pytest.raises(StoppedError) as caught:
        rollback(day.context(), "it is slow")
    assert isinstance(caught.value, LostError)
