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


def dies(day: Day, number: int, when: str, *step: str) -> str | None:
    """Run a step until its entry NUMBER; what the entry is, None if the step has fewer."""
    python, _, _, *arguments = day.command(*step)
    program = str(Path(__file__).parent / "die_at_journal.py")
    done = day.cluster.run([python, program, str(number), when, *arguments], timeout=300)
    reached = re.findall(r"^boundary (\d+) (\w+): (.*)$", done.stderr, re.MULTILINE)
    assert reached, done.stderr
    if done.returncode != 137 and done.returncode != -9:
        assert int(reached[-1][0]) < number, done.stderr
        return None
    assert reached[-1][:2] == (str(number), when)
    print(f"killed {when} {reached[-1][2]}", file=sys.stderr)
    return str(reached[-1][2])


def each_boundary(day: Day, when: str, before: Sequence[Step], step: Step) -> Iterator[str]:
    """Yields after the step was killed at an entry and run again, for each of its entries.

    Each time from a new installation of 1.0.0 and the steps before, under load.
    """
    for number in count(1):
        day.install()
        with day.load(400.0):
            for each in before:
                day.tarsrelease(*each)
            found = dies(day, number, when, *step)
            if found is None:
                return
            assert day.tarsrelease(*step)["verdict"] == "proceed"
            yield found
            day.assert_no_client_noticed()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deployment(day: Day, when: str) -> None:
    found = []
    for entry in each_boundary(day, when, (), DEPLOY):
        found.append(entry)
        assert day.canary_weights() == [0, 0, 0]
        assert day.versions() == {"1.0.0", "1.0.1"}
    assert found == [
        "canary deploy deploy intent",
        "deployed shift intent",
        "deployed shift result",
        "canary deploy deploy result",
    ]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_stage(day: Day, when: str) -> None:
    found = []
    for entry in each_boundary(day, when, (DEPLOY,), GATE):
        found.append(entry)
        assert day.canary_weights() == [100, 100, 100]
    assert found == [
        "canary-100 skip result",
        "canary-100 gate intent",
        "canary-100 shift intent",
        "canary-100 shift result",
        "canary-100 gate result",
    ]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_promotion(day: Day, when: str) -> None:
    found = []
    for entry in each_boundary(day, when, (DEPLOY, GATE), ("promote",)):
        found.append(entry)
        assert day.versions() == {"1.0.1"}
        day.assert_nothing_of_the_canary_is_left()
    assert found == [
        "promote promote intent",
        "promote-50 shift intent",
        "promote-50 shift result",
        "promote-0 shift intent",
        "promote-0 shift result",
        "promote promote result",
    ]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_rollback(day: Day, when: str) -> None:
    found = []
    for entry in each_boundary(day, when, (DEPLOY, GATE), ("rollback",)):
        found.append(entry)
        assert day.versions() == {"1.0.0"}
        day.assert_nothing_of_the_canary_is_left()
    assert len(found) == 3
    assert found[-1] == "rollback rollback result"
