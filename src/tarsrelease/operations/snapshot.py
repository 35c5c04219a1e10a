"""Look first: the state of the cluster, read at one time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from tarsrelease.gates.checks import HOPELESS
from tarsrelease.model.cluster import DeploymentState, PodState, RouteState, Snapshot
from tarsrelease.model.errors import RefusedError, UnreachableError, UsageError
from tarsrelease.model.journal import Entry
from tarsrelease.model.release import Release
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Charts, Routes, Workloads
from tarsrelease.rollout import release_journal

_POLL = 0.5
_HOPELESS_FOR = 15.0
"""Seconds that pods may crash or lack their image before a wait for them is given up."""


def look(
    release: Release, *, charts: Charts, workloads: Workloads, routes: Routes, clock: Clock
) -> Snapshot:
    """Routes, Deployments, pods and both Helm histories."""
    rollout = release.rollout
    return Snapshot(
        taken_at=clock.now(),
        routes=tuple(routes.read(rollout.services)),
        deployments=tuple(workloads.deployments()),
        pods=tuple(workloads.pods()),
        stable_history=tuple(charts.history(rollout.application)),
        canary_history=tuple(charts.history(rollout.canary_release)),
    )


def standing_routes(release: Release, routes: Routes) -> list[RouteState]:
    """Every service's route. Raises UsageError where one is missing: no deploy has made them."""
    services = release.rollout.services
    found = routes.read(services)
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


def wait_until_complete(
    replicas: Mapping[str, int],
    *,
    version: str | None,
    workloads: Workloads,
    clock: Clock,
    deadline: float,
    alive: Callable[[], None],
) -> str | None:
    """Wait until each Deployment is complete; why that is not to be had otherwise.

    `replicas` gives the least replicas by Deployment, `version` the version they must run (None:
    any). Given up after `deadline` seconds, and early where pods crash or cannot start. An API
    server that does not answer is waited for until the deadline, too.
    """
    started = clock.now()
    hopeless_since: dict[str, datetime] = {}
    while True:
        alive()
        waited = (clock.now() - started).total_seconds()
        try:
            missing = _missing(replicas, version, workloads.deployments())
            if not missing:
                return None
            hopeless = _hopeless(replicas, workloads.pods())
        except UnreachableError as error:
            missing, hopeless = [str(error)], {}
        hopeless_since = {pod: hopeless_since.get(pod, clock.now()) for pod in hopeless}
        for pod, since in hopeless_since.items():
            if (clock.now() - since).total_seconds() >= _HOPELESS_FOR:
                return f"pod {pod} is in {hopeless[pod]}"
        if waited >= deadline:
            return f"after {waited:.0f} s: {'; '.join(missing)}"
        clock.sleep(_POLL)


def _missing(
    replicas: Mapping[str, int], version: str | None, found: Iterable[DeploymentState]
) -> list[str]:
    states = {state.name: state for state in found}
    missing = []
    for name, least in replicas.items():
        state = states.get(name)
        if state is None:
            missing.append(f"{name} does not exist")
        elif version is not None and state.version.removeprefix("v") != version.removeprefix("v"):
            missing.append(f"{name} runs {state.version or 'no version'}, not {version}")
        elif not state.complete or state.replicas < least:
            missing.append(
                f"{name} has {state.ready} ready and {state.updated} new of "
                f"{max(state.replicas, least)} replicas"
            )
    return missing


def _hopeless(replicas: Mapping[str, int], pods: Iterable[PodState]) -> dict[str, str]:
    return {
        pod.name: container.waiting
        for pod in pods
        if pod.owner in replicas and not pod.terminating
        for container in pod.containers
        if container.waiting in HOPELESS and container.waiting is not None
    }
