"""Capacity before weight: the canary is scaled to carry its share, and waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tarsrelease.gates.checks import HOPELESS
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.format import names
from tarsrelease.model.journal import Entry
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import Stage
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Workloads
from tarsrelease.ports.people import Progress
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.capacity import replicas_for

CAPACITY = "canary.capacity"
_POLL = 0.25


def make_room(
    release: Release,
    environment: Environment,
    stage: Stage,
    entries: Sequence[Entry],
    workloads: Workloads,
    clock: Clock,
    progress: Progress,
    keep: Callable[[], None],
) -> Check | None:
    """Scale the canary to carry its share and wait until it can; a check that says why not.

    None when there is room. The check is `fail` where pods cannot come up, `inconclusive` where
    they have not within the time for a deploy. `keep` is called while waiting and may raise.
    Raises UsageError where there is no canary.
    """
    pins = release_journal.pins(entries, release.version)
    pinned = pins.replicas if pins is not None else {}
    found = {each.name: each for each in workloads.deployments()}
    for service in release.rollout.services:
        stable, canary = service.stable.deployment, service.canary.deployment
        missing = [name for name in (stable, canary) if name not in found]
        if missing:
            raise UsageError(
                doing=f"making room for {stage.weight} % on the canary",
                found=f"there is no Deployment {missing[0]}",
                expected="stable and canary side by side",
                next_step="run `tarsrelease canary deploy` first",
            )
        wanted = replicas_for(stage.weight, pinned.get(stable, found[stable].replicas))
        if found[canary].replicas < wanted:
            progress.say(f"capacity: {canary} to {wanted} replicas for {stage.weight} %")
            workloads.scale(canary, wanted)
    return _wait_until_ready(release, environment, workloads, clock, keep)


def _wait_until_ready(
    release: Release,
    environment: Environment,
    workloads: Workloads,
    clock: Clock,
    keep: Callable[[], None],
) -> Check | None:
    canaries = [service.canary.deployment for service in release.rollout.services]
    started = clock.now()
    while True:
        states = {each.name: each for each in workloads.deployments()}
        waiting = [n for n in canaries if n not in states or not states[n].complete]
        if not waiting:
            return None
        hopeless = [
            f"{pod.name}/{container.name}: {container.waiting}"
            for pod in workloads.pods()
            for container in pod.containers
            if pod.owner in waiting and not pod.terminating and container.waiting in HOPELESS
        ]
        waited = (clock.now() - started).total_seconds()
        if hopeless or waited >= environment.limits.deploy:
            return Check(
                id=CAPACITY,
                status=Status.FAIL if hopeless else Status.INCONCLUSIVE,
                observed=Observed(value=len(canaries) - len(waiting), unit="count"),
                expected="every canary Deployment carries its share before its weight rises",
                reason=names(hopeless or [f"{name} is not ready" for name in waiting]),
                source=names([f"deployment/{name}" for name in waiting]),
                window=waited,
            )
        keep()
        clock.sleep(_POLL)
