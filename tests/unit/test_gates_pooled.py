"""The evidence of several targets together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gates_samples import INPUTS, NOW
from hypothesis import given
from hypothesis import strategies as st
from test_gates_attribution import rollout

from tarsrelease.gates.checks import pooled
from tarsrelease.gates.checks.compare import log_evidence_worse, log_ratios_worse
from tarsrelease.gates.stats.growth import Growth
from tarsrelease.gates.stats.sequential_test import (
    log_evidence_above,
    log_mean,
    log_ratios_above,
    proof_needs,
)
from tarsrelease.model.checks import CompareCheck, ProportionCheck
from tarsrelease.model.measurement import Counts, Track
from tarsrelease.model.outcome import Check, Status
from tarsrelease.operations.wave_evidence import WaveEvidence

QUESTION = ("a.errors", "api")
COMPARE = CompareCheck(kind="compare", id="a.compare", sli="e")
CHECK = Check(
    id="a.errors", status=Status.INCONCLUSIVE, service="api", reason="so far", expected="< 1 %"
)
counted = st.tuples(st.integers(0, 400), st.integers(0, 20_000)).map(
    lambda drawn: (float(drawn[0]), float(sum(drawn)))
)


@given(st.lists(counted, min_size=1, max_size=8))
def test_targets_with_one_limit_are_as_good_as_one_with_all_requests(
    found: list[tuple[float, float]],
) -> None:
    ratios = [log_ratios_above(bad, total, 0.01) for bad, total in found]
    bad, total = (sum(each) for each in zip(*found, strict=True))
    together = log_mean(tuple(map(sum, zip(*ratios, strict=True))))
    assert together == pytest.approx(log_evidence_above(bad, total, 0.01), abs=1e-6, rel=1e-9)


@given(ours=counted, theirs=counted)
def test_a_comparison_says_no_more_by_its_ratios_than_by_itself(
    ours: tuple[float, float], theirs: tuple[float, float]
) -> None:
    if not ours[1] or not theirs[1]:
        return
    mine, beside = Counts(*ours, None), Counts(*theirs, None)
    together = log_mean(log_ratios_worse(mine, beside, COMPARE))
    assert together <= log_evidence_worse(mine, beside, COMPARE) + 1e-9


def test_a_proof_names_the_number_of_targets_and_the_evidence() -> None:
    mine = log_ratios_above(20, 1000, 0.01)
    assert log_mean(mine) < proof_needs(1e-6)
    [alone] = pooled.prove((CHECK,), {QUESTION: mine}, {}, 1e-6)
    assert alone is CHECK
    [failed] = pooled.prove((CHECK,), {QUESTION: mine}, {QUESTION: [mine] * 9}, 1e-6)
    assert failed.status is Status.FAIL
    assert failed.reason.startswith("so far; together with 9 other targets of the wave")
    assert "needed 1000000 to 1" in failed.reason


def test_a_target_whose_own_requests_are_good_does_not_fail() -> None:
    bad, good = log_ratios_above(300, 10_000, 0.01), log_ratios_above(1, 1000, 0.01)
    [check] = pooled.prove((CHECK,), {QUESTION: good}, {QUESTION: [bad]}, 1e-6)
    assert check is CHECK


def test_bad_requests_that_all_came_at_once_say_nothing_to_the_others() -> None:
    plan = rollout().model_copy(update={"services": rollout().services[:1]})
    rule = ProportionCheck(kind="proportion", id="a.errors", sli="e", below=0.01)
    stage = plan.stages[0].model_copy(update={"checks": (rule,)})
    key = (plan.services[0].name, Track.CANARY)
    seen = replace(INPUTS, counts={"e": {key: Counts(20.0, 1000.0, NOW)}})
    assert pooled.log_ratios(stage, plan, seen).keys() == {("a.errors", key[0])}
    pack = Growth(readings=50, with_bad=1, bad=20.0, total=1000.0)
    assert pooled.log_ratios(stage, plan, replace(seen, growth={("e", *key): pack})) == {}
    advisory = stage.model_copy(update={"checks": (rule.model_copy(update={"advisory": True}),)})
    assert pooled.log_ratios(advisory, plan, seen) == {}


def test_the_budget_is_spent_in_two_halves() -> None:
    budget, targets, waves, checks = 0.01, 30, 3, 75
    own = budget / (2 * targets) / checks
    together = pooled.pooled_alpha(own, targets, waves)
    assert targets * own * checks + waves * together * checks == pytest.approx(budget)


def test_a_target_sees_the_newest_of_the_others_and_not_itself() -> None:
    wave = WaveEvidence(3, 1)
    one, two = wave.at("one"), wave.at("two")
    assert one.exchange("canary-10", {QUESTION: (1.0,)}) == {}
    assert two.exchange("canary-10", {QUESTION: (2.0,)}) == {QUESTION: [(1.0,)]}
    one.exchange("canary-10", {QUESTION: (3.0,)})
    assert two.exchange("canary-10", {QUESTION: (2.0,)}) == {QUESTION: [(3.0,)]}
    assert two.exchange("canary-25", {QUESTION: (2.0,)}) == {}
