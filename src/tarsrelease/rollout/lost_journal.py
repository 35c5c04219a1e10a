"""A journal that somebody removed or emptied while its release was on its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tarsrelease.model.cluster import RouteState
from tarsrelease.model.journal import Entry
from tarsrelease.model.rollout import Rollout
from tarsrelease.rollout import release_journal


@dataclass(frozen=True, slots=True)
class LostJournal:
    """What was found instead of the journal, and the way on."""

    found: str
    next_step: str


def lost_journal(
    rollout: Rollout, entries: Sequence[Entry], routes: Sequence[RouteState]
) -> LostJournal | None:
    """Not None if the routes name the release and the journal has no deploy of it."""
    version = rollout.version
    if release_journal.of_this_attempt(entries, version):
        return None
    weight = max((each.weight for each in routes if each.release == version), default=None)
    if weight is None:
        return None
    name = f"configmap/tarsrelease-{rollout.application}"
    return LostJournal(
        f"{name} has no deploy of {version}, but the routes give its canary {weight} %",
        "`tarsrelease rollback`, then deploy again: stages that were passed are unknown"
        if weight
        else "`tarsrelease canary deploy` begins a new journal; the stages start afresh",
    )
