"""The API server is away for a minute in each phase of a stage; the gate waits for it, and acts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from broken_line import Line
from day_world import SimulatedCharts
from world import (
    SimulatedJournal,
    SimulatedLock,
    SimulatedRoutes,
    SimulatedWorkloads,
    World,
    context,
    release,
    rollout,
)

from tarsrelease.context import Context
from tarsrelease.model.cluster import RouteState
from tarsrelease.model.errors import StoppedError, UnreachableError
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Verdict
from tarsrelease.model.rollout import Service
from tarsrelease.operations.traffic import shift
from tarsrelease.steps.canary_gate import gate
from tarsrelease.steps.hold import hold
from tarsrelease.steps.resume import resume

ALICE = Lifting(by="alice", reason="errors in the shop")
SHORT = rollout(weights=(10, 100), duration="20s", max_extension="20s")
WRITES = ("shift", "annotate", "append", "scale")


def over(line: Line) -> Context:
    world = line.world
    return context(
        world,
        release(SHORT),
        routes=line.to(SimulatedRoutes(world)),
        workloads=line.to(SimulatedWorkloads(world)),
        journal=line.to(SimulatedJournal(world)),
    )


def made(*, fails: bool = False) -> World:
    world = World(seed=5, rate=60.0).populate(stable=2, canary=1)
    if fails:
        for pod in world.running(Track.CANARY):
            pod.error_share = 1.0
    return world


def calls_of_a_stage() -> list[str]:
    line = Line(made())
    gate(over(line), 100)
    return line.calls


def phases() -> Iterator[tuple[int, str]]:
    """Every write of a stage, and a reading between two of them."""
    calls = calls_of_a_stage()
    writes = [number for number, name in enumerate(calls) if name in WRITES]
    for number in writes:
        yield number, calls[number]
    for number in {0, 2, *((a + b) // 2 for a, b in itertools.pairwise(writes))}:
        yield number, calls[number]


def params() -> Iterator[Any]:
    """One writing of each kind and one reading always, the others in full runs."""
    seen: set[str] = set()
    for at, name in phases():
        marks = [pytest.mark.full] if name in seen else []
        seen |= {name}
        yield pytest.param(at, id=f"{at}-{name}", marks=marks)


PHASES = list(params())


@pytest.mark.parametrize(
    "done", [False, pytest.param(True, marks=pytest.mark.full)], ids=["lost", "done"]
)
@pytest.mark.parametrize("at", PHASES)
def test_a_stage_goes_on_when_the_api_server_is_back(at: int, done: bool) -> None:
    line = Line(made(), at, done=done)
    outcome = gate(over(line), 100)
    assert line.back_at
    assert outcome.verdict is Verdict.PROCEED, outcome.summary
    assert set(line.world.weights.values()) == {100}


@pytest.mark.parametrize("at", PHASES)
def test_a_failing_canary_loses_its_traffic_as_soon_as_the_api_server_is_back(at: int) -> None:
    world = made()
    line = Line(world, at)

    def fails() -> None:
        for pod in world.running(Track.CANARY):
            pod.error_share = 1.0
        world.at(1.0, fails)

    fails()
    outcome = gate(over(line), 100)
    assert set(world.weights.values()) == {0}
    assert outcome.verdict in (Verdict.ROLLBACK, Verdict.HOLD)
    if 0 < line.back_at < world.now:
        written = [e.at.timestamp() for e in world.journal if e.action == "take-off"]
        assert written[0] - line.back_at < 10.0


def test_a_first_stage_waits_for_the_api_server_before_it_changes_anything() -> None:
    line = Line(made(), at=0)
    outcome = gate(over(line), 10)
    assert outcome.verdict is Verdict.PROCEED
    assert line.world.writes[0][0] > line.back_at > 0


def test_a_first_stage_gives_up_after_its_limit_and_has_changed_nothing() -> None:
    world = made()
    world.kubernetes_up = False
    began = world.now
    with pytest.raises(UnreachableError):
        gate(context(world, release(SHORT)), 10)
    # An address that never answered may be wrong: 90 s, not the 120 s of limits.deploy.
    assert 90.0 <= world.now - began < 95.0
    assert not world.writes
    assert any("first answer, 1m30s at most; is the address right?" in line for line in world.said)


def test_an_api_server_that_has_answered_in_this_run_is_waited_for_longer() -> None:
    world = made()
    of = context(world, release(SHORT))
    assert gate(of, 10).verdict is Verdict.PROCEED
    world.kubernetes_up = False
    world.at(110.0, lambda: setattr(world, "kubernetes_up", True))
    assert gate(of, 100).verdict is Verdict.PROCEED


def test_the_lock_is_acquired_when_the_api_server_is_back() -> None:
    world = made()

    class Away(SimulatedLock):
        def acquire(self, *, preempt: bool = False) -> None:
            if world.now < back_at:
                raise UnreachableError(
                    doing="acquiring", found="refused", expected="an answer", next_step="wait"
                )
            super().acquire(preempt=preempt)

    back_at = world.now + 30.0
    outcome = gate(context(world, release(SHORT), lock=Away(world)), 10)
    assert outcome.verdict is Verdict.PROCEED
    assert world.writes[0][0] >= back_at


def test_a_route_that_is_never_accepted_ends_the_shift_however_often_the_api_server_goes() -> None:
    world = made()

    class Refused(SimulatedRoutes):
        def read(self, services: Sequence[Service]) -> list[RouteState]:
            return [s.model_copy(update={"accepted": False}) for s in super().read(services)]

    def toggle() -> None:
        world.kubernetes_up = not world.kubernetes_up
        world.at(5.0 if world.kubernetes_up else 20.0, toggle)

    began, of = world.now, context(world, release(SHORT), routes=Refused(world))
    world.at(1.0, toggle)
    with pytest.raises(StoppedError, match="has not accepted"):
        shift(of, 10, "canary-10")
    limits = of.environment.limits
    assert world.now - began < of.environment.gateway.settle + 2 * limits.deploy + 60.0


def test_an_outage_late_in_a_persons_hold_ends_no_stage() -> None:
    world = made()
    of = context(world, release(SHORT))
    hold(of, ALICE)
    world.at(200.0, lambda: setattr(world, "kubernetes_up", False))
    world.at(230.0, lambda: setattr(world, "kubernetes_up", True))
    charts = SimulatedCharts(world)
    resuming = context(world, release(SHORT), charts=charts)
    world.at(260.0, lambda: resume(resuming, ALICE) and None)
    assert gate(of, 10).verdict is Verdict.PROCEED
