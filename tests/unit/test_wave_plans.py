"""What is planned for waves of targets: their time, and what the targets find together."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

import contexts
from world import environment, release, rollout

from tarsrelease.gates.checks.pooled import pooled_alpha
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.gates.study.stage_lengths import plan_stages
from tarsrelease.gates.study.wave_plan import plan_waves
from tarsrelease.model.environment import Environment
from tarsrelease.model.overrides import apply_overrides
from tarsrelease.model.planning import PlannedCheck
from tarsrelease.rollout.schedule import schedule, wave_schedules, wave_table
from tarsrelease.steps.plan import plan

SERVICE = "dashboard-api"
CHECKS = [
    {"kind": "proportion", "id": "canary.errors", "sli": "errors", "below": "1%"},
    {"kind": "ready", "id": "canary.ready"},
]
PLAN = rollout(CHECKS, weights=(10, 100), duration="10m", max_extension="5m", services=(SERVICE,))


def fleet(*waves: dict[str, Any]) -> Environment:
    """An environment with these waves."""
    written = environment().model_dump(by_alias=True, include={"schema_", "name"})
    names = [name for wave in waves for name in wave["targets"]]
    one = environment()
    return Environment.model_validate(
        {
            **written,
            "kubernetes": one.kubernetes,
            "gateway": one.gateway,
            "prometheus": one.prometheus,
            "targets": [
                {"name": name, "kubernetes": {"context": name, "namespace": "tars"}}
                for name in names
            ],
            "waves": waves,
        }
    )


def planned(place: Environment, per_second: float) -> dict[str, tuple[PlannedCheck, ...]]:
    """The plan of each target, which has so many requests a second, of which 0.5 % are bad."""
    own = apply_overrides(PLAN, place.at(place.targets[0]).overrides)
    slots = [(0.005 * 60 * per_second, 60 * per_second)] * 60
    one = plan_stages(own, {("errors", SERVICE): slots}, slot=60.0, scrape_interval=5.0)
    return {target.name: one for target in place.targets}


def test_ten_targets_find_what_one_cannot() -> None:
    names = [f"eu-{number}" for number in range(10)]
    place = fleet({"targets": ["canary"]}, {"targets": names})
    own = apply_overrides(PLAN, place.at(place.targets[0]).overrides)
    pooled = plan_waves(own, place, planned(place, 10.0))
    rows = {(each.wave, each.stage, each.check): each for each in pooled}
    assert {check for _, _, check in rows} == {"canary.errors"}
    one = rows[1, "canary-10", "canary.errors"]
    ten = rows[2, "canary-10", "canary.errors"]
    assert (one.targets, ten.targets) == (1, 10)
    assert one.found == one.alone == ten.alone < 0.5
    assert ten.usual == pytest.approx(10 * one.usual)
    assert ten.found > 0.95
    assert one.found_in is None
    assert ten.found_in is not None
    assert ten.found_in < 600


def test_the_plan_has_the_chance_of_a_false_alarm_that_the_gates_have() -> None:
    place = fleet({"targets": ["a", "b"]}, {"targets": ["c"]})
    own = alpha_per_check(apply_overrides(PLAN, place.at(place.targets[0]).overrides))
    assert own == pytest.approx(alpha_per_check(PLAN) / 6)
    assert pooled_alpha(own, 3, 2) == pytest.approx(alpha_per_check(PLAN) / 4)


def test_the_waves_of_a_plan_have_their_rounds_and_bakes() -> None:
    place = fleet(
        {"targets": ["first"], "bake": "30m"},
        {"targets": [f"t{n}" for n in range(20)], "parallel": 8, "on_failure": "all", "bake": "1h"},
    )
    paper = schedule(PLAN, PLAN)
    one, many = wave_schedules(place, paper)
    assert one.minutes == paper.minutes + 30
    assert many.minutes == 3 * paper.minutes, "three rounds, and no bake after the last wave"
    assert many.minutes_at_most == 3 * paper.minutes_at_most
    (row,) = wave_table(place, paper, 2).rows
    assert row[:5] == (
        "2",
        "20: t0, t1, t2, t3, t4 and 15 more",
        "8",
        "one, before it starts",
        "10 %, 100 %",
    )
    assert row[-1] == "all"


def test_plan_tells_how_long_all_waves_take() -> None:
    place = fleet({"targets": ["a"], "bake": "30m"}, {"targets": ["b", "c"]})
    outcome = plan(
        contexts.assignment(release(PLAN), place),
        PLAN,
        stage_duration=None,
        flags_wanted=False,
        override=None,
        at=datetime(2026, 11, 27, tzinfo=UTC),
    )
    assert outcome.summary.startswith("3 targets in 2 waves: ")
    assert outcome.details.table is not None
    assert [row[0] for row in outcome.details.table.rows] == ["1", "2"]
