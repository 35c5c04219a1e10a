"""When a release is planned, and its timeline: phases and due checklists with their times. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from tarsrelease.model.base import Value
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.readiness import Moment, Readiness, TimelinePhase, offset
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.window import FixedWindow
from tarsrelease.readiness.checklists import checklists_of
from tarsrelease.rollout import release_journal, schedule
from tarsrelease.rollout.window import closes, opens

DUE = timedelta(minutes=15)
"""How long the due time of a checklist is in a calendar."""
_DEFAULT = (
    TimelinePhase(
        title="Final preparation",
        at="start-60m",
        duration=1800.0,
        participants=("release-manager", "sre", "qa"),
        actions=(
            "open the war room and the dashboards",
            "tarsrelease notify send --event scheduled",
            "tarsrelease check go-no-go",
        ),
    ),
    TimelinePhase(
        title="Preflight",
        at="start-30m",
        duration=1200.0,
        participants=("sre",),
        actions=("tarsrelease check preflight",),
    ),
    TimelinePhase(
        title="Release",
        at="start",
        participants=("release-manager", "sre", "qa"),
        actions=("start the pipeline, or tarsrelease run",),
    ),
    TimelinePhase(
        title="Communication and clean-up",
        at="end",
        duration=600.0,
        participants=("release-manager",),
        actions=("tarsrelease notify send --event complete", "tell customers and stakeholders"),
    ),
)


class Planned(Value):
    """The planned start and end; the real ones as soon as the journal has them."""

    starts: datetime
    ends: datetime

    def at(self, moment: Moment) -> datetime:
        """The time of a moment such as ``start-60m``."""
        anchor, seconds = offset(moment)
        return (self.starts if anchor == "start" else self.ends) + timedelta(seconds=seconds)


class TimelineEvent(Value):
    """One line of the timeline. `participants` are titles of roles."""

    title: str
    starts: datetime
    ends: datetime
    participants: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


def planned(
    rollout: Rollout, entries: Sequence[Entry], now: datetime, starts: datetime | None = None
) -> Planned | None:
    """When the release begins and ends: as journaled, else as planned in the window.

    `rollout` has the window in force, and `starts` replaces its beginning. None without either.
    """
    begun = release_journal.of_this_attempt(entries, rollout.version)
    first = starts or (begun[0].at if begun else _opening(rollout, now))
    if first is None:
        return None
    minutes = schedule.schedule(rollout, rollout).minutes
    promoted = [
        entry.at
        for entry in begun
        if entry.action == release_journal.PROMOTE and entry.phase is Phase.RESULT
    ]
    return Planned(
        starts=first,
        ends=promoted[-1] if promoted and starts is None else first + timedelta(minutes=minutes),
    )


def _opening(rollout: Rollout, now: datetime) -> datetime | None:
    """The beginning of the window that is open, else of the next one, else of the last."""
    window = rollout.window
    if window is None:
        return None
    if isinstance(window, FixedWindow):
        return window.starts
    return window.on(now)[0] if closes(window, now) else opens(window, now)


def timeline(rollout: Rollout, when: Planned) -> list[TimelineEvent]:
    """The phases, and the due times of the checklists that are not part of the release itself."""
    readiness = rollout.readiness
    events = [_phase(each, when, readiness) for each in readiness.timeline or _DEFAULT]
    for each in checklists_of(rollout).values():
        if each.part == "during":
            continue
        roles = dict.fromkeys(item.role for item in each.items.values() if item.role)
        at = when.at(each.due)
        events.append(
            TimelineEvent(
                title=f"Checklist: {each.title}",
                starts=at,
                ends=at + DUE,
                participants=tuple(readiness.title(role) for role in roles),
                actions=tuple(item.text for item in each.items.values()),
            )
        )
    return sorted(events, key=lambda event: (event.starts, event.ends))


def _phase(phase: TimelinePhase, when: Planned, readiness: Readiness) -> TimelineEvent:
    starts = when.at(phase.at)
    lasts = timedelta(seconds=phase.duration) if phase.duration else when.ends - when.starts
    return TimelineEvent(
        title=phase.title,
        starts=starts,
        ends=starts + lasts,
        participants=tuple(map(readiness.title, phase.participants)),
        actions=phase.actions,
    )
