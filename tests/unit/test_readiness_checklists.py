"""The state of a checklist's item: a tick never changes what was measured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import yaml
from bundle_samples import ROLLOUT
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tarsrelease.model.journal import Entry, FollowUpFacts, Phase, TickFacts
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.readiness import ChecklistItem, MachineCheck, Readiness, offset
from tarsrelease.model.rollout import Rollout
from tarsrelease.readiness import checklists

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
ITEM = ChecklistItem(text="the dashboards answer", check=MachineCheck.DASHBOARDS)
BY_HAND = ChecklistItem(text="support is briefed")


def rollout(**readiness: object) -> Rollout:
    written = yaml.safe_load(ROLLOUT)
    return Rollout.model_validate(written | {"readiness": readiness})


def entry(facts: TickFacts | FollowUpFacts, minutes: int, release: str = "1.0.1") -> Entry:
    action = checklists.TICK if isinstance(facts, TickFacts) else checklists.FOLLOW_UP
    return Entry(
        at=NOW + timedelta(minutes=minutes),
        run="r",
        release=release,
        step="check readiness",
        action=action,
        phase=Phase.RESULT,
        facts=facts,
    )


def tick(item: str, by: str, minutes: int, *, done: bool = True) -> Entry:
    return entry(TickFacts(item=item, by=by, note="", done=done), minutes)


TICKED = checklists.ticks([tick("x", "Ada", -60)], "1.0.1")["x"]


def measured(status: Status) -> Check:
    return Check(id="x.y", status=status, expected="so", reason="found")


@given(
    status=st.none() | st.sampled_from(Status),
    ticked=st.booleans(),
    due=st.none() | st.integers(-100, 100),
)
def test_a_measured_result_wins_over_every_tick(
    status: Status | None, ticked: bool, due: int | None
) -> None:
    found = None if status is None else measured(status)
    until = None if due is None else NOW + timedelta(minutes=due)
    state = checklists.state("x", ITEM, found, TICKED if ticked else None, until, NOW)
    if status not in (None, Status.SKIPPED):
        assert state.status is status
    elif ticked:
        assert state.status is Status.PASS
        assert "confirmed by Ada" in state.reason
    else:
        later = until is not None and until > NOW
        assert state.status is (Status.SKIPPED if later else Status.FAIL)
    if status is Status.SKIPPED:
        assert "not measured: found" in state.reason


def test_an_open_item_says_how_to_confirm_it() -> None:
    state = checklists.state("support-briefed", BY_HAND, None, None, None, NOW)
    assert (state.id, state.status) == ("readiness.confirmed", Status.FAIL)
    assert state.reason == "open: --tick support-briefed --by NAME"


def test_the_last_tick_counts_and_may_be_taken_back() -> None:
    entries = [tick("a", "Ada", 1), tick("a", "Bo", 2), tick("b", "Ada", 3)]
    found = checklists.ticks(entries, "1.0.1")
    assert {name: facts.by for name, (_, facts) in found.items()} == {"a": "Bo", "b": "Ada"}
    assert list(checklists.ticks([*entries, tick("a", "Bo", 4, done=False)], "1.0.1")) == ["b"]
    assert checklists.ticks(entries, "1.0.2") == {}


def test_every_machine_check_is_in_the_built_in_lists_and_every_stage_in_the_release() -> None:
    lists = checklists.checklists_of(rollout())
    items = [item for each in lists.values() for item in each.items.values()]
    assert {item.check for item in items if item.check} == set(MachineCheck)
    weights = {item.weight for item in items if item.weight}
    assert weights == {stage.weight for stage in rollout().stages}
    assert {each.part for each in lists.values()} == {"before", "during", "hours", "days"}
    names = checklists.all_items(rollout())
    assert len(set(names)) == len(names)


def test_a_team_replaces_a_list_removes_one_and_adds_another() -> None:
    own = {
        "communication": {"title": "None"},
        "stakeholders": {"title": "Ours", "items": {"boss-told": {"text": "The boss knows"}}},
        "legal": {"title": "Legal", "items": {"signed": {"text": "It is signed", "role": "qa"}}},
    }
    lists = checklists.checklists_of(rollout(checklists=own))
    assert "communication" not in lists
    assert list(lists["stakeholders"].items) == ["boss-told"]
    assert list(lists)[-1] == "legal"


@pytest.mark.parametrize(
    ("readiness", "problem"),
    [
        (
            {
                "roles": {"qa": {"title": "QA"}},
                "timeline": [{"title": "x", "participants": ["sre"]}],
            },
            "sre",
        ),
        ({"checklists": {"a": {"title": "A", "items": {"x": {"text": "t", "role": "no"}}}}}, "no"),
        (
            {"checklists": {n: {"title": n, "items": {"x": {"text": "t"}}} for n in ("a", "b")}},
            "listed twice",
        ),
        ({"checklists": {"a": {"title": "A", "due": "start-1x"}}}, "due"),
        (
            {"checklists": {"a": {"title": "A", "items": {"x": {"text": "t", "weight": 10}}}}},
            "weight",
        ),
        (
            {
                "checklists": {
                    "a": {
                        "title": "A",
                        "items": {"x": {"text": "t", "check": "suite", "step": "promote"}},
                    }
                }
            },
            "not both",
        ),
        ({"links": [{"name": "x", "url": "ftp://x"}]}, "url"),
    ],
)
def test_mistakes_in_rollout_yaml_are_refused(readiness: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Readiness.model_validate(readiness)


def test_moments() -> None:
    assert offset("start-60m") == ("start", -3600)
    assert offset("start") == ("start", 0)
    assert offset("end+1d2h3m") == ("end", 93780)
