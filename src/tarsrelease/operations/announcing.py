"""Announce events of the release to people."""

from __future__ import annotations

from datetime import datetime, timedelta

from tarsrelease.context import Assignment, Context
from tarsrelease.model.notice import Event, Notice
from tarsrelease.model.rollout import Rollout
from tarsrelease.rollout import window as deployment_window

_APPROVALS = {Event.HOLD: "canary-hold", Event.WAITING: "full"}
"""The pipeline's environment that an event waits for, without the name of ours."""


def announce(
    assignment: Assignment,
    event: Event,
    *,
    about: str = "",
    reason: str = "",
    window: tuple[datetime, datetime] | None = None,
) -> None:
    """Post the event to the outbox, which delivers it once in the background."""
    assignment.people.outbox.post(
        notice_of(assignment, event, about=about, reason=reason, window=window)
    )


def announce_start(context: Context) -> None:
    """Announce the release's planned time, and that it has begun."""
    rollout = context.rollout
    announce(context, Event.SCHEDULED, window=planned(rollout, context.clock.now()))
    weights = " → ".join(f"{stage.weight} %" for stage in rollout.stages)
    announce(context, Event.STARTED, reason=f"Canary stages: {weights}")


def planned(rollout: Rollout, begins: datetime) -> tuple[datetime, datetime]:
    """Start and end of a release: of the deployment window, or after the longest stages."""
    longest = sum(stage.duration + stage.max_extension for stage in rollout.stages)
    closes = None if rollout.window is None else deployment_window.closes(rollout.window, begins)
    return begins, closes or begins + timedelta(seconds=longest)


def notice_of(
    assignment: Assignment,
    event: Event,
    *,
    about: str = "",
    reason: str = "",
    window: tuple[datetime, datetime] | None = None,
) -> Notice:
    """The notice of this event with the release, the run and its page."""
    run = assignment.run
    waits_in = _APPROVALS.get(event) if run.owner.startswith("https://") else None
    begins, ends = window or (None, None)
    return Notice(
        event=event,
        application=assignment.rollout.application,
        release=assignment.release.version,
        environment=assignment.environment.name,
        run=run.id,
        about=about,
        reason=reason,
        link=run.owner if run.owner.startswith("https://") else "",
        approval=f"{assignment.environment.name}-{waits_in}" if waits_in else "",
        starts_at=begins,
        ends_at=ends,
    )
