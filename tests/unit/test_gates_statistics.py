"""Numbers of requests, and proof that holds at any number of looks."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import binom

from tarsrelease.gates.stats.sequential_test import (
    _ODDS_BELOW,
    ODDS_ABOVE,
    log_evidence_above,
    log_evidence_below,
    proof_needs,
    required_requests,
)


@pytest.mark.parametrize(
    ("limit", "requests"),
    [(0.02, 149), (0.015, 199), (0.01, 299), (0.005, 598), (0.001, 2995)],
)
def test_the_requests_that_the_design_names(limit: float, requests: int) -> None:
    assert required_requests(limit, 0.95) == requests


@given(st.floats(1e-5, 0.5), st.floats(0.5, 0.999))
def test_required_requests_are_the_fewest_that_tell(limit: float, confidence: float) -> None:
    needed = required_requests(limit, confidence)
    slack = 1e-9
    assert binom.pmf(0, needed, limit) <= 1 - confidence + slack
    assert needed == 1 or binom.pmf(0, needed - 1, limit) > 1 - confidence - slack


@pytest.mark.parametrize("limit", [0.001, 0.015, 0.05, 0.5])
@pytest.mark.parametrize(
    ("bad", "total"), [(0, 0), (0, 1), (5, 5), (3, 200), (40, 1000), (900, 1000)]
)
def test_evidence_is_the_mean_of_binomial_likelihood_ratios(
    limit: float, bad: int, total: int
) -> None:
    for function, grid in ((log_evidence_above, ODDS_ABOVE), (log_evidence_below, _ODDS_BELOW)):
        odds = np.array(grid) * limit / (1 - limit)
        ratios = binom.logpmf(bad, total, odds / (1 + odds)) - binom.logpmf(bad, total, limit)
        expected = logsumexp(ratios) - log(len(grid))
        assert function(bad, total, limit) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_five_of_five_is_proof_and_two_of_two_is_not() -> None:
    needs = proof_needs(1.3e-4)
    assert log_evidence_above(5, 5, 0.015) >= needs
    assert log_evidence_above(2, 2, 0.015) < needs


def test_a_doubled_error_rate_is_found_within_some_thousand_requests() -> None:
    rng = np.random.default_rng(7)
    needs, found = proof_needs(1.3e-4), []
    for _ in range(200):
        bad = np.cumsum(rng.random(20_000) < 0.03)
        looks = range(25, 20_001, 25)
        found.append(next(n for n in looks if log_evidence_above(bad[n - 1], n, 0.015) >= needs))
    assert np.median(found) < 2500
    assert np.quantile(found, 0.95) < 6000


def compatible(alarms: int, stages: int, alpha: float) -> bool:
    """Whether so many alarms may come from a chance of at most alpha (one in 10 000 would not)."""
    return bool(binom.sf(alarms - 1, stages, alpha) > 1e-4)


@pytest.mark.parametrize(("alpha", "limit"), [(0.05, 0.015), (0.01, 0.015), (0.05, 0.05)])
def test_false_alarms_stay_below_alpha_over_any_number_of_looks(alpha: float, limit: float) -> None:
    """At the limit itself, the worst case of the null hypothesis, with a look every 5 requests.

    Ville's bound is for infinitely many looks; 600 are made here, in 2 000 stages.
    """
    rng = np.random.default_rng(20261123)
    stages, alarms = 2000, 0
    looks = np.arange(5, 3001, 5)
    for _ in range(stages):
        bad = np.cumsum(rng.random(3000) < limit)[looks - 1]
        # Evidence only rises with a bad request, so looks without one need not be computed.
        news = np.flatnonzero(np.diff(bad, prepend=0))
        alarms += any(
            log_evidence_above(float(bad[i]), float(looks[i]), limit) >= proof_needs(alpha)
            for i in news
        )
    assert compatible(alarms, stages, alpha)
    assert alarms > 0, "a test that never alarms at its own limit has no power to show"


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_false_reassurance_stays_below_alpha_too(alpha: float) -> None:
    rng = np.random.default_rng(3)
    limit, stages, wrong = 0.02, 2000, 0
    looks = np.arange(10, 1501, 10)
    for _ in range(stages):
        bad = np.cumsum(rng.random(1500) < limit)[looks - 1]
        wrong += any(
            log_evidence_below(float(b), float(n), limit) >= proof_needs(alpha)
            for b, n in zip(bad, looks, strict=True)
        )
    assert wrong > 0
    assert compatible(wrong, stages, alpha)


@given(st.integers(0, 2000), st.integers(0, 2000), st.floats(1e-4, 0.6))
def test_a_bad_request_never_lowers_the_evidence_of_a_bad_canary(
    bad: int, good: int, limit: float
) -> None:
    total = bad + good
    one_more = log_evidence_above(bad + 1, total + 1, limit)
    assert one_more >= log_evidence_above(bad, total, limit) - 1e-9
    assert log_evidence_above(bad, total + 1, limit) <= log_evidence_above(bad, total, limit) + 1e-9
    if good:
        assert log_evidence_above(bad + 1, total, limit) >= log_evidence_above(bad, total, limit)


@pytest.mark.parametrize("limit", [0.0, 1.0, -0.1])
def test_a_limit_outside_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="strictly between"):
        log_evidence_above(1, 2, limit)
    with pytest.raises(ValueError, match="strictly between"):
        required_requests(limit, 0.95)


def test_more_bad_than_all_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and their total"):
        log_evidence_above(3, 2, 0.1)
