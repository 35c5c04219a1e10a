"""The kinds of check beside limits, in the loop: from scrapes to the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pytest
from pydantic import TypeAdapter
from world import SERVICES, World, context, release, rollout

from tarsrelease.model.checks import CheckRule
from tarsrelease.model.measurement import (
    Counts,
    ExternalAnswer,
    Number,
    Requests,
    Track,
    Unmeasured,
)
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.ports.metrics import ExternalAnswers
from tarsrelease.steps.canary_gate import gate

BESIDE: list[Mapping[str, object]] = [
    {"kind": "compare", "id": "canary.compare", "sli": "errors", "tolerated": "0.5%"},
    {"kind": "drift", "id": "canary.drift", "sli": "fast", "within": "5%"},
    {"kind": "like_stable", "id": "canary.memory_like_stable", "sli": "memory"},
    {"kind": "absent", "id": "canary.crash_loops"},
]
ASKED: list[Mapping[str, object]] = [
    {"kind": "manual", "id": "canary.customers", "question": "No reports?"},
    {
        "kind": "external",
        "id": "canary.tickets",
        "source": {"command": ["tickets"]},
        "at_most": "3",
    },
]


class Said:
    """The port `ExternalAnswers`, with these answers from the start."""

    def __init__(self, **answers: ExternalAnswer) -> None:
        self.answers = {f"canary.{name}": answer for name, answer in answers.items()}

    def answer(self, rule: CheckRule, track: Track, since: datetime) -> ExternalAnswer | None:
        return self.answers.get(rule.id)

    def answered(self, check: str, yes: bool) -> None:
        self.answers[check] = yes


def play(
    world: World, checks: list[Mapping[str, object]], elsewhere: ExternalAnswers | None = None
) -> Outcome:
    """A stage of 10 % and three minutes with these checks."""
    limit: list[Mapping[str, object]] = [
        {"kind": "proportion", "id": "canary.error_rate", "sli": "errors", "below": "5%"}
    ]
    planned = rollout(limit, weights=(10, 100), duration="3m", max_extension="1m")
    more = TypeAdapter(tuple[CheckRule, ...]).validate_python(checks)
    first = planned.stages[0]
    first = first.model_copy(update={"checks": first.checks + more})
    stages = (first, planned.stages[1])
    own = {} if elsewhere is None else {"external": elsewhere}
    of = release(planned.model_copy(update={"stages": stages}))
    return gate(context(world, of, **own), 10)


def of_kind(outcome: Outcome, name: str) -> list[Check]:
    return [check for check in outcome.checks if check.id == f"canary.{name}"]


def test_a_canary_like_stable_proceeds() -> None:
    world = World(seed=1, rate=200.0).populate()
    outcome = play(world, BESIDE)
    assert outcome.verdict is Verdict.PROCEED, outcome.summary
    for name in ("compare", "drift", "memory_like_stable", "crash_loops"):
        found = of_kind(outcome, name)
        assert [check.service for check in found] == list(SERVICES)
        assert {check.status for check in found} == {Status.PASS}


@pytest.mark.parametrize(
    ("fault", "blamed"),
    [
        ({"error_share": 0.03}, "compare"),
        ({"slow_share": 0.15}, "drift"),
        ({"memory": 1.7e9}, "memory_like_stable"),
        ({"waiting": "CrashLoopBackOff"}, "crash_loops"),
    ],
)
def test_one_bad_service_is_told_and_takes_all_back(
    fault: Mapping[str, float | str], blamed: str
) -> None:
    """All of it within the limits that stand beside: only the comparison can tell."""
    world = World(seed=2, rate=200.0).populate()
    bad = next(pod for pod in world.running(Track.CANARY) if pod.service == SERVICES[1])

    def break_it() -> None:
        for name, value in fault.items():
            setattr(bad, name, value)

    world.at(5.0, break_it)
    outcome = play(world, BESIDE)
    assert outcome.verdict is Verdict.ROLLBACK, outcome.summary
    failed = [check for check in outcome.checks if check.status is Status.FAIL]
    assert {(check.id, check.service) for check in failed} == {(f"canary.{blamed}", SERVICES[1])}
    assert set(world.weights.values()) == {0}


def test_errors_that_stable_has_too_are_not_the_canarys() -> None:
    world = World(seed=3, rate=200.0).populate()
    for pod in world.running():
        pod.error_share = 0.02
    assert play(world, BESIDE).verdict is Verdict.PROCEED


@pytest.mark.parametrize(
    ("slow", "answer", "verdict"),
    [
        (0.03, Counts(300, 10_000, None), Verdict.PROCEED),
        (0.15, Counts(300, 10_000, None), Verdict.ROLLBACK),
        (0.03, Counts(0, 0, None), Verdict.HOLD),
        (0.03, Unmeasured("no answer"), Verdict.HOLD),
    ],
)
def test_production_against_staging(
    slow: float, answer: Counts | Unmeasured, verdict: Verdict
) -> None:
    world = World(seed=5, rate=200.0).populate()
    for pod in world.running():
        pod.slow_share = slow
    rule = {"kind": "drift_from_staging", "id": "canary.staged", "sli": "fast", "within": "5%"}
    staging = Said(staged=Requests(dict.fromkeys(SERVICES, answer)))
    outcome = play(world, [rule], staging)
    assert outcome.verdict is verdict, outcome.summary
    assert len(of_kind(outcome, "staged")) == len(SERVICES)


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (Said(customers=True, tickets=Number(3, 0)), Verdict.PROCEED),
        (Said(customers=False, tickets=Number(3, 0)), Verdict.ROLLBACK),
        (Said(customers=True, tickets=Number(4, 0)), Verdict.ROLLBACK),
        (Said(tickets=Number(3, 0)), Verdict.HOLD),
        (Said(customers=True, tickets=Unmeasured("refused")), Verdict.HOLD),
        (None, Verdict.HOLD),
    ],
)
def test_answers_from_elsewhere_decide_and_none_never_passes(
    said: Said | None, verdict: Verdict
) -> None:
    world = World(seed=4, rate=100.0).populate()
    assert play(world, ASKED, said).verdict is verdict
