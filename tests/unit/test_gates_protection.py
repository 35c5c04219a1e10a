"""When users are protected: large and unlikely, whatever stable had earlier; seldom needlessly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gates_samples import API, INPUTS, KEY, NOW
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from tarsrelease.gates.protection import protection, without_worst
from tarsrelease.gates.stats.bursts import Burstiness, Ticks, burstiness
from tarsrelease.gates.stats.pass_side import log_tail
from tarsrelease.model.checks import CompareCheck, ProportionCheck
from tarsrelease.model.measurement import Counts, Track

LIMIT = ProportionCheck(kind="proportion", id="a.errors", sli="e", below=0.015)
COMPARE = CompareCheck(kind="compare", id="a.compare", sli="e")
CHANCE = 1e-3


def past(incident: int = 0, share: float = 0.001, ticks: int = 400) -> Burstiness:
    """Two pods of stable; the first one failed everything for so many ticks, some time ago."""
    rng = np.random.default_rng(3)
    pods = {}
    for name in ("one", "other"):
        bad = rng.binomial(750, share, ticks).astype(float)
        if name == "one":
            bad[100 : 100 + incident] = 750.0
        pods[name] = [(b, 750.0) for b in bad.tolist()]
    found = burstiness(Ticks(15.0, pods))
    assert found is not None
    return found


def why(
    rule: ProportionCheck | CompareCheck,
    ours: tuple[float, float],
    theirs: tuple[float, float] = (20, 20_000),
    known: Burstiness | None = None,
) -> str | None:
    counts = {KEY: Counts(*ours, NOW), ("api", Track.STABLE): Counts(*theirs, NOW)}
    seen = replace(INPUTS, counts={"e": counts}, elapsed=15.0)
    if known is not None:
        seen = replace(seen, bursts=lambda _sli, _service: [known])
    return protection(rule, API, seen, CHANCE)


@pytest.mark.parametrize("incident", [1, 4, 20])
def test_an_incident_of_the_past_is_no_shield(incident: int) -> None:
    assert why(LIMIT, (15, 15), known=past(incident)) is not None
    assert why(LIMIT, (150, 750), known=past(incident)) is not None
    assert why(COMPARE, (8, 100), known=past(incident)) is not None


@pytest.mark.parametrize("rule", [LIMIT, COMPARE])
def test_stable_that_fails_at_the_same_time_protects_nobody(
    rule: ProportionCheck | CompareCheck,
) -> None:
    assert why(rule, (300, 1000), (3000, 10_000)) is None


def test_a_canary_like_stable_is_not_protected() -> None:
    assert why(LIMIT, (1, 1000), known=past()) is None
    assert why(COMPARE, (3, 1000), known=past()) is None


def test_what_is_beyond_the_limit_but_not_large_is_left_to_proof() -> None:
    assert why(LIMIT, (100, 1000)) is None


def test_one_bad_request_protects_nobody() -> None:
    assert why(LIMIT, (1, 1)) is None
    assert why(COMPARE, (1, 1)) is None


@pytest.mark.parametrize("chance", [0.001, 0.01, 0.05])
def test_needless_protection_stays_within_its_chance(chance: float) -> None:
    """Bad requests that come as often as is just acceptable, asked after each of them."""
    rng = np.random.default_rng(1)
    runs, few = 20_000, 40
    arrivals = rng.exponential(1.0, (runs, few)).cumsum(axis=1)
    numbers = np.arange(1, few + 1)
    parts = np.log(chance) - (numbers - 1) * np.log(2)
    early = poisson.logsf(numbers - 1, arrivals) <= parts
    early[:, 0] = False
    assert early.any(axis=1).mean() <= chance + 3 * np.sqrt(chance / runs)


@given(st.integers(1, 200), st.floats(0.001, 100.0))
def test_the_log_of_a_tail_is_scipy_s_or_above(least: int, mean: float) -> None:
    exact = float(poisson.logsf(least - 1, mean))
    assert log_tail(least, mean) >= exact - 1e-6
    if mean < least <= 30:
        assert log_tail(least, mean) == pytest.approx(exact, abs=1e-3)


@given(st.integers(0, 300), st.integers(1, 20), st.integers(2, 3))
def test_only_the_worst_episode_is_left_out(begin: int, length: int, pods: int) -> None:
    whole = {
        str(pod): [(9.0 if begin <= at < begin + length else 0.0, 10.0) for at in range(330)]
        for pod in range(pods)
    }
    rest = without_worst(Ticks(15.0, whole))
    assert all(len(each) >= 330 - 22 for each in rest.by_pod.values())
    assert sum(bad for pod in rest.by_pod.values() for bad, _ in pod) == 0


def test_zero_switches_protection_off() -> None:
    counts = {"e": {KEY: Counts(900, 1000, NOW)}}
    seen = replace(INPUTS, counts=counts)
    assert protection(LIMIT, API, seen, CHANCE) is not None
    assert protection(LIMIT, API, seen, 0.0) is None


def test_stable_without_requests_is_no_shield_of_a_limit() -> None:
    seen = replace(INPUTS, counts={"e": {KEY: Counts(50, 100, NOW)}}, elapsed=15.0)
    assert protection(LIMIT, API, seen, CHANCE) is not None
    assert protection(COMPARE, API, seen, CHANCE) is None
