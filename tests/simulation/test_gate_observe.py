"""`canary gate --observe`: judging what something else moves, without touching it."""

from __future__ import annotations

import pytest
from test_gate import SHORT, canaries, failing
from world import SERVICES, World, context, deployment, release

from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Status, Verdict
from tarsrelease.steps.canary_gate_observe import judge_external


def moving(seed: int = 1, rate: float = 60.0) -> World:
    """Something else gives the canary 30 %; there is no journal and nothing of ours in routes."""
    world = World(seed=seed, rate=rate).populate()
    world.journal.clear()
    for service in SERVICES:
        world.annotations[service] = {}
        world.set_weight(service, 30)
    world.advance(5)
    return world


def observed(world: World, seconds: float | None = 30.0, weight: int | None = None) -> Outcome:
    return judge_external(context(world, release(SHORT)), weight, seconds)


def test_a_healthy_rollout_proceeds_when_the_time_is_over_and_nothing_is_touched() -> None:
    world = moving()
    world.lock_holder = "whoever moves it"
    writes, began = len(world.writes), world.now
    world.at(15, lambda: [world.set_weight(service, 60) for service in SERVICES] and None)
    outcome = observed(world)
    assert outcome.verdict is Verdict.PROCEED, outcome.summary
    assert 30 <= world.now - began < 32
    assert len(world.writes) == writes + len(SERVICES), "the other's own writes alone"
    assert world.journal == []
    assert "canary.traffic_share" not in {check.id for check in outcome.checks}
    assert outcome.details.model_dump(mode="json")["mode"] == "observe"


def test_a_bad_one_is_a_rollback_for_whoever_moves_the_traffic() -> None:
    world = canaries(moving(), failing(1.0))
    writes, began = len(world.writes), world.now
    outcome = observed(world)
    assert outcome.exit_code == 11
    assert world.now - began < 10
    assert len(world.writes) == writes
    assert set(world.weights.values()) == {30}


def test_too_little_traffic_holds_at_the_end_of_its_time() -> None:
    world = moving(rate=0.5)
    began = world.now
    assert observed(world).exit_code == 10
    assert world.now - began < 32


def test_pods_that_belong_to_no_deployment_are_not_checked_and_requests_are() -> None:
    """As with an Argo Rollout: the pods serve, but no Deployment owns them."""
    world = moving()
    for service in SERVICES:
        world.replicas.pop(deployment(service, Track.CANARY))
    outcome = observed(world)
    assert outcome.verdict is Verdict.PROCEED
    skipped = {check.id for check in outcome.checks if check.status is Status.SKIPPED}
    assert skipped == {"canary.memory", "canary.ready", "canary.restarts"}
    bad = canaries(moving(), failing(1.0))
    for service in SERVICES:
        bad.replicas.pop(deployment(service, Track.CANARY))
    assert observed(bad).verdict is Verdict.ROLLBACK


@pytest.mark.parametrize("seconds", [None, 20.0])
def test_without_a_time_it_is_the_stages(seconds: float | None) -> None:
    world = moving()
    began = world.now
    observed(world, seconds, weight=25)
    assert world.now - began == pytest.approx(seconds or 60.0, abs=2)
