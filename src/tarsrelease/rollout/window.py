"""Whether a release may begin now, and whether it will end in time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from tarsrelease.model.journal import Entry
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.window import DAYS, FixedWindow, Window
from tarsrelease.rollout.votes import postponed_to


def in_force(rollout: Rollout, entries: Sequence[Entry]) -> Rollout:
    """The rollout with the window of the journal's last postponement, if there is one."""
    agreed = postponed_to(entries, rollout.version)
    return rollout if agreed is None else rollout.model_copy(update={"window": agreed})


def closes(window: Window, at: datetime) -> datetime | None:
    """When the window that is open at `at` closes; None if none is open."""
    if isinstance(window, FixedWindow):
        return window.ends if window.starts <= at < window.ends else None
    begins, ends = window.on(at)
    today = DAYS[at.astimezone(window.zone).weekday()]
    return ends if today in window.days and begins <= at < ends else None


def opens(window: Window, at: datetime) -> datetime | None:
    """The next time after `at` at which a window opens; None if there is none."""
    if isinstance(window, FixedWindow):
        return window.starts if window.starts > at else None
    for number in range(8):
        begins, _ = window.on(at + timedelta(days=number))
        if begins > at and DAYS[begins.weekday()] in window.days:
            return begins
    raise AssertionError("a window has at least one day")  # the model's rule


def overrun(window: Window, at: datetime, minutes: float) -> float:
    """By how many minutes a release that begins at `at` exceeds the window; 0 if it does not."""
    end = closes(window, at)
    if end is None:
        return 0.0
    return max(0.0, minutes - (end - at).total_seconds() / 60)


def check(rollout: Rollout, at: datetime, override: str | None) -> Check:
    """``plan.window``: open now, or overridden by a person with a reason."""
    hours = rollout.window
    if hours is None:
        return Check(
            id="plan.window",
            status=Status.PASS,
            expected="any time",
            reason="rollout.yaml has no deployment window",
        )
    local = at.astimezone(hours.zone)
    observed = Observed(value=f"{local:%a %H:%M}", unit="time")
    end = closes(hours, at)
    if end is not None:
        status, reason = Status.PASS, f"open until {end:%H:%M} {hours.timezone}"
    elif override is not None:
        status, reason = Status.PASS, f"closed, overridden: {override}"
    else:
        status = Status.FAIL
        coming = opens(hours, at)
        reason = (
            f"it closed on {hours}"
            if coming is None
            else f"closed; it opens on {coming:%a %Y-%m-%d %H:%M} {hours.timezone}"
        )
    return Check(
        id="plan.window", status=status, observed=observed, expected=str(hours), reason=reason
    )
