"""Releases to several targets at random: whatever goes wrong, the invariants hold.

A failure names its seed: python tests/simulation/random_fleet.py SEED plays it again.
"""

from __future__ import annotations

from typing import Any

import pytest
from conductor import Process
from fleet_bugs import BUGS, FOUND_BY
from fleet_invariants import violations
from random_fleet import Fleet, FleetStory, random_fleet
from random_release import coarse

WAVES: list[dict[str, Any]] = [{"targets": ["t1"], "bake": "20s"}, {"targets": ["t2"]}]


def _held(seeds: range) -> None:
    wrong = {seed: found for seed in seeds if (found := violations(random_fleet(seed)))}
    assert not wrong


def test_invariants_hold_whatever_goes_wrong() -> None:
    _held(range(12))


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(10))
def test_invariants_hold_in_many_more_fleets(part: int) -> None:
    _held(range(100 * part, 100 * (part + 1)))


@pytest.mark.parametrize("bug", BUGS)
def test_a_seeded_bug_is_found(bug: str) -> None:
    with BUGS[bug]():
        assert violations(random_fleet(FOUND_BY[bug]))


def _killed(name: str, call: int) -> FleetStory:
    """A run that is killed at a call of one cluster, and run again until it ends."""
    fleet = Fleet(WAVES, seed=call, database=True)

    def again(process: Process) -> None:
        if process.code != 0:
            fleet.start("run", fleet.release_all, 60.0, on_end=again)

    with coarse():
        fleet.start("run", fleet.release_all, kill=(name, call), on_end=again)
        return fleet.play()


def _survives(name: str, call: int) -> None:
    story = _killed(name, call)
    story.undisturbed = False
    assert violations(story) == []
    assert story.codes[-1] == 0


@pytest.mark.parametrize("call", [3, 60])
@pytest.mark.parametrize("name", ["t1", "t2"])
def test_a_runner_that_is_killed_is_continued_by_the_next(name: str, call: int) -> None:
    _survives(name, call)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["t1", "t2"])
def test_a_runner_may_be_killed_at_every_call(name: str) -> None:
    for call in range(1, 160):
        _survives(name, call)
