"""Wait for the canary's last requests before the canary is removed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tarsrelease.context import Context
from tarsrelease.model.errors import UnreachableError
from tarsrelease.model.format import duration
from tarsrelease.model.measurement import Track
from tarsrelease.operations import served

_DRAIN = 60.0
_POLL = 1.0


def drain(context: Context, since: datetime, each_tick: Callable[[], None]) -> None:
    """Wait until the canary answers no requests, for one minute at most.

    The pods' graceful shutdown then ends requests that are still open, for example WebSockets.
    Without metrics, waits for the gateway's settle time instead.
    """
    clock = context.clock
    began = clock.now()
    while (clock.now() - began).total_seconds() < _DRAIN:
        each_tick()
        try:
            found = served.ask(context, since)
        except UnreachableError as error:
            context.say(f"drain: cannot count the canary's requests ({error})")
            clock.sleep(context.environment.gateway.settle)
            return
        answered = sum(
            found.requests.total(service.name, track=Track.CANARY)
            for service in context.rollout.services
        )
        if found.requests.scrapes and min(found.requests.scrapes.values()) >= 2:
            if answered == 0:
                return
            since = clock.now()
        clock.sleep(_POLL)
    context.say(f"drain: stopped after {duration(_DRAIN)}; the pods' shutdown ends open requests")
