"""Pods, sights and readings for the tests of checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from tarsrelease.gates.checks import JUDGES, ClusterState, Inputs, Patience, Subject
from tarsrelease.model.checks import CheckRule
from tarsrelease.model.cluster import ContainerState, DeploymentState, PodState
from tarsrelease.model.measurement import Sample, Track, Unmeasured
from tarsrelease.model.outcome import Check

NOW = 10_000.0
STARTED = datetime.fromtimestamp(NOW - 600, UTC)
PATIENCE = Patience(alpha=1e-4, confidence=0.95, stale_after=15.0)
NAME = "tars-canary-api"


def pod(name: str = "p1", **changes: object) -> PodState:
    restarts = changes.pop("restarts", 0)
    waiting = changes.pop("waiting", None)
    container = ContainerState.model_validate(
        {"name": "c", "init": False, "ready": True, "restarts": restarts, "waiting": waiting}
    )
    state = PodState(
        name=name,
        owner=NAME,
        track=Track.CANARY,
        version="1.0.1",
        ready=True,
        terminating=False,
        phase="Running",
        started_at=STARTED,
        containers=(container,),
    )
    return state.model_copy(update=changes)


def deployment(replicas: int = 1, ready: int = 1) -> DeploymentState:
    return DeploymentState(
        name=NAME,
        replicas=replicas,
        ready=ready,
        updated=replicas,
        available=ready,
        settled=True,
        images=(),
        version="1.0.1",
    )


def cluster(
    pods: Sequence[PodState] = (pod(),),
    state: DeploymentState | None = None,
    restarted: Mapping[str, int] | None = None,
    incomplete_for: float = 0.0,
) -> ClusterState:
    return ClusterState(
        deployments={NAME: state or deployment(len(pods), len(pods))},
        pods=pods,
        restarts={NAME: restarted or {}},
        incomplete_for={NAME: incomplete_for},
    )


INPUTS = Inputs(counts={}, gauges={}, cluster=cluster(), sources={}, now=NOW, elapsed=300.0)
BESIDE = "tars-api"
API = Subject("api", Track.CANARY, NAME, BESIDE)
KEY = ("api", Track.CANARY)


def by_law(rule: CheckRule, inputs: Inputs = INPUTS) -> Check:
    return JUDGES[rule.kind](rule, API, inputs, PATIENCE)


def of_pods(rule: CheckRule, seen: ClusterState | Unmeasured) -> Check:
    return by_law(rule, replace(INPUTS, cluster=seen))


def readings(*values: float, every: float = 5.0, end: float = NOW) -> tuple[Sample, ...]:
    first = end - every * (len(values) - 1)
    return tuple(Sample(first + every * n, value) for n, value in enumerate(values))
