"""How often whole releases go wrong, and how soon a bad one is found: fixed seeds, counts alone.

The big matrix is marked `full`; the table in docs/detection.md is made by benchmarks/gates_table.py
from the same world.
"""

from __future__ import annotations

import numpy as np
import pytest
from law_world import (
    ALPHA,
    BUDGET,
    KINDS,
    OURS,
    PATIENCE,
    STEADY,
    SUBJECT,
    THEIRS,
    TICK,
    Bursts,
    first_failure,
    inputs,
    naive,
    rules,
    sides,
    suspicious,
    taken_back,
)
from scipy.stats import binom

from tarsrelease.gates.checks import JUDGES
from tarsrelease.gates.protection import protection
from tarsrelease.gates.stats.sequential_test import log_evidence_above
from tarsrelease.model.checks import CompareCheck, ProportionCheck
from tarsrelease.model.outcome import Status

RATES = (0.0001, 0.001, 0.005, 0.05)
TRAFFIC = (1, 20, 300, 5000)
"""Requests of a service in each tick of 5 s."""


def within_budget(back: int, releases: int, budget: float = BUDGET) -> bool:
    """Whether so many may come from a chance of at most the budget (one in 1 000 would not)."""
    return bool(binom.sf(back - 1, releases, budget) > 1e-3)


RARE = "incidents on both sides, every twenty minutes"
SEEN_ON_STABLE = (
    "incidents on both sides, every two minutes",
    "uneven pods (beta-binomial, correlation 0.5 %)",
)


def played(
    releases: int, per_tick: float, rate: float, bursts: Bursts, seed: int, every: int = 1
) -> list[str]:
    rng = np.random.default_rng(seed)
    found = (taken_back(rng, per_tick, rate, bursts, every=every) for _ in range(releases))
    return [why for why in found if why is not None]


@pytest.mark.parametrize(
    ("rate", "per_tick"), [(0.0001, 5000), (0.005, 300), (0.05, 20), (0.05, 1)]
)
def test_healthy_releases_are_not_taken_back(rate: float, per_tick: int) -> None:
    assert played(8, per_tick, rate, STEADY, seed=1) == []


@pytest.mark.full
@pytest.mark.parametrize("per_tick", TRAFFIC)
@pytest.mark.parametrize("rate", RATES)
def test_healthy_releases_stay_within_the_budget(rate: float, per_tick: int) -> None:
    back = played(200, per_tick, rate, STEADY, seed=2)
    assert within_budget(len(back), 200), back


@pytest.mark.full
@pytest.mark.parametrize("per_tick", TRAFFIC)
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("kind", SEEN_ON_STABLE)
def test_bursts_take_back_few(kind: str, rate: float, per_tick: int) -> None:
    """Bursts that five minutes of stable show: at most one in twenty, of the naive law up to most.

    Rare incidents and unequal packs are not among them: docs/detection.md says what remains.
    """
    back = played(20, per_tick, rate, KINDS[kind], seed=3, every=3)
    assert within_budget(len(back), 20, 0.05), back


@pytest.mark.full
def test_an_incident_that_strikes_both_sides_is_no_proof_while_stable_has_traffic() -> None:
    """What remains of rare incidents falls on the last stage, where stable shows nothing."""
    back = played(10, 300, 0.005, KINDS[RARE], seed=4, every=3)
    assert all(why.endswith("100 %") for why in back), back


@pytest.mark.parametrize("seed", [2, 3, 7])
def test_an_incident_late_in_the_last_stage_protects_nobody(seed: int) -> None:
    """Stable's past has such incidents; how large they are here goes with all of the traffic."""
    rng, rule = np.random.default_rng(seed), rules(0.001)["error_rate"]
    assert isinstance(rule, ProportionCheck)
    canary, stable = sides(rng, 5000, 1.0, 0.5, 0.001, KINDS[RARE])
    bad, total = canary.since_the_shift()
    looks = [
        look
        for look in range(8, len(bad))
        if bad[look] - bad[look - 8] > 0.015 * (total[look] - total[look - 8])
    ]
    assert looks
    for look in looks:
        seen = inputs(canary, stable, look, tempered=True)
        assert protection(rule, SUBJECT, seen, 0.001) is None


def test_bursts_would_take_back_most_if_they_were_not_told_from_stable() -> None:
    rng, packs = np.random.default_rng(5), KINDS["packs of 20 errors (geometric)"]
    naively = [taken_back(rng, 5000, 0.005, packs, tempered=False) for _ in range(4)]
    assert all(naively)


def test_looks_that_are_told_apart_beforehand_are_those_that_could_fail() -> None:
    """The shortcut of law_world is the formula of the gates, for each rule."""
    rng = np.random.default_rng(6)
    canary, stable = sides(rng, 300, 0.25, 0.1, 0.02, STEADY, worse=2.0, looks=60)
    for rule in rules(0.01).values():
        shortcut = set(suspicious(rule, canary.since_the_shift(), stable.since_the_shift()))
        for look in range(60):
            seen = inputs(canary, stable, look, tempered=False)
            failed = JUDGES[rule.kind](rule, SUBJECT, seen, PATIENCE).status is Status.FAIL
            assert not failed or look in shortcut
    bad, total = canary.since_the_shift()
    for look in (0, 10, 59):
        expected = log_evidence_above(bad[look], total[look], 0.02)
        assert naive(bad, total, 0.02)[look] == pytest.approx(expected)
    assert pytest.approx(0.01 / 105) == ALPHA
    assert OURS != THEIRS


# Detection

ERRORS = ProportionCheck(kind="proportion", id="a.errors", sli="e", below=0.01)
COMPARE = CompareCheck(kind="compare", id="a.compare", sli="e")


def found_after(
    rule: ProportionCheck | CompareCheck, weight: float, worse: float, runs: int, seed: int
) -> list[float]:
    """Seconds to the rollback at 500 requests a second, 0.5 % errors; infinite where none."""
    rng, seconds = np.random.default_rng(seed), []
    for _ in range(runs):
        pair = sides(rng, 500 * TICK, weight, 0.0, 0.005, STEADY, worse)
        look = first_failure(rule, *pair)
        seconds.append(float("inf") if look is None else TICK * (look + 1))
    return seconds


@pytest.mark.parametrize("weight", [0.01, 0.1, 0.5])
def test_a_canary_that_only_fails_is_found_at_the_first_scrape(weight: float) -> None:
    assert set(found_after(ERRORS, weight, 200.0, 20, seed=1)) == {TICK}


@pytest.mark.parametrize("rate", [50.0, 100.0])
def test_with_little_traffic_it_is_found_as_soon_as_there_are_enough_requests(rate: float) -> None:
    """At 1 % of 50 and 100 requests a second: 2.5 and 5 requests a scrape; five prove it."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        canary, stable = sides(rng, rate * TICK, 0.01, 0.0, 0.005, STEADY, 200.0)
        look = first_failure(ERRORS, canary, stable)
        enough = int(np.argmax(canary.since_the_shift()[0] >= 5))
        assert look is not None
        assert look <= enough


def test_a_doubling_from_half_a_percent_is_found_within_a_stage() -> None:
    """At 10 % of 500 requests a second, in at least 95 of 100 runs."""
    seconds = found_after(COMPARE, 0.1, 2.0, 100, seed=3)
    assert sum(each <= 600 for each in seconds) >= 95
    assert np.median(seconds) < 300
