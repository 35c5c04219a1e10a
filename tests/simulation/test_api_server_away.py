"""The API server is away for a minute in each phase of a stage; the gate waits for it, and acts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from world import (
    SimulatedJournal,
    SimulatedRoutes,
    SimulatedWorkloads,
    World,
    context,
    release,
    rollout,
)

from tarsrelease.context import Context
from tarsrelease.model.errors import UnreachableError
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Verdict
from tarsrelease.steps.canary_gate import gate

AWAY = 60.0
SHORT = rollout(weights=(10, 100), duration="20s", max_extension="20s")
WRITES = ("shift", "annotate", "append", "scale")


class Line:
    """The line to the API server, which breaks at a call; a write may be done nevertheless."""

    def __init__(self, world: World, at: int | None = None, *, done: bool = False) -> None:
        self.world, self.at, self.done = world, at, done
        self.calls: list[str] = []
        self.back_at = 0.0

    def to(self, port: Any) -> Any:
        """The port at the other end."""
        return _End(self, port)

    def call(self, name: str, act: Any) -> Any:
        """One call."""
        self.calls.append(name)
        if len(self.calls) - 1 != self.at:
            return act()
        if self.done:
            act()
        self.world.kubernetes_up = False
        self.back_at = self.world.now + AWAY
        self.world.at(AWAY, lambda: setattr(self.world, "kubernetes_up", True))
        raise UnreachableError(doing=name, found="broken", expected="it", next_step="wait")


class _End:
    def __init__(self, line: Line, port: Any) -> None:
        self._line, self._port = line, port

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return lambda *args, **named: self._line.call(name, lambda: found(*args, **named))


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
