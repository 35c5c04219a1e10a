"""Each step dies at each entry that it appends to the journal, and is run again."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest
import yaml
from tars_day import Day

from tarsrelease.rehearsal.commands import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(1800)]

DEPLOY = ("canary", "deploy")
GATE = ("canary", "gate", "--stage", "100", "--skip-stages", "a test")

Step = tuple[str, ...]


@pytest.fixture
def day(cluster: Cluster, tmp_path: Path) -> Day:
    """With stages and evaluations of a few seconds: what they decide is tested elsewhere."""
    day = Day(cluster, tmp_path)
    content = yaml.safe_load(day.environment.read_text())
    content["overrides"] |= {
        "stage_duration": "5s",
        "promotion_look": "3s",
        "promotion_bake": "2s",
        "confidence": "20%",
    }
    day.environment.write_text(yaml.safe_dump(content))
    return day


def dies(day: Day, entry: int | str, when: str, *step: str) -> str | None:
    """Run a step until this entry; which entry it is, None if the step has ended without it."""
    python, _, _, *arguments = day.command(*step)
    program = str(Path(__file__).parent / "die_at_journal.py")
    done = day.cluster.run([python, program, str(entry), when, *arguments], timeout=300)
    reached = re.findall(r"^boundary (\d+) (\w+): (.*)$", done.stderr, re.MULTILINE)
    if done.returncode not in (137, -9):
        assert done.returncode == 0, done.stderr
        return None
    print(f"killed {when} {reached[-1][2]}", file=sys.stderr)
    assert reached[-1][1] == when
    return str(reached[-1][2])


def each_boundary(day: Day, before: Sequence[Step], step: Step) -> Iterator[str]:
    """Yields after the step was killed at an entry and run again: before and after each entry.

    Each time from a new installation of 1.0.0 and the steps before, under load.
    """
    for number in count(1):
        for when in ("before", "after"):
            day.install()
            with day.load(400.0):
                for each in before:
                    day.tarsrelease(*each)
                found = dies(day, number, when, *step)
                if found is None:
                    return
                assert day.tarsrelease(*step)["verdict"] == "proceed"
                yield f"{when} {found}"
                day.assert_no_client_noticed()


def test_a_deployment(day: Day) -> None:
    found = []
    for boundary in each_boundary(day, (), DEPLOY):
        found.append(boundary)
        assert day.canary_weights() == [0, 0, 0]
        assert day.versions() == {"1.0.0", "1.0.1"}
    assert found == both_sides_of(
        "canary deploy deploy intent",
        "deployed shift intent",
        "deployed shift result",
        "canary deploy deploy result",
    )


def both_sides_of(*entries: str) -> list[str]:
    return [f"{when} {entry}" for entry in entries for when in ("before", "after")]


def test_a_stage(day: Day) -> None:
    found = []
    for boundary in each_boundary(day, (DEPLOY,), GATE):
        found.append(boundary)
        assert day.canary_weights() == [100, 100, 100]
    assert found == both_sides_of(
        "canary-100 skip result",
        "canary-100 gate intent",
        "canary-100 shift intent",
        "canary-100 shift result",
        "canary-100 gate result",
    )


def test_a_rollback(day: Day) -> None:
    found = []
    for boundary in each_boundary(day, (DEPLOY, GATE), ("rollback",)):
        found.append(boundary)
        assert day.versions() == {"1.0.0"}
        day.assert_nothing_of_the_canary_is_left()
    assert found == both_sides_of(
        "off take-off result", "rollback rollback intent", "rollback rollback result"
    )


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_promotion_that_is_killed_at_each_entry_in_turn(day: Day, when: str) -> None:
    """One promotion, run again after each kill: none of them ends it in another way."""
    day.install()
    with day.load(400.0):
        day.tarsrelease(*DEPLOY)
        day.tarsrelease(*GATE)
        for entry in (
            "promote-promote-intent",
            "promote-50-shift-intent",
            "promote-50-shift-result",
            "promote-0-shift-intent",
            "promote-0-shift-result",
            "promote-promote-result",
        ):
            assert dies(day, entry, when, "promote"), entry
            assert day.versions() <= {"1.0.0", "1.0.1"}
        assert day.tarsrelease("promote")["verdict"] == "proceed"
        assert day.versions() == {"1.0.1"}
        day.assert_nothing_of_the_canary_is_left()
        day.assert_no_client_noticed()
        day.tarsrelease("rollback")
        assert day.versions() == {"1.0.0"}
        day.assert_nothing_of_the_canary_is_left()
        day.assert_no_client_noticed()
