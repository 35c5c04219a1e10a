"""The window in force: the journal's last postponement wins over rollout.yaml's days and hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import yaml
from bundle_samples import ROLLOUT
from pydantic import ValidationError

from tarsrelease.model.journal import Entry, Phase, PostponeFacts
from tarsrelease.model.outcome import Status
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.window import DeploymentWindow, FixedWindow
from tarsrelease.rollout.votes import POSTPONE
from tarsrelease.rollout.window import check, closes, in_force, opens, overrun

T = datetime(2026, 12, 4, 9, tzinfo=UTC)  # a Friday
AGREED = FixedWindow(starts=T, ends=T + timedelta(hours=4))
WEEKLY = DeploymentWindow(days=("mon", "tue"), hours="09:00-13:00")


def rollout() -> Rollout:
    written = yaml.safe_load(ROLLOUT)
    return Rollout.model_validate({**written, "window": WEEKLY.model_dump()})


def postponed(window: FixedWindow, release: str) -> Entry:
    return Entry(
        at=T - timedelta(days=1),
        run="r",
        release=release,
        step="check go-no-go",
        action=POSTPONE,
        phase=Phase.RESULT,
        facts=PostponeFacts(window=window, by="Ada", reason="the database team is away"),
    )


def test_a_postponement_replaces_the_weekly_window_everywhere() -> None:
    mine = rollout()
    assert in_force(mine, []) == mine
    assert in_force(mine, [postponed(AGREED, "9.9.9")]) == mine
    moved = in_force(mine, [postponed(AGREED, mine.version)])
    assert moved.window == AGREED
    friday = T + timedelta(hours=1)
    assert check(mine, friday, None).status is Status.FAIL
    assert check(moved, friday, None).status is Status.PASS
    monday = T + timedelta(days=3, hours=1)
    assert check(mine, monday, None).status is Status.PASS
    passed = check(moved, monday, None)
    assert passed.status is Status.FAIL
    assert passed.reason == "it closed on Fri 2026-12-04 09:00-13:00 UTC"


def test_one_window_opens_once() -> None:
    assert opens(AGREED, T - timedelta(days=9)) == T
    assert opens(AGREED, T) is None
    assert closes(AGREED, T) == AGREED.ends
    assert closes(AGREED, AGREED.ends) is None
    assert overrun(AGREED, T, 5 * 60) == 60


def test_it_is_shown_in_its_own_time_zone() -> None:
    berlin = timezone(timedelta(hours=1), "CET")
    window = FixedWindow(starts=T.astimezone(berlin), ends=T + timedelta(hours=30))
    assert str(window) == "Fri 2026-12-04 10:00-Sat 2026-12-05 16:00 CET"


@pytest.mark.parametrize(
    "ends", [T, T - timedelta(hours=1), (T + timedelta(hours=4)).replace(tzinfo=None)]
)
def test_it_ends_after_it_starts_and_has_a_time_zone(ends: datetime) -> None:
    with pytest.raises(ValidationError):
        FixedWindow(starts=T, ends=ends)
