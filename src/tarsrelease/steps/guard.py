"""Guard: move the canary's traffic to stable when nobody evaluates it any more.

A process that evaluates traffic on the canary extends its lease, `traffic-until` in the route. The
guard runs in the cluster, reads the routes and acts on a lease that has expired and stays
unchanged: the process that should extend it is dead. It needs neither lock nor journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tarsrelease.context import Context
from tarsrelease.model.cluster import RouteState
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.format import duration, names
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.operations.outcome import StepReport
from tarsrelease.operations.traffic import OFF, route_notes
from tarsrelease.rollout.rollback_plan import serving_side

STEP = "guard"
AFTER = 120.0
"""Seconds that a lease must have been expired: longer than a job of a pipeline needs to follow."""
_POLL = 5.0


def guard(context: Context, after: float = AFTER, until: datetime | None = None) -> Outcome:
    """Guard the traffic until `until`, or for ever. The outcome counts the moves.

    `after` is how long a lease must have been expired, in seconds.
    """
    report, watched = StepReport(context, STEP), _Leases(context, timedelta(seconds=after))
    context.say(f"guarding the traffic of {names([s.name for s in context.rollout.services])}")
    while until is None or context.clock.now() < until:
        watched.look()
        context.clock.sleep(_POLL)
    return report.outcome(
        Verdict.PROCEED,
        f"guarded for {duration(report.elapsed)}; moved traffic to stable {watched.moves} times",
    )


@dataclass(slots=True)
class _Leases:
    """The routes' leases as last read, and since when each is expired and unchanged."""

    context: Context
    after: timedelta
    moves: int = 0
    _expired: dict[str, tuple[datetime, datetime]] | None = None
    """By service: the lease, and when it was first seen expired."""
    _trouble: str = ""

    def look(self) -> None:
        """Read the routes once, and act on leases that have been expired for long enough."""
        try:
            routes = self.context.cluster.routes.read(self.context.rollout.services)
            overdue = self._overdue(routes)
            if overdue:
                self._move(overdue)
        except ReleaseError as error:
            self._say_once(f"{error}; trying again")
        else:
            self._trouble = ""

    def _overdue(self, routes: Sequence[RouteState]) -> list[RouteState]:
        now, before = self.context.clock.now(), self._expired or {}
        self._expired = {}
        found = []
        for route in routes:
            lease = route.traffic_until
            if route.weight == 0 or lease is None or now < lease:
                continue
            known, since = before.get(route.service, (lease, now))
            since = since if known == lease else now
            self._expired[route.service] = (lease, since)
            if now - since >= self.after:
                found.append(route)
        return found

    def _move(self, overdue: Sequence[RouteState]) -> None:
        context = self.context
        side = serving_side(context.rollout, context.cluster.workloads.deployments(), None)
        which = names([f"{route.service} ({route.weight} %)" for route in overdue])
        if side.track is Track.CANARY:
            self._say_once(f"nobody evaluates {which}; the traffic stays: {side.reason}")
            return
        services = [
            service
            for service in context.rollout.services
            if service.name in {route.service for route in overdue}
        ]
        context.say(
            f"nobody has evaluated {which} since its lease ran out at "
            f"{overdue[0].traffic_until:%H:%M:%S} UTC; moving all traffic to stable"
        )
        context.cluster.routes.shift(services, 0, route_notes(context, 0, OFF))
        self.moves += 1

    def _say_once(self, line: str) -> None:
        if line != self._trouble:
            self.context.say(f"guard: {line}")
            self._trouble = line
