"""Durations and stages: the same forms wherever people write them."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.actions import kinds
from tarsrelease.cli.commands.canary import canary
from tarsrelease.cli.commands.rehearse import rehearse
from tarsrelease.cli.commands.run import run
from tarsrelease.model.base import Seconds, Value
from tarsrelease.model.format import duration
from tarsrelease.model.quantities import DURATION, parse_seconds, parse_stage, parse_stages
from tarsrelease.rollout import schedule


class Config(Value):
    """A model with a duration, as rollout.yaml and the environment have them."""

    duration: Seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3m30s", 210.0),
        ("1h30m", 5400.0),
        ("10m", 600.0),
        ("90s", 90.0),
        ("0.5h", 1800.0),
        ("250ms", 0.25),
        ("1d2h", 93600.0),
        ("1m 30s", 90.0),
        ("10 m", 600.0),
    ],
)
def test_a_duration(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds
    assert kinds.DURATION.problem(text) is None
    assert Config.model_validate({"duration": text}).duration == seconds
    pattern = Config.model_json_schema()["properties"]["duration"]["pattern"]
    assert re.search(pattern, text)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "10", "m", "30s3m", "3m3m", "1:30", "10 minutes", "-5m", "+5m", "5M", "1e3s"),
        *("\u0661\u0660m", "10m\n", " 10m", "10m ", "ms", "inf", "1.m", ".5m", "9" * 99),
    ],
)
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="one of the units"):
        parse_seconds(text)
    assert kinds.DURATION.problem(text) is not None


@given(st.lists(st.integers(0, 10_000), min_size=5, max_size=5))
def test_a_duration_is_the_sum_of_its_parts(numbers: list[int]) -> None:
    units = ("d", "h", "m", "s", "ms")
    parts = [f"{number}{unit}" for number, unit in zip(numbers, units, strict=True)]
    assert re.fullmatch(DURATION, "".join(parts))
    assert parse_seconds("".join(parts)) == pytest.approx(sum(map(parse_seconds, parts)))


@pytest.mark.parametrize("text", ["10", "10%", "10 %", "canary-10", " 10 "])
def test_a_stage(text: str) -> None:
    assert parse_stage(text) == 10
    assert kinds.WEIGHT.problem(text.strip()) is None
    assert parse_stages(f"{text},100") == (10, 100)
    assert schedule.stages_wanted(f"{text},100") == (10, 100)


@pytest.mark.parametrize("text", ["", "0", "101", "1.5", "010", "ten", "-10", "10%%", "\u0661"])
def test_no_stage(text: str) -> None:
    with pytest.raises(ValueError, match="is not a stage"):
        parse_stage(text)
    assert kinds.WEIGHT.problem(text) is not None


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (run, ()),
        (canary, ("gate", "--stage", "10")),
        (rehearse, ()),
    ],
)
def test_commands_refuse_the_same(command: object, arguments: tuple[str, ...]) -> None:
    for option, value, said in (
        ("--stage-duration", "30s3m", "one of the units"),
        ("--stage-duration", "0s", "more than 0s"),
        ("--stages", "ten", "is not a stage"),
    ):
        done = CliRunner().invoke(command, [*arguments, option, value])  # type: ignore[arg-type]
        assert done.exit_code == 2
        assert said in done.output
        assert option in done.output


@pytest.mark.parametrize("option", [("--stage-duration", "3m30s"), ("--stage-minutes", "3.5")])
def test_plan_takes_minutes_and_durations(option: tuple[str, str]) -> None:
    from tarsrelease.cli.commands.plan import plan

    arguments = ["--ref", "release/v1.0.1", "--environment", "production", "--stages", "10%,100"]
    arguments += ["--at", "2026-11-23T10:00", *option, "--format", "json"]
    done = CliRunner().invoke(plan, arguments)
    outcome = json.loads(done.stdout)
    assert [stage["minutes"] for stage in outcome["details"]["schedule"]] == [3.5, 3.5], outcome


@given(st.integers(0, 10**7))
def test_a_duration_is_read_back_to_its_two_largest_units(seconds: int) -> None:
    lost = seconds - parse_seconds(duration(seconds))
    assert 0 <= lost < (3600 if seconds >= 86400 else 60 if seconds >= 3600 else 1)
