"""A side without a ready pod has no traffic while the other side has one."""

from __future__ import annotations

import pytest
from world import SERVICES, Pod, World, context, deployment, environment, release, rollout

from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.steps.canary_gate import gate

SHORT = rollout(weights=(10, 100), duration="60s", max_extension="60s")
SOON = 3.0


def lose(world: World, track: Track, seconds: float) -> None:
    """All pods of one service's side are gone; their successors are ready so much later."""
    for pod in world.running(track):
        if pod.owner == deployment(SERVICES[0], track):
            pod.gone = world.now
            world.start_pod(pod.service, track, pod.version).ready_after = seconds


def play(world: World, weight: int = 100) -> Outcome:
    return gate(context(world, release(SHORT), environment("5s")), weight)


def seconds_without_pods(world: World, lost_at: float) -> float:
    """From the loss until the canary had no traffic."""
    return next(at for at, to in world.writes if at >= lost_at and to == 0) - lost_at


def start(seed: int = 1) -> World:
    return World(seed=seed, rate=60.0).populate(stable=2, canary=1)


@pytest.mark.parametrize("weight", [10, 100])
def test_evicted_pods_cost_a_moment_and_a_second_try(weight: int) -> None:
    world = start()
    began = world.now
    world.at(30.0, lambda: lose(world, Track.CANARY, 20.0))
    outcome = play(world, weight)
    assert outcome.verdict is Verdict.PROCEED, outcome.summary
    assert seconds_without_pods(world, began + 30.0) <= SOON
    assert "no ready pod" in outcome.summary
    assert set(world.weights.values()) == {weight}


def test_pods_that_do_not_come_back_are_a_rollback() -> None:
    world = start()
    began = world.now
    world.at(30.0, lambda: lose(world, Track.CANARY, 1e9))
    outcome = play(world)
    assert outcome.verdict is Verdict.ROLLBACK, outcome.summary
    assert seconds_without_pods(world, began + 30.0) <= SOON


def test_a_second_loss_proves_nothing_and_holds() -> None:
    world = start()

    def lose_again() -> None:
        if max(world.weights.values(), default=0) > 0:
            lose(world, Track.CANARY, 20.0)
        world.at(30.0, lose_again)

    world.at(30.0, lose_again)
    outcome = play(world)
    assert outcome.verdict is Verdict.HOLD, outcome.summary
    assert set(world.weights.values()) == {0}


def test_without_pods_on_stable_either_the_traffic_stays() -> None:
    world = start()

    def lose_both() -> None:
        for track in Track:
            lose(world, track, 10.0)

    world.at(30.0, lose_both)
    outcome = play(world, 10)
    assert outcome.verdict is Verdict.PROCEED, outcome.summary
    assert [to for _, to in world.writes if to == 0] == []


def test_one_ready_pod_is_enough() -> None:
    world = start()
    owned: list[Pod] = []

    def lose_one() -> None:
        owned.extend(p for p in world.running(Track.CANARY) if p.service == SERVICES[0])
        owned[0].ready_after = world.now - owned[0].started + 20.0

    world.at(30.0, lose_one)
    outcome = play(world)
    assert len(owned) > 1
    assert outcome.verdict is Verdict.PROCEED, outcome.summary
    assert [to for _, to in world.writes if to == 0] == []
