"""Changes of the stored outbox. Pure; each may be applied twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from tarsrelease.model.notice import Notice, Outgoing, Told
from tarsrelease.report.notices.wording import cut

_MOST = 60
"""Notices that are kept: several releases' worth."""
_REASON = 1000
_CLAIMED_FOR = timedelta(minutes=10)
"""A process that ends without releasing its notices has lost them after this time."""
_STALE = timedelta(hours=24)
"""Older notices are not delivered any more."""

Change = Callable[[Outgoing], Outgoing]


def all_of(changes: Iterable[Change], state: Outgoing) -> Outgoing:
    """The state after all changes."""
    for change in changes:
        state = change(state)
    return state


def posted(notice: Notice, at: datetime, names: Sequence[str], sender: str) -> Change:
    """The notice waits for `names` that were neither delivered nor wait at another sender."""
    short = notice.model_copy(update={"reason": cut(notice.reason, _REASON)})

    def change(state: Outgoing) -> Outgoing:
        known = state.of(notice.key)
        if known is None:
            new = Told(notice=short, at=at, waiting=tuple(names))
            new = new.model_copy(update=_claim(sender, at))
            return state.model_copy(update={"told": (*state.told, new)[-_MOST:]})
        others = known.waiting if _taken(known, sender, at) else ()
        wanted = [
            name
            for name in names
            if name not in known.delivered and name not in others and name not in known.waiting
        ]
        if not wanted:
            return state
        refused = {name: why for name, why in known.refused.items() if name not in wanted}
        waiting = (*known.waiting, *wanted)
        update = {"waiting": waiting, "refused": refused, **_claim(sender, at)}
        return _replaced(state, known, update)

    return change


def recalled(known: Outgoing) -> Change:
    """What other jobs of the release have sent without a cluster is known here, too."""

    def change(state: Outgoing) -> Outgoing:
        new = [told for told in known.told if state.of(told.notice.key) is None]
        threads = {**known.threads, **state.threads}
        return state.model_copy(update={"told": (*state.told, *new), "threads": threads})

    return change


def adopted(sender: str, at: datetime) -> Change:
    """The sender takes over what waits and nobody delivers."""

    def change(state: Outgoing) -> Outgoing:
        for told in state.told:
            if told.waiting and not _taken(told, sender, at) and at - told.at < _STALE:
                state = _replaced(state, told, _claim(sender, at))
        return state

    return change


def delivered(key: str, name: str, threads: Mapping[str, str]) -> Change:
    """A message was accepted, and opened these threads."""

    def change(state: Outgoing) -> Outgoing:
        state = state.model_copy(
            update={"threads": dict([*state.threads.items(), *threads.items()][-_MOST:])}
        )
        known = state.of(key)
        if known is None:
            return state
        waiting = tuple(each for each in known.waiting if each != name)
        done = known.delivered if name in known.delivered else (*known.delivered, name)
        return _replaced(state, known, {"waiting": waiting, "delivered": done})

    return change


def refused(key: str, name: str, why: str) -> Change:
    """A message was not accepted."""

    def change(state: Outgoing) -> Outgoing:
        known = state.of(key)
        if known is None:
            return state
        waiting = tuple(each for each in known.waiting if each != name)
        return _replaced(
            state, known, {"waiting": waiting, "refused": {**known.refused, name: cut(why, 200)}}
        )

    return change


def released(sender: str) -> Change:
    """The sender delivers nothing any more."""

    def change(state: Outgoing) -> Outgoing:
        for told in state.told:
            if told.sender == sender:
                state = _replaced(state, told, {"sender": "", "claimed_until": None})
        return state

    return change


def _claim(sender: str, at: datetime) -> dict[str, object]:
    return {"sender": sender, "claimed_until": at + _CLAIMED_FOR}


def _taken(told: Told, sender: str, at: datetime) -> bool:
    """Whether another sender delivers it now."""
    until = told.claimed_until
    return told.sender not in ("", sender) and until is not None and until > at


def _replaced(state: Outgoing, known: Told, update: Mapping[str, object]) -> Outgoing:
    new = known.model_copy(update=dict(update))
    told = tuple(new if each.notice.key == known.notice.key else each for each in state.told)
    return state.model_copy(update={"told": told})
