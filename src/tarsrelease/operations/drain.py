"""Waiting for the canary's last requests, before it is removed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UnreachableError
from tarsrelease.model.measurement import Track
from tarsrelease.model.release import Release
from tarsrelease.operations import served
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.metrics import Metrics
from tarsrelease.ports.people import Progress

_DRAIN = 60.0
_POLL = 1.0


def drain(
    release: Release,
    environment: Environment,
    since: datetime,
    *,
    metrics: Metrics,
    clock: Clock,
    progress: Progress,
    alive: Callable[[], None],
) -> None:
    """Wait until the canary answers no more requests after the last shift.

    A minute at most: what is still open then (a long request, a WebSocket) is ended by the pods'
    own graceful end. Without metrics the gateway's time to settle has to do.
    """
    began = clock.now()
    while (clock.now() - began).total_seconds() < _DRAIN:
        alive()
        try:
            found = served.ask(release, environment, since, metrics=metrics, clock=clock)
        except UnreachableError as error:
            progress.say(f"drain: not measured ({error})")
            clock.sleep(environment.gateway.settle)
            return
        answered = sum(
            found.requests.total(service.name, track=Track.CANARY)
            for service in release.rollout.services
        )
        if found.requests.scrapes and min(found.requests.scrapes.values()) >= 2:
            if answered == 0:
                return
            since = clock.now()  # count anew from here
        clock.sleep(_POLL)
    progress.say(f"drain: given up after {_DRAIN:g} s; the pods end what is still open")
