"""Scale the canary for its weight and stable for all traffic, and wait until replicas are ready."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from tarsrelease.context import Context
from tarsrelease.gates.checks import HOPELESS
from tarsrelease.model.cluster import DeploymentState, PodState
from tarsrelease.model.errors import ForbiddenError, UnreachableError, UsageError
from tarsrelease.model.format import duration, names
from tarsrelease.model.journal import Entry
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.rollout import Stage
from tarsrelease.model.versions import same_version
from tarsrelease.operations.answering import patiently
from tarsrelease.operations.outcome import changing
from tarsrelease.operations.tasks import result_of, with_each_tick
from tarsrelease.ports.clock import Task
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.capacity import replicas_for
from tarsrelease.rollout.release_journal import Pins
from tarsrelease.rollout.rollback_plan import stable_names

CAPACITY = "canary.capacity"
_AGAIN = "run this stage again, or `tarsrelease rollback`"
_POLL = 0.25
_POLL_COMPLETE = 0.5
_HOPELESS_FOR = 15.0
"""Seconds that pods may crash or lack their image before the wait stops."""


def scaling(context: Context, stage: Stage, entries: Sequence[Entry]) -> Task[Check | None]:
    """Scale the canary for the stage's weight and wait until its replicas are ready.

    Returns None when they are ready; else a result: `fail` if pods cannot start, `inconclusive`
    after `limits.deploy`, also if the API server does not answer. Raises UsageError if there is no
    canary, and StoppedError if the API server is away for longer while the canary is scaled.
    """
    pins = release_journal.pins(entries, context.release.version)
    pinned = pins.replicas if pins is not None else {}
    workloads = context.cluster.workloads
    listed = yield from patiently(context, stage.name, workloads.deployments)
    found = {each.name: each for each in listed}
    for service in context.rollout.services:
        stable, canary = service.stable.deployment, service.canary.deployment
        missing = [name for name in (stable, canary) if name not in found]
        if missing:
            raise UsageError(
                doing=f"scaling the canary for {stage.weight} %",
                found=f"there is no Deployment {missing[0]}",
                expected="a Deployment for stable and one for the canary",
                next_step="run `tarsrelease canary deploy` first",
            )
        wanted = replicas_for(stage.weight, pinned.get(stable, found[stable].replicas))
        if found[canary].replicas < wanted:
            context.say(f"scaling {canary} to {wanted} replicas for {stage.weight} %")
            with changing(_AGAIN):  # a write without an answer may have been done
                scale = partial(workloads.scale, canary, wanted)
                yield from patiently(context, stage.name, scale)
    clock = context.clock
    canaries = [service.canary.deployment for service in context.rollout.services]
    started = clock.now()
    while True:
        hopeless: list[str] = []
        try:
            states = {each.name: each for each in workloads.deployments()}
            pods = workloads.pods()
            lacking = _incomplete(states, canaries) or _unreached(context, canaries, pods)
            if not lacking:
                return None
            hopeless = [
                f"{pod.name}/{container.name}: {container.waiting}"
                for pod in pods
                for container in pod.containers
                if pod.owner in lacking and not pod.terminating and container.waiting in HOPELESS
            ]
        except UnreachableError as error:
            lacking = dict.fromkeys(canaries, str(error))
        waited = (clock.now() - started).total_seconds()
        if hopeless or waited >= context.environment.limits.deploy:
            return Check(
                id=CAPACITY,
                status=Status.FAIL if hopeless else Status.INCONCLUSIVE,
                observed=Observed(value=len(canaries) - len(lacking), unit="count"),
                expected=f"every canary Deployment is ready before {stage.weight} %",
                reason=names(hopeless or list(dict.fromkeys(lacking.values()))),
                source=names([f"deployment/{name}" for name in lacking]),
                window=waited,
            )
        yield _POLL


def _incomplete(
    states: Mapping[str, DeploymentState], deployments: Iterable[str]
) -> dict[str, str]:
    """Sentences by Deployment that is not complete, or not there."""
    lacking = {}
    for name in deployments:
        state = states.get(name)
        if state is None or not state.complete:
            problem = f": {state.problem}" if state and state.problem else ""
            lacking[name] = f"{name} is not ready{problem}"
    return lacking


def complete_stable(
    context: Context,
    pins: Pins | None,
    *,
    version: str,
    deadline: float,
    each_tick: Callable[[], None],
) -> str | None:
    """Scale stable to its pinned replicas and wait until all run `version`.

    Leaves autoscaled Deployments to their autoscaler. Returns as `wait_until_complete`.
    """
    wanted = scale_stable(context, pins)
    task = completing(context, wanted, version=version, deadline=deadline)
    return result_of(context.clock, with_each_tick(task, each_tick))


def scale_stable(context: Context, pins: Pins | None) -> Mapping[str, int]:
    """Scale stable to its pinned replicas. The least replicas that each Deployment must have."""
    workloads = context.cluster.workloads
    least = dict.fromkeys(stable_names(context.rollout), 1) | (pins.replicas if pins else {})
    autoscaled = {scaler.deployment for scaler in workloads.autoscalers()}
    for state in workloads.deployments():
        if state.replicas < least.get(state.name, 0) and state.name not in autoscaled:
            workloads.scale(state.name, least[state.name])
    return {name: 1 if name in autoscaled else number for name, number in least.items()}


def wait_until_complete(
    context: Context,
    replicas: Mapping[str, int],
    *,
    version: str,
    deadline: float,
    each_tick: Callable[[], None],
) -> str | None:
    """Wait until each Deployment is complete. Returns None, or the reason why one is not.

    `replicas` gives the minimum by Deployment, `version` the version they must run. Stops after
    `deadline` seconds, or earlier if pods crash or cannot start. If the API server does not
    answer, retries until the deadline.
    """
    each_tick()
    task = completing(context, replicas, version=version, deadline=deadline)
    return result_of(context.clock, with_each_tick(task, each_tick))


def completing(
    context: Context, replicas: Mapping[str, int], *, version: str, deadline: float
) -> Task[str | None]:
    """`wait_until_complete` as a task."""
    clock, workloads = context.clock, context.cluster.workloads
    started = clock.now()
    hopeless_since: dict[str, datetime] = {}
    former: dict[str, PodState] | None = None
    while True:
        waited = (clock.now() - started).total_seconds()
        try:
            missing = _missing(replicas, version, workloads.deployments())
            pods = workloads.pods()
            missing = missing or list(_unreached(context, replicas, pods).values())
            if not missing:
                return None
            former = _unchanged(_stuck_before(pods, started) if former is None else former, pods)
            hopeless = _hopeless(replicas, [pod for pod in pods if pod.name not in former])
        except UnreachableError as error:
            missing, hopeless = [str(error)], {}
        hopeless_since = {pod: hopeless_since.get(pod, clock.now()) for pod in hopeless}
        for pod, since in hopeless_since.items():
            if (clock.now() - since).total_seconds() >= _HOPELESS_FOR:
                return f"pod {pod} is in {hopeless[pod]}"
        if waited >= deadline:
            return f"after {duration(waited)}: {'; '.join(missing)}"
        yield _POLL_COMPLETE


def _missing(
    replicas: Mapping[str, int], version: str, found: Iterable[DeploymentState]
) -> list[str]:
    states = {state.name: state for state in found}
    missing = []
    for name, least in replicas.items():
        state = states.get(name)
        if state is None:
            missing.append(f"{name} does not exist")
        elif not same_version(state.version, version):
            missing.append(f"{name} runs {state.version or 'no version'}, not {version}")
        elif not state.complete or state.replicas < least:
            problem = state.problem
            missing.append(
                f"{name} has {state.ready} ready and {state.updated} new of "
                f"{max(state.replicas, least)} replicas" + (f": {problem}" if problem else "")
            )
    return missing


def _unreached(
    context: Context, deployments: Iterable[str], pods: Sequence[PodState]
) -> dict[str, str]:
    """Sentences by Deployment whose Service does not lead to all its ready pods yet.

    A complete Deployment is not enough: after an outage of the API server the Services follow 10
    to 24 s later, and until then the gateway sends requests to pods that are gone.
    """
    try:
        behind = context.cluster.workloads.pods_behind()
    except ForbiddenError:
        return {}  # a Role of an earlier version; `preflight` names the right that it lacks
    sides = [side for each in context.rollout.services for side in (each.stable, each.canary)]
    services = {side.deployment: side.service for side in sides}
    unreached = {}
    for name in deployments:
        service = services.get(name, "")
        ready = {p.name for p in pods if p.owner == name and p.ready and not p.terminating}
        missing = ready - behind.get(service, ready)
        if missing:
            unreached[name] = f"Service {service} does not lead to {names(sorted(missing))} yet"
    return unreached


def _stuck_before(pods: Iterable[PodState], now: datetime) -> dict[str, PodState]:
    """Pods that have failed for longer. Their status may be old, and its cause gone: a missing
    image that is back is pulled only after the kubelet's pause."""
    longest = timedelta(seconds=_HOPELESS_FOR)
    return {p.name: p for p in pods if p.started_at is not None and now - p.started_at > longest}


def _unchanged(former: Mapping[str, PodState], pods: Iterable[PodState]) -> dict[str, PodState]:
    """Those whose containers still have the status that they had before."""
    now = {pod.name: pod.containers for pod in pods}
    return {name: pod for name, pod in former.items() if now.get(name) == pod.containers}


def _hopeless(replicas: Mapping[str, int], pods: Iterable[PodState]) -> dict[str, str]:
    return {
        pod.name: container.waiting
        for pod in pods
        if pod.owner in replicas and not pod.terminating
        for container in pod.containers
        if container.waiting in HOPELESS and container.waiting is not None
    }
