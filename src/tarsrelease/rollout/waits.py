"""A stage that waits for a person: when its wait began, and what ended it.

The wait begins with the verdict of the stage's gate and ends when the journal or the routes show
that somebody acted. Both are read, because traffic is moved before it is journaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tarsrelease.model.cluster import RouteState
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.rollout import release_journal


class How(StrEnum):
    """How somebody else ended a wait."""

    WENT_ON = "went on"
    ROLLED_BACK = "rolled back"
    MOVED_TO_STABLE = "traffic taken off"


@dataclass(frozen=True, slots=True)
class Over:
    """The wait is over: how, by which run, and in words."""

    how: How
    run: str | None
    why: str


_GOES_ON = {
    (release_journal.GATE, Phase.INTENT): "a stage has begun",
    (release_journal.SHIFT, Phase.INTENT): "the traffic is being shifted",
    (release_journal.LIFT, Phase.RESULT): "the hold was lifted",
    (release_journal.PROMOTE, Phase.INTENT): "the promotion has begun",
    (release_journal.RESUME, Phase.RESULT): "the release was resumed",
}
_GOES_BACK = {
    release_journal.ROLLBACK: "it was rolled back",
    release_journal.ABORT: "it was aborted",
}


def opened(entries: Sequence[Entry], release: str) -> Entry | None:
    """The verdict that began this attempt's latest wait; None if no stage has ended."""
    verdicts = [
        entry
        for entry in release_journal.of_this_attempt(entries, release)
        if entry.action == release_journal.GATE and entry.phase is Phase.RESULT
    ]
    return verdicts[-1] if verdicts else None


def over(
    entries: Sequence[Entry],
    routes_now: Sequence[RouteState],
    release: str,
    *,
    since: Entry,
    routes_then: Sequence[RouteState],
) -> Over | None:
    """What ended the wait that began with `since`, when the routes were `routes_then`.

    None while it goes on. A rollback takes precedence over everything else.
    """
    later = _after(entries, since, release)
    for entry in later:
        if entry.action in _GOES_BACK:
            return Over(How.ROLLED_BACK, entry.run, _GOES_BACK[entry.action])
        if entry.action == release_journal.GATE and entry.facts.verdict == "rollback":
            return Over(How.ROLLED_BACK, entry.run, "a gate decided to roll back")
    for entry in later:
        if said := _GOES_ON.get((entry.action, entry.phase)):
            return Over(How.WENT_ON, entry.run, said)
        if entry.action == release_journal.DEPLOY:
            return Over(How.WENT_ON, entry.run, "it was deployed again")
    then = {route.service: (route.weight, route.stage) for route in routes_then}
    moved = [r for r in routes_now if then.get(r.service) != (r.weight, r.stage)]
    if not moved:
        return None
    if all(route.weight == 0 for route in moved):
        return Over(How.MOVED_TO_STABLE, moved[0].run, "all traffic was moved to stable")
    return Over(How.WENT_ON, moved[0].run, f"the routes are at {moved[0].stage}")


def _after(entries: Sequence[Entry], since: Entry, release: str) -> list[Entry]:
    """The release's entries after `since`; all of them if the journal no longer has it."""
    own = [entry for entry in entries if entry.release == release]
    places = [number for number, entry in enumerate(own) if entry == since]
    return own[places[-1] + 1 :] if places else own
