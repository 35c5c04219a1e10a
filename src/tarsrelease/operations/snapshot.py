"""The state of the cluster, read at one time before anything is changed."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.context import Context
from tarsrelease.model.cluster import RouteState, Snapshot
from tarsrelease.model.errors import RefusedError, UsageError
from tarsrelease.model.journal import Entry
from tarsrelease.model.release import Release
from tarsrelease.rollout import release_journal


def take_snapshot(context: Context) -> Snapshot:
    """Routes, Deployments, pods and both Helm histories."""
    rollout, cluster = context.rollout, context.cluster
    return Snapshot(
        taken_at=context.clock.now(),
        routes=tuple(cluster.routes.read(rollout.services)),
        deployments=tuple(cluster.workloads.deployments()),
        pods=tuple(cluster.workloads.pods()),
        stable_history=tuple(cluster.charts.history(rollout.application)),
        canary_history=tuple(cluster.charts.history(rollout.canary_release)),
    )


def all_routes(context: Context) -> list[RouteState]:
    """Every service's route. Raises UsageError where one is missing: no deploy has made them."""
    services = context.rollout.services
    found = context.cluster.routes.read(services)
    missing = sorted({each.name for each in services} - {each.service for each in found})
    if missing:
        raise UsageError(
            doing="reading the routes",
            found=f"there is none for {', '.join(missing)}",
            expected="a route for each service, as deploy makes them",
            next_step="run `tarsrelease canary deploy` first",
        )
    return found


def refuse_rolled_back(doing: str, release: Release, entries: Sequence[Entry]) -> None:
    """Raises RefusedError where the journal has the release rolled back, and not deployed since."""
    if release_journal.rolled_back(entries, release.version):
        raise RefusedError(
            doing=doing,
            found="the journal says that it was rolled back",
            expected="a release that was deployed since",
            next_step="`tarsrelease canary deploy` starts it afresh, once it is repaired",
        )
