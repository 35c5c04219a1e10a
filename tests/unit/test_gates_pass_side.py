"""An honest pass: how often a canary at twice a limit passes, over all evaluations of a stage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gates_samples import INPUTS, KEY, NOW, by_law
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tarsrelease.gates.stats.pass_side import passes, requests_to_pass, required_at
from tarsrelease.gates.stats.sequential_test import required_requests
from tarsrelease.model.checks import ProportionCheck
from tarsrelease.model.measurement import Counts
from tarsrelease.model.outcome import Status

ERROR = 0.05


def passed(limit: float, times: float, stages: int, seed: int, evaluations: int = 240) -> float:
    """The share of stages that pass from the required sample on, asked again after every tenth of
    it (an extension of the same length as the stage)."""
    rng = np.random.default_rng(seed)
    needed = required_requests(limit, 0.95)
    requests = np.full(evaluations, max(1, needed // 10))
    requests[0] = needed
    totals = requests.cumsum()
    bad = rng.binomial(requests, min(0.99, times * limit), (stages, evaluations)).cumsum(axis=1)
    most = np.array([most_bad(total, limit) for total in totals])
    return float((bad <= most).any(axis=1).mean())


def most_bad(total: float, limit: float) -> int:
    bad = -1
    while requests_to_pass(bad + 1, limit, ERROR) <= total:
        bad += 1
    return bad


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.05, 0.1])
def test_a_canary_at_twice_the_limit_seldom_passes(limit: float) -> None:
    """17 of 100 passed where the estimate alone decided."""
    assert passed(limit, 2.0, 4000, seed=1) <= ERROR


@pytest.mark.parametrize("error", [0.01, 0.05, 0.1, 0.2])
def test_the_computed_chance_stays_within_the_error(error: float) -> None:
    assert passes(2.0, error) <= error


def test_the_computed_chance_is_that_of_simulated_stages() -> None:
    simulated = passed(0.01, 2.0, 20_000, seed=2, evaluations=120)
    assert passes(2.0, ERROR) == pytest.approx(simulated, abs=0.01)


def test_a_canary_at_half_the_limit_still_passes() -> None:
    assert passed(0.01, 0.5, 2000, seed=3) > 0.98


@given(st.integers(0, 60), st.floats(0.001, 0.3))
def test_what_passes_is_unlikely_at_twice_the_limit(bad: int, limit: float) -> None:
    needed = requests_to_pass(bad, limit, ERROR)
    assert bad / needed < limit
    assert binom.cdf(bad, needed, min(0.999, 2 * limit)) <= 0.015


@given(st.integers(0, 40), st.floats(0.002, 0.2), st.integers(10, 6000))
def test_the_check_says_how_many_requests_it_takes(bad: int, limit: float, total: int) -> None:
    rule = ProportionCheck(kind="proportion", id="a.e", sli="e", below=limit)
    needed = max(requests_to_pass(bad, limit, ERROR), required_requests(limit, 0.95))
    for requests in {max(bad, total), needed}:
        counts = {"e": {KEY: Counts(bad, requests, NOW - 1)}}
        found = by_law(rule, replace(INPUTS, counts=counts))
        assert (found.status is Status.PASS) is (requests >= needed)


def test_the_sample_that_a_canary_like_stable_needs_grows_with_stable_s_errors() -> None:
    needs = [required_at(share, 0.01, ERROR) for share in (0.0, 0.001, 0.005, 0.008, 0.01)]
    assert needs == sorted(needs)
    assert needs[0] <= required_requests(0.01, 0.95)
    assert needs[-1] == float("inf")
