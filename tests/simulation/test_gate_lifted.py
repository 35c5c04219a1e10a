"""`canary gate --lifted-by`: a person lifts a hold, and the stage is looked at once more."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import pytest
from test_gate import SHORT, canaries, failing, play
from world import SERVICES, World, environment, release

from tarsrelease.model.errors import UsageError
from tarsrelease.model.journal import Phase
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.outcome import Status, Verdict

WHY = Lifting(by="Ada (SRE)", reason="traffic is low on Sundays")


@cache
def _held() -> World:
    world = World(seed=1, rate=2.0).populate()
    assert play(world).verdict is Verdict.HOLD
    return world


def held() -> World:
    """A world of its own whose 10 % stage holds for want of traffic."""
    return deepcopy(_held())


def test_what_is_inconclusive_does_not_hold_again_and_is_shown_as_not_checked() -> None:
    world = held()
    began = world.now
    outcome = play(world, lifting=WHY)
    assert outcome.verdict is Verdict.PROCEED
    assert world.now - began < 10, "the stage's time is over: one look decides"
    lifted = [check for check in outcome.checks if check.status is Status.SKIPPED]
    assert {check.id for check in lifted} >= {"canary.error_rate"}
    assert all("Ada (SRE)" in c.reason for c in lifted if c.id == "canary.error_rate")
    assert outcome.details.model_dump(mode="json")["lifted_by"] == "Ada (SRE)"
    assert "traffic is low on Sundays" in outcome.summary
    noted = [entry for entry in world.journal if entry.action == "lift"]
    assert [entry.facts.model_dump(mode="json")["by"] for entry in noted] == ["Ada (SRE)"]
    assert play(world, 25).verdict is Verdict.HOLD, "only that stage was lifted"


def test_a_proven_failure_wins_over_the_person() -> None:
    world = held()
    canaries(world, failing(1.0))
    world.rate = 33.0
    world.advance(60)
    outcome = play(world, lifting=WHY)
    assert outcome.verdict is Verdict.ROLLBACK
    assert set(world.weights.values()) == {0}


def test_what_cannot_be_measured_holds_again() -> None:
    world = held()
    world.metrics_state = "refused"
    began = world.now
    outcome = play(world, lifting=WHY)
    assert outcome.verdict is Verdict.HOLD
    assert world.now - began >= 180
    assert any("no metrics" in check.reason for check in outcome.checks)


def test_a_lifted_stage_whose_traffic_was_taken_off_is_entered_anew() -> None:
    world = held()
    for service in SERVICES:
        world.set_weight(service, 0)
        world.annotations[service] = {"stage": "off", "release": "1.0.1"}
    began = world.now
    outcome = play(world, lifting=WHY)
    assert outcome.verdict is Verdict.PROCEED
    assert 60 <= world.now - began < 70, "looked at for the whole stage, and not extended"
    assert set(world.weights.values()) == {10}


def test_only_a_hold_can_be_lifted() -> None:
    world = World(seed=1).populate()
    with pytest.raises(UsageError, match="no verdict"):
        play(world, lifting=WHY)
    play(world)
    with pytest.raises(UsageError, match="proceed"):
        play(world, lifting=WHY)
    assert not [entry for entry in world.journal if entry.action == "lift"]


@pytest.mark.parametrize("text", ["", "  ", "two\nlines", "bell\a", "x" * 301])
def test_a_name_and_a_reason_are_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="by"):
        Lifting(by=text, reason="r")


@pytest.mark.parametrize(("then", "weight"), [("hold", 10), ("traffic-off", 0)])
def test_metrics_that_stay_away_hold_and_the_environment_says_where_the_traffic_goes(
    then: str, weight: int
) -> None:
    limits = environment().limits.model_copy(
        update={"after_metrics_outage": then, "metrics_outage": 50.0}
    )
    env = environment().model_copy(update={"limits": limits})
    world = World(seed=2).populate()
    world.at(20, lambda: setattr(world, "metrics_state", "refused"))
    outcome = play(world, of=release(SHORT), env=env)
    assert outcome.verdict is Verdict.HOLD
    assert set(world.weights.values()) == {weight}
    assert ("not a rollback" in outcome.summary) is (weight == 0)
    world.metrics_state = "up"
    again = play(world, of=release(SHORT), env=env)
    assert again.verdict is Verdict.PROCEED, "no rollback: the stage can be taken again"


@pytest.mark.parametrize(("then", "weight"), [("hold", 10), ("traffic-off", 0)])
def test_between_stages_an_outage_beyond_its_limit_holds(then: str, weight: int) -> None:
    limits = environment().limits.model_copy(update={"after_metrics_outage": then})
    env = environment().model_copy(update={"limits": limits})
    world = World(seed=8).populate()
    play(world, of=release(SHORT))
    world.metrics_state = "refused"
    until = world.annotations[SERVICES[0]]["traffic-until"]
    outcome = play(world, 25, of=release(SHORT), env=env)
    assert outcome.exit_code == 10
    assert [check.id for check in outcome.checks] == ["canary.metrics"]
    assert set(world.weights.values()) == {weight}
    if weight:
        assert world.annotations[SERVICES[0]]["traffic-until"] > until, "lent while it is waited"
    assert [e for e in world.journal if e.phase is Phase.RESULT][-1].facts.model_dump(mode="json")[
        "verdict"
    ] == "hold"
