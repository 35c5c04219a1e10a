"""No blind zone: what is beyond a margin or a limit is proven with enough requests."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gates_samples import INPUTS, KEY, NOW, by_law
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, poisson

from tarsrelease.gates.stats.pass_side import tail
from tarsrelease.gates.stats.sequential_test import log_evidence_above, log_evidence_below
from tarsrelease.model.checks import CompareCheck, ProportionCheck
from tarsrelease.model.measurement import Counts, Track
from tarsrelease.model.outcome import Check, Status

COMPARE = CompareCheck(kind="compare", id="a.compare", sli="e")
LIMIT = ProportionCheck(kind="proportion", id="a.errors", sli="e", below=0.01)
STRICT = ProportionCheck(kind="proportion", id="a.errors", sli="e", below=0.01, proof="strict")


def beside(ours: tuple[float, float], theirs: tuple[float, float]) -> Check:
    counts = {KEY: Counts(*ours, NOW - 1), ("api", Track.STABLE): Counts(*theirs, NOW - 1)}
    return by_law(COMPARE, replace(INPUTS, counts={"e": counts}))


def alone(rule: ProportionCheck, bad: float, total: float) -> Check:
    return by_law(rule, replace(INPUTS, counts={"e": {KEY: Counts(bad, total, NOW - 1)}}))


def test_a_canary_at_1_4_times_stable_is_proven_worse_with_enough_requests() -> None:
    assert beside((14_000, 1e6), (90_000, 9e6)).status is Status.FAIL


@given(st.floats(1.01, 30.0), st.floats(0.002, 0.02), st.floats(0.05, 0.95))
def test_any_ratio_beyond_the_margin_is_proven_with_enough_requests(
    ratio: float, share: float, weight: float
) -> None:
    """As many bad requests as expected, at ratios from just beyond 1 + worse_by on."""
    worse = min(0.9, 1.2 * ratio * share)
    excess = min(worse / (1.2 * share) - 1.0, 1.0)
    requests = 400.0 / (share * excess**2 * weight * (1 - weight))
    ours, theirs = round(weight * requests), round((1 - weight) * requests)
    found = beside((round(worse * ours), ours), (round(share * theirs), theirs))
    assert found.status is Status.FAIL


@given(st.floats(1.005, 50.0), st.floats(0.0005, 0.2))
def test_any_breach_of_a_limit_is_proven_with_enough_requests(ratio: float, limit: float) -> None:
    share = min(0.95, ratio * limit)
    requests = round(300.0 / (limit * min(share / limit - 1.0, 1.0) ** 2))
    assert log_evidence_above(round(share * requests), requests, limit) > 9.3


@given(st.floats(0.0, 0.97), st.floats(0.0005, 0.2))
def test_any_distance_to_a_limit_is_proven_kept(ratio: float, limit: float) -> None:
    requests = round(300.0 / (limit * (1.0 - ratio) ** 2))
    assert log_evidence_below(round(ratio * limit * requests), requests, limit) > 3.0


def test_strict_passes_close_to_its_limit() -> None:
    assert alone(STRICT, 95_000, 1e7).status is Status.PASS


def test_seven_errors_beside_none_do_not_pass() -> None:
    found = beside((7, 3000), (0, 3000))
    assert found.status is Status.INCONCLUSIVE
    assert "by chance" in found.reason


@given(
    st.integers(0, 60), st.integers(3000, 40_000), st.integers(0, 60), st.integers(3000, 400_000)
)
def test_what_is_beyond_the_margin_and_no_noise_does_not_pass(
    bad: int, total: int, other: int, others: int
) -> None:
    exposed = 1.2 * total / (1.2 * total + others)
    noise = max(binom.sf(bad - 1, bad + other, exposed), binom.sf(bad - 1, total, 0.001))
    status = beside((bad, total), (other, others)).status
    if bad / total > 0.001 and bad * others > 1.2 * other * total and noise < 0.04:
        assert status is not Status.PASS
    within = bad <= 0.001 * total and binom.cdf(bad, total, 0.002) < 0.004
    twice_the_share = binom.cdf(bad, bad + other, 2.4 * total / (2.4 * total + others))
    if noise > 0.06 and (within or twice_the_share < 0.002):
        assert status is Status.PASS


@given(st.integers(0, 80), st.integers(0, 3000), st.floats(0.001, 0.6))
def test_the_chance_of_a_tail_is_scipy_s(bad: int, total: int, share: float) -> None:
    found = tail(bad, total, share)
    exact = binom.sf(bad - 1, total, share)
    close = poisson.sf(bad - 1, total * share) if total > 2000 and total * share < 200 else exact
    assert found == pytest.approx(close, abs=0.01)
