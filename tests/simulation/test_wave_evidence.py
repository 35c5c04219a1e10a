"""Targets of a wave prove together what none of them has the traffic to prove."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_gate import SHORT, canaries, failing
from world import World, context, release

from tarsrelease.model.outcome import Outcome, Status, Verdict
from tarsrelease.operations.wave_evidence import WaveEvidence
from tarsrelease.steps.canary_gate import gate

TARGETS = 6
SLIGHTLY = 0.026
"""Errors beyond the limit of 1.5 % that a stage of a minute does not prove at one target."""


def played(seed: int, share: float, wave: WaveEvidence) -> Outcome:
    """One stage at one target, whose canary fails this share of its requests."""
    world = canaries(World(seed=seed).populate(), failing(share))
    there = context(world, release(SHORT))
    metrics = replace(there.metrics, others=wave.at(f"target-{seed}"))
    return gate(replace(there, metrics=metrics), 10)


def together(outcome: Outcome) -> list[str]:
    """The reasons of checks that failed only together with other targets."""
    return [
        check.reason
        for check in outcome.checks
        if check.status is Status.FAIL and "together with" in check.reason
    ]


@pytest.fixture
def wave() -> WaveEvidence:
    return WaveEvidence(TARGETS, 1)


def test_many_slightly_bad_targets_are_found_together(wave: WaveEvidence) -> None:
    outcomes = (played(seed, SLIGHTLY, wave) for seed in range(TARGETS))
    number, found = next(
        (number, each) for number, each in enumerate(outcomes) if each.verdict is Verdict.ROLLBACK
    )
    assert any(f"with {number} other targets of the wave" in reason for reason in together(found))
    alone = played(number, SLIGHTLY, WaveEvidence(TARGETS, 1))
    assert alone.verdict is Verdict.HOLD


def test_healthy_targets_proceed_together(wave: WaveEvidence) -> None:
    for seed in range(TARGETS):
        assert played(seed, 0.001, wave).verdict is Verdict.PROCEED


def test_a_healthy_target_is_not_blamed_for_bad_ones(wave: WaveEvidence) -> None:
    for seed in range(1, TARGETS + 4):
        played(seed, SLIGHTLY, wave)
    healthy = played(0, 0.0, wave)
    assert healthy.verdict is Verdict.PROCEED
    assert together(healthy) == []


def test_one_bad_target_is_found_among_good_ones(wave: WaveEvidence) -> None:
    for seed in range(1, TARGETS):
        played(seed, 0.001, wave)
    outcome = played(0, 1.0, wave)
    assert outcome.verdict is Verdict.ROLLBACK
