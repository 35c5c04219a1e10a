"""Since when the routes have their weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from tarsrelease.model.cluster import RouteState
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import Stage


def weights_since(routes: Iterable[RouteState]) -> datetime | None:
    """When the weights were written; None if no route says so.

    Routes are written one after another. The first write counts, so that a
    measurement from then on misses no request.
    """
    return min((route.written_at for route in routes if route.written_at), default=None)


def at_stage_since(release: Release, stage: Stage, routes: Sequence[RouteState]) -> datetime | None:
    """Since when the routes of all services are at this stage of this release; else None."""
    there = [
        route
        for route in routes
        if (route.weight, route.stage, route.release) == (stage.weight, stage.name, release.version)
        and route.written_at is not None
    ]
    return weights_since(there) if len(there) == len(release.rollout.services) else None
