"""Looking at the stable side while traffic comes back to it, and what a look leaves behind."""

from __future__ import annotations

from itertools import pairwise

import pytest
from world import (
    NEW,
    OLD,
    SERVICES,
    World,
    context,
    deployment,
    rollout,
)

from tarsrelease.model.errors import LockedError
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Status, Verdict
from tarsrelease.operations.evaluation import StageEvaluation, evaluate_stage
from tarsrelease.operations.observation import Observation


def promoting(seed: int = 1, weight: int = 50, version: str = NEW, rate: float = 60.0) -> World:
    """Stable upgraded while the canary served all; now `weight` percent are left on the canary."""
    world = World(seed=seed, rate=rate).populate(canary=2)
    for service in SERVICES:
        world.set_weight(service, 100)
    world.advance(30)
    for service in SERVICES:
        name = deployment(service, Track.STABLE)
        world.set_replicas(name, 0)
        world.set_replicas(name, 2, version)
    world.advance(15)
    return world


def watch(world: World, weight: int = 50, seconds: str = "30s") -> Observation:
    """Shift to `weight` and look at stable."""
    onto = context(world)
    since = onto.clock.now()
    for service in SERVICES:
        world.set_weight(service, weight)
    stage = rollout(duration=seconds, max_extension="60s", weights=(100,)).stages[0]
    judged = StageEvaluation(stage=stage, since=since, track=Track.STABLE, weight=weight)
    return evaluate_stage(onto, judged)


@pytest.mark.parametrize("weight", [50, 0])
def test_an_upgraded_stable_that_serves_well_proceeds(weight: int) -> None:
    seen = watch(promoting(), weight)
    assert seen.verdict is Verdict.PROCEED, [c for c in seen.checks if c.status is not Status.PASS]
    counted = {c.service: c.samples for c in seen.checks if c.id == "canary.error_rate"}
    expected = 30 * 60.0 * (1 - weight / 100)
    assert all(n is not None and 0.7 * expected < n < 1.2 * expected for n in counted.values())


def test_errors_of_the_upgraded_stable_are_found_and_the_canarys_do_not_matter() -> None:
    world = promoting()
    for pod in world.running(Track.CANARY):
        pod.error_share = 1.0
    assert watch(world).verdict is Verdict.PROCEED
    world = promoting()
    for pod in world.running(Track.STABLE):
        pod.error_share = 1.0
    shifted = world.now
    assert watch(world).verdict is Verdict.ROLLBACK
    assert world.now - shifted < 10


def test_a_stable_of_the_old_version_is_not_the_one_to_look_at() -> None:
    seen = watch(promoting(version=OLD))
    assert seen.verdict is Verdict.HOLD
    errors = [c for c in seen.checks if c.id == "canary.error_rate"]
    assert {c.status for c in errors} <= {Status.INCONCLUSIVE, Status.ERROR}


def test_history_and_looks_tell_what_was_seen() -> None:
    seen = watch(promoting())
    times = [look.elapsed for look in seen.history]
    assert times == sorted(times)
    assert 20 <= len(times) <= 40
    last = seen.history[-1]
    assert set(last.requests) == set(SERVICES)
    assert f"canary.error_rate/{SERVICES[0]}" in last.values
    requests = [look.requests.get(SERVICES[0], 0) for look in seen.history]
    assert requests == sorted(requests)
    assert seen.evaluations >= len(times)


def test_looks_are_shown_about_once_a_second_and_the_last_one_always() -> None:
    world = promoting()
    seen = watch(world)
    shown = [elapsed for elapsed, _ in world.seen]
    assert 25 <= len(shown) <= 45
    assert world.seen[-1][1] == seen.checks


def test_whoever_keeps_the_lock_is_asked_once_a_second_and_may_end_it() -> None:
    world, calls = promoting(), []
    onto = context(world)

    def each_tick() -> None:
        calls.append(world.now)
        if len(calls) == 10:
            onto.cluster.lock.check()

    judged = StageEvaluation(
        stage=rollout(weights=(100,)).stages[0],
        since=onto.clock.now(),
        track=Track.STABLE,
        weight=50,
        each_tick=each_tick,
    )
    with pytest.raises(LockedError):
        evaluate_stage(onto, judged)
    gaps = [later - earlier for earlier, later in pairwise(calls)]
    assert all(0.9 < gap < 1.6 for gap in gaps)
