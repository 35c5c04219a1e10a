"""An honest pass of comparisons: how often a canary at twice the margin passes a stage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gates_samples import INPUTS, KEY, NOW, by_law
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tarsrelease.gates.stats.pass_comparison import (
    allows_drift,
    allows_worse_by,
    required_at,
    twice_as_far,
)
from tarsrelease.gates.stats.sequential_test import required_requests
from tarsrelease.model.checks import CompareCheck, DriftCheck
from tarsrelease.model.measurement import Counts, Track
from tarsrelease.model.outcome import Check, Status

ERROR = 0.05
STABLE = ("api", Track.STABLE)
COMPARE = CompareCheck(kind="compare", id="a.compare", sli="e", tolerated=0.01)
DRIFT = DriftCheck(kind="drift", id="a.drift", sli="e", within=0.05)
Rule = CompareCheck | DriftCheck


def judged(rule: Rule, ours: Counts, theirs: Counts) -> Check:
    return by_law(rule, replace(INPUTS, counts={"e": {KEY: ours, STABLE: theirs}}))


def passed(rule: Rule, share: float, other: float, ratio: float, stages: int, seed: int) -> float:
    """The share of stages that pass at any of 40 evaluations, judged by the check itself.

    `ratio` are stable's requests for each of the canary's.
    """
    rng, evaluations = np.random.default_rng(seed), 40
    limit = rule.within if isinstance(rule, DriftCheck) else rule.tolerated
    needed = int(required_requests(limit, 0.95) * max(1.0, 1 / ratio))
    requests = np.full(evaluations, needed // 10)
    requests[0] = needed
    ours, theirs = requests.cumsum(), (ratio * requests).astype(int).cumsum()
    bad = rng.binomial(requests, share, (stages, evaluations)).cumsum(axis=1)
    worse = rng.binomial((ratio * requests).astype(int), other, (stages, evaluations))
    others = worse.cumsum(axis=1)
    count = 0
    for stage in range(stages):
        for at in range(evaluations):
            mine = Counts(float(bad[stage, at]), float(ours[at]), NOW - 1)
            baseline = Counts(float(others[stage, at]), float(theirs[at]), NOW - 1)
            status = judged(rule, mine, baseline).status
            if status in (Status.PASS, Status.FAIL):
                count += status is Status.PASS
                break
    return count / stages


@pytest.mark.parametrize(("other", "ratio"), [(0.0, 9.0), (0.008, 1.0), (0.02, 9.0)])
def test_a_canary_at_twice_the_margin_of_compare_seldom_passes(other: float, ratio: float) -> None:
    """63 to 94 of 100 passed where only suspicion kept them from it."""
    share = 2 * max(0.01, 1.2 * other)
    assert passed(COMPARE, share, other, ratio, 100, seed=1) <= ERROR + 0.03


@pytest.mark.parametrize(("other", "ratio"), [(0.0, 9.0), (0.1, 1.0)])
def test_a_canary_that_drifted_twice_as_far_seldom_passes(other: float, ratio: float) -> None:
    """14 to 43 of 100 passed on the estimate."""
    share = other + 0.1 * (1 - other)
    assert passed(DRIFT, share, other, ratio, 100, seed=2) <= ERROR + 0.03


@pytest.mark.parametrize("rule", [COMPARE, DRIFT])
@pytest.mark.parametrize("share", [0.0, 0.003])
def test_a_canary_like_stable_passes(rule: Rule, share: float) -> None:
    assert passed(rule, share, share, 9.0, 40, seed=3) > 0.9


few, many = st.integers(0, 60), st.integers(60, 20_000)


@given(few, many, few, many)
def test_what_passes_compare_is_unlikely_at_twice_its_margins(
    bad: int, total: int, other: int, others: int
) -> None:
    if allows_worse_by(Counts(bad, total, None), Counts(other, others, None), 0.2, 0.01, ERROR):
        exposed = 2.4 * total / (2.4 * total + others)
        chance = min(binom.cdf(bad, total, 0.02), binom.cdf(bad, bad + other, exposed))
        assert chance <= 0.0065 or (bad >= 25 and bad <= 0.01 * total)


@given(few, many, few, many, st.integers(1, 40))
def test_a_bad_request_more_never_turns_a_wait_into_a_pass(
    bad: int, total: int, other: int, others: int, more: int
) -> None:
    before, after = Counts(bad, total, None), Counts(min(bad + more, total), total, None)
    theirs = Counts(other, others, None)
    if not allows_worse_by(before, theirs, 0.2, 0.01, ERROR):
        assert not allows_worse_by(after, theirs, 0.2, 0.01, ERROR)
    if not allows_drift(before, theirs, 0.05, ERROR):
        assert not allows_drift(after, theirs, 0.05, ERROR)


@given(st.floats(0.001, 0.95))
def test_twice_as_far_leaves_some_good_requests(within: float) -> None:
    assert within < twice_as_far(within) < 1


@given(st.sampled_from([COMPARE, DRIFT]), st.integers(1, 20), st.integers(300, 3000))
def test_a_check_that_waits_says_how_many_requests_it_takes(
    rule: Rule, bad: int, total: int
) -> None:
    ours, theirs = Counts(bad, total, NOW - 1), Counts(bad, total, NOW - 1)
    found = judged(rule, ours, theirs)
    if found.status is Status.INCONCLUSIVE and "it takes" in found.reason:
        assert found.needed is not None
        assert found.needed > total
        times = 1.3 * found.needed / total  # whole requests: about that many
        more = Counts(times * bad, times * total, NOW - 1)
        assert judged(rule, more, more).status is Status.PASS


def test_the_sample_that_a_canary_like_stable_needs_grows_with_stable_s_errors() -> None:
    def needs(share: float) -> float:
        return required_at(
            share, 9.0, lambda ours, theirs: allows_drift(ours, theirs, 0.05, ERROR), 59
        )

    found = [needs(share) for share in (0.0, 0.01, 0.1, 0.3)]
    assert found == sorted(found)
    assert found[-1] < float("inf")
