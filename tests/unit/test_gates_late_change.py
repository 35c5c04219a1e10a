"""Errors that begin late in a stage are seen, and a healthy canary is not held for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from gates_samples import INPUTS, KEY, NOW, by_law

from tarsrelease.gates.stats.late_change import STARTS, log_evidence
from tarsrelease.gates.stats.sequential_test import log_evidence_above
from tarsrelease.model.checks import ProportionCheck
from tarsrelease.model.measurement import Counts
from tarsrelease.model.outcome import Check, Status

LIMIT = 0.015
RULE = ProportionCheck(kind="proportion", id="a.errors", sli="e", below=LIMIT)
LOOKS, TICK, RATE = 120, 5.0, 20.0


def ends(bad: np.ndarray, total: np.ndarray, starts: bool = True) -> Check:
    """The check at the end of a stage of ten minutes with an extension of the same length."""
    sums = list(zip(bad.cumsum().tolist(), total.cumsum().tolist(), strict=True))
    grid = sums[:-1][:: 2 * LOOKS // STARTS + 1] if starts else []
    seen = replace(
        INPUTS,
        counts={"e": {KEY: Counts(*sums[-1], NOW - 1)}},
        starts={("e", *KEY): grid},
    )
    return by_law(RULE, seen)


def stage(seed: int, share: float, late: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    total = rng.poisson(RATE * TICK, LOOKS)
    chance = np.full(LOOKS, share)
    if late is not None:
        chance[round(0.9 * LOOKS) :] = late
    return rng.binomial(total, chance).astype(float), total.astype(float)


def test_ten_percent_errors_in_the_last_tenth_do_not_pass() -> None:
    found = [ends(*stage(seed, 0.001, 0.1)).status for seed in range(200)]
    assert sum(status is not Status.PASS for status in found) >= 190
    assert Status.FAIL in found


def test_without_the_later_bets_they_passed() -> None:
    found = [ends(*stage(seed, 0.001, 0.1), starts=False).status for seed in range(20)]
    assert set(found) == {Status.PASS}


def test_a_healthy_canary_is_not_held_for_it() -> None:
    found = [ends(*stage(seed, LIMIT / 2)).status for seed in range(300)]
    assert set(found) == {Status.PASS}


def test_the_capital_of_a_limit_that_is_kept_does_not_grow() -> None:
    rng = np.random.default_rng(7)
    bad = rng.binomial(50, LIMIT, (20_000, 12)).cumsum(axis=1)
    total = 50.0 * np.arange(1, 13)
    reached = sum(
        any(
            log_evidence([*zip(row[:at], total[:at], strict=True)], row[at], total[at], LIMIT) > 3
            for at in (5, 11)
        )
        for row in bad[:1500].tolist()
    )
    assert reached / 1500 <= np.exp(-3)


def test_without_moments_it_is_the_bet_on_the_whole() -> None:
    assert log_evidence((), 5, 100, LIMIT) == log_evidence_above(5, 100, LIMIT)
