"""Gates in the field: stores with late samples, wrong selectors."""

from __future__ import annotations

import pytest
from world import Pod, World, context, environment, release, rollout

from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Status, Verdict
from tarsrelease.steps.canary_gate import gate

LONG = "20m"


def world(seed: int = 1, rate: float = 100.0, scrape: float = 15.0) -> World:
    return World(seed=seed, rate=rate, scrape_interval=scrape).populate(stable=2)


def fails(here: World, share: float) -> None:
    def fault(pod: Pod) -> None:
        pod.error_share = share

    for pod in here.running(Track.CANARY):
        fault(pod)
    here.new_pods = fault


def play(here: World, weight: int, scrape: str = "15s") -> tuple[Outcome, float]:
    """The outcome, and how long after the shift the canary's traffic was gone."""
    began = len(here.writes)
    outcome = gate(context(here, release(rollout(duration=LONG)), environment(scrape)), weight)
    writes = here.writes[began:]
    shifted = next(at for at, to in writes if to == weight)
    gone = next((at for at, to in writes if to == 0 and at > shifted), float("inf"))
    return outcome, gone - shifted


@pytest.mark.parametrize("lag", [45.0, 90.0])
def test_samples_that_arrive_late_are_found(lag: float) -> None:
    """Remote write, managed stores, federation: the canary kept its traffic for 20 minutes."""
    here = world(rate=33.0)
    here.commit = lag
    here.advance(lag + 30.0)
    fails(here, 1.0)
    outcome, gone = play(here, 10)
    assert outcome.verdict is Verdict.ROLLBACK
    assert gone <= lag + 30.0


def test_a_healthy_canary_passes_with_late_samples() -> None:
    here = world(rate=33.0)
    here.commit = 45.0
    here.advance(75.0)
    outcome, _ = play(here, 10)
    assert outcome.verdict is Verdict.PROCEED, outcome.summary


def test_a_selector_with_a_wrong_label_holds_a_failing_canary() -> None:
    here = world(rate=33.0, scrape=5.0)
    fails(here, 1.0)
    plan = rollout(
        [{"kind": "proportion", "id": "canary.error_rate", "sli": "errors", "below": "1%"}],
        duration="1m",
        max_extension="1m",
    )
    wrong = plan.slis["errors"].model_copy(
        update={"bad": 'http_requests_total{namespace="$namespace",code=~"5.."}'}
    )
    plan = plan.model_copy(update={"slis": {**plan.slis, "errors": wrong}})
    outcome = gate(context(here, release(plan), environment("5s")), 10)
    assert outcome.verdict is Verdict.HOLD
    assert "has the label code" in outcome.summary


def test_an_advisory_check_that_fails_is_recorded_and_the_stage_proceeds() -> None:
    """2 % of the requests fail: too many for the new check, not for the one that decides."""
    errors = {"kind": "proportion", "sli": "errors"}
    checks = [
        {**errors, "id": "canary.error_rate", "below": "10%"},
        {**errors, "id": "canary.new_limit", "below": "0.5%", "advisory": True},
    ]
    here = world(seed=5)
    fails(here, 0.02)
    ours = release(rollout(checks, weights=(50, 100), duration="3m", max_extension="1m"))
    outcome = gate(context(here, ours, environment("15s")), 50, None)
    assert outcome.verdict is Verdict.PROCEED
    new = [check for check in outcome.checks if check.id == "canary.new_limit"]
    assert {(check.status, check.advisory) for check in new} == {(Status.FAIL, True)}
    assert all(entry.action != "rollback" for entry in here.journal)
