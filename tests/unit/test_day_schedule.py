"""The day on paper: which bundle a ref names, which stages, how long, and whether it may begin."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from bundle_samples import ROLLOUT
from hypothesis import given
from hypothesis import strategies as st

from tarsrelease.model.errors import UsageError
from tarsrelease.model.journal import Entry, Facts, Phase
from tarsrelease.model.outcome import Status
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.window import DAYS, DeploymentWindow
from tarsrelease.rollout import schedule, stage_list, window

MONDAY = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
HOURS = DeploymentWindow(timezone="Europe/Berlin", days=("mon", "tue"), hours="09:00-13:00")


def written(**more: object) -> Rollout:
    return Rollout.model_validate(yaml.safe_load(ROLLOUT) | more)


@pytest.mark.parametrize(
    ("ref", "release", "folder"),
    [
        ("release/v1.0.1", "", "release/v1_0_1"),
        ("refs/heads/release/v1.0.1", "", "release/v1_0_1"),
        ("refs/tags/v1.0.1", "", "release/v1_0_1"),
        ("v2.10.3-rc.1", "", "release/v2_10_3-rc_1"),
        ("main", "1.0.1", "release/v1_0_1"),
        ("main", "release/special", "release/special"),
        ("release/v9.9.9", "v1.0.1", "release/v1_0_1"),
    ],
)
def test_a_ref_or_a_field_names_the_bundle(ref: str, release: str, folder: str) -> None:
    assert schedule.bundle_of(ref, release) == folder


@pytest.mark.parametrize(
    ("ref", "release"),
    [
        ("main", ""),
        ("", ""),
        ("release/v1.0", ""),
        ("release/v1.0.1", "../../etc"),
        ("release/v1.0.1", "release/.."),
        ("release/v1.0.1", "/etc"),
        ("release/v1.0.1", "1.0.1; rm -rf /"),
        ("release/v1.0.1", "$(id)"),
        ("release/v1.0.1\n::set-output name=a::b", ""),
        ("x" * 100_000, ""),
    ],
)
def test_anything_else_names_none_and_is_not_echoed_whole(ref: str, release: str) -> None:
    with pytest.raises(UsageError) as caught:
        schedule.bundle_of(ref, release)
    said = str(caught.value)
    assert len(said) < 500
    assert "\n::" not in said


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("1,10,25,50,100", (1, 10, 25, 50, 100)),
        (" 1, 10 ,100 ", (1, 10, 100)),
        ("100", (100,)),
        ("1,2,3,4,5,6,100", (1, 2, 3, 4, 5, 6, 100)),
        ("", None),
    ],
)
def test_a_list_of_stages(text: str, weights: tuple[int, ...] | None) -> None:
    assert schedule.stages_wanted(text) == weights


@pytest.mark.parametrize(
    "text",
    [
        *("1,10", "10,1,100", "1,1,100", "0,100", "1.5,100", "1,,100", "-1,100", "101", "1 10 100"),
        *("1,2,3,4,5,6,7,100", "¹,100", "٣,100", "1,100,", "$(id),100", "1" * 100_000),
        "1,100\n::error::x",
    ],
)
def test_a_list_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        schedule.stages_wanted(text)
    assert len(str(caught.value)) < 500
    assert "\n::" not in str(caught.value)


@given(st.lists(st.integers(-5, 105), max_size=9))
def test_every_list_is_taken_whole_or_refused(weights: list[int]) -> None:
    text = ",".join(map(str, weights))
    good = (
        weights == sorted(set(weights))
        and weights[-1:] == [100]
        and weights[0] >= 1
        and len(weights) <= schedule.STAGES_BELOW_100 + 1
    )
    if good:
        assert schedule.stages_wanted(text) == tuple(weights)
    elif text:
        with pytest.raises(UsageError):
            schedule.stages_wanted(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 600.0), ("0.5", 30.0), ("1440", 86400.0), ("", None)]
)
def test_minutes(text: str, seconds: float | None) -> None:
    assert schedule.minutes_wanted(text) == seconds


@pytest.mark.parametrize("text", ["0", "-1", "10m", "1e3", "nan", "inf", "1441", "yes", "0x10"])
def test_minutes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        schedule.minutes_wanted(text)


def test_a_weight_without_gates_is_looked_at_by_the_next_higher_ones() -> None:
    rollout = stage_list.with_stages(written(), (5, 10, 60, 100))
    named = {stage.weight: stage for stage in written().stages}
    assert [stage.weight for stage in rollout.stages] == [5, 10, 60, 100]
    assert rollout.stages[0].checks == named[10].checks
    assert rollout.stages[2].checks == named[100].checks
    assert [stage.approval for stage in rollout.stages] == [False, False, False, True]
    assert [each.gates_of for each in schedule.schedule(written(), rollout).stages] == [
        *(10, 10, 100, 100)
    ]


def test_the_minutes_are_those_of_the_stages_and_of_the_looks() -> None:
    rollout = written(promotion={"weights": [50, 0], "look": "30s", "bake": "0s"})
    plan = schedule.schedule(rollout, rollout)
    assert (plan.minutes, plan.minutes_at_most) == (21.0, 41.0)
    assert [stage.weight for stage in plan.below_100] == [10]


def test_the_minutes_include_the_bake() -> None:
    rollout = written(promotion={"weights": [50, 0], "look": "30s", "bake": "10m"})
    plan = schedule.schedule(rollout, rollout)
    assert (plan.promotion_minutes, plan.minutes, plan.minutes_at_most) == (11.0, 31.0, 51.0)


def test_the_pipeline_gets_its_facts_as_one_output() -> None:
    rollout = written()
    plan = schedule.schedule(rollout, rollout)
    said = schedule.outputs("release/v1_2_0", rollout, plan, "place", ("30s", "true"))
    assert json.loads(said["plan"]) == {
        "release": "release/v1_2_0",
        "version": "1.2.0",
        "environment": "place",
        "count": 1,
        "weights": [10],
        "stages": "10,100",
        "stage_duration": "30s",
        "feature_flags": "true",
        "minutes": plan.minutes,
        "minutes_at_most": plan.minutes_at_most,
    }


class TestWindow:
    def test_is_open_in_its_own_time_zone(self) -> None:
        # 10:00 in Berlin in winter is 09:00 UTC.
        begins = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
        assert window.closes(HOURS, begins - timedelta(seconds=1)) is None
        assert window.closes(HOURS, begins) == datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
        assert window.closes(HOURS, datetime(2026, 11, 23, 12, 0, tzinfo=UTC)) is None
        summer = datetime(2026, 7, 6, 7, 30, tzinfo=UTC)  # a Monday, 09:30 there
        assert window.closes(HOURS, summer) is not None

    @given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
    def test_opens_next_at_a_time_at_which_it_is_open(self, at: datetime) -> None:
        following = window.opens(HOURS, at)
        assert following > at
        assert following - at <= timedelta(days=8)
        assert window.closes(HOURS, following) is not None
        assert DAYS[following.weekday()] in HOURS.days

    @pytest.mark.parametrize(
        "wrong",
        [
            {"hours": "13:00-09:00"},
            {"hours": "9-13"},
            {"hours": "09:00-25:00"},
            {"days": []},
            {"days": ["mon", "mon"]},
            {"timezone": "Mars/Base"},
            {"timezone": "../../etc/passwd"},
        ],
    )
    def test_that_makes_no_sense_is_refused(self, wrong: dict[str, object]) -> None:
        good = {"timezone": "UTC", "days": ["mon"], "hours": "09:00-24:00"}
        DeploymentWindow.model_validate(good)
        with pytest.raises(ValueError, match=r"hours|days|timezone|time zone"):
            DeploymentWindow.model_validate(good | wrong)

    def test_closed_is_a_no_unless_a_person_says_why(self) -> None:
        rollout = written(window=HOURS.model_dump())
        at_night = MONDAY.replace(hour=22)
        assert window.check(rollout, MONDAY, None).status is Status.PASS
        closed = window.check(rollout, at_night, None)
        assert closed.status is Status.FAIL
        assert "opens on Tue 2026-11-24 09:00 Europe/Berlin" in closed.reason
        overridden = window.check(rollout, at_night, "P0 fix (octocat)")
        assert overridden.status is Status.PASS
        assert "P0 fix (octocat)" in overridden.reason
        assert window.check(written(), at_night, None).status is Status.PASS
        plan = schedule.schedule(rollout, rollout)
        said = schedule.warnings(rollout, plan, at_night, "P0 fix (octocat)")
        assert "outside the deployment window" in said[0]
        assert said[0].endswith("P0 fix (octocat)")
        assert schedule.warnings(rollout, plan, MONDAY, "P0 fix (octocat)") == ()

    def test_a_day_that_ends_after_it_is_warned_of(self) -> None:
        rollout = written(window=HOURS.model_dump(), promotion={"bake": "0s"})
        plan = schedule.schedule(rollout, rollout)
        assert schedule.warnings(rollout, plan, MONDAY) == ()
        late = schedule.warnings(rollout, plan, datetime(2026, 11, 23, 11, 50, tzinfo=UTC))
        assert len(late) == 1
        assert "the stages and the promotion end 11m after" in late[0]
        tight = schedule.warnings(rollout, plan, datetime(2026, 11, 23, 11, 30, tzinfo=UTC))
        assert "with every extension" in tight[0]

    def test_more_than_two_hours_are_warned_of(self) -> None:
        rollout = stage_list.with_duration(written(), 3660.0)
        plan = schedule.schedule(rollout, rollout)
        assert "at most 2h" in schedule.warnings(rollout, plan, MONDAY)[0]


def test_what_is_played_is_what_the_journal_says() -> None:
    rollout = written()
    chosen = stage_list.with_duration(stage_list.with_stages(rollout, (5, 100)), 30.0)

    def entry(action: str, phase: Phase, facts: Facts) -> Entry:
        return Entry(
            at=MONDAY, run="r", release="1.2.0", step="s", action=action, phase=phase, facts=facts
        )

    deployed = [entry("deploy", Phase.INTENT, Facts())]
    assert stage_list.played(rollout, deployed) == (rollout, "")
    facts = stage_list.facts(chosen, chosen.stages[0])
    begun = [*deployed, entry("gate", Phase.INTENT, facts)]
    found, flags = stage_list.played(rollout, begun)
    assert found == chosen
    assert flags == " --stages 5,100 --stage-duration 30s"
    as_written = stage_list.facts(rollout, rollout.stages[0])
    begun = [*deployed, entry("gate", Phase.INTENT, as_written)]
    assert stage_list.played(rollout, begun) == (rollout, "")
