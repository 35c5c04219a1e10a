"""Releases to several targets at random: whatever goes wrong, the invariants hold.

A failure names its seed: python tests/simulation/random_fleet.py SEED plays it again.
"""

from __future__ import annotations

from typing import Any

import pytest
from conductor import Process
from fleet_bugs import BUGS, FOUND_BY
from fleet_invariants import violations
from random_fleet import Fleet, FleetStory, large_fleet, random_fleet
from random_release import coarse
from world import NEW, OLD

WAVES: list[dict[str, Any]] = [{"targets": ["t1"], "bake": "20s"}, {"targets": ["t2"]}]


def _held(seeds: range) -> None:
    wrong = {seed: found for seed in seeds if (found := violations(random_fleet(seed)))}
    assert not wrong


def test_invariants_hold_whatever_goes_wrong() -> None:
    _held(range(12))


def test_a_contract_that_is_refused_meanwhile_is_not_the_end_of_the_release() -> None:
    _held(range(759, 760))


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(10))
def test_invariants_hold_in_many_more_fleets(part: int) -> None:
    _held(range(100 * part, 100 * (part + 1)))


def test_a_release_to_thirty_targets_reaches_them_although_some_have_faults() -> None:
    story = large_fleet(1, 30, parallel=16)
    assert violations(story) == []
    assert story.codes[-1] == 0


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("bad", [False, True])
def test_invariants_hold_with_a_thousand_targets(bad: bool) -> None:
    story = large_fleet(1, 1000, bad=bad)
    assert violations(story) == []
    assert (11 if bad else 0) in story.codes
    serving = {
        version
        for target in list(story.targets.values())[100:]
        for version in {pod.version for pod in target.cluster.world.running()}
    }
    assert serving == ({OLD} if bad else {NEW})


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
