"""What a gate remembers of pods between evaluations: restarts and how long pods are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from tarsrelease.model.cluster import DeploymentState, PodState

RestartCounts = Mapping[str, int]
"""Lifetime restarts by ``pod/container``, init containers too."""


@dataclass(frozen=True, slots=True)
class PodMemory:
    """What was seen so far.

    `baseline` holds the lifetime restarts at the shift, None before the first look where nobody
    read them beforehand; `latest` the last seen, also of pods that are gone by now.
    `owners` maps pods to their Deployments; `incomplete_since` says since when a Deployment has
    lacked a pod (Unix time of the run's clock).
    """

    baseline: RestartCounts | None = None
    latest: RestartCounts | None = None
    owners: Mapping[str, str] | None = None
    incomplete_since: Mapping[str, float] | None = None

    def restarts(self, deployment: str) -> dict[str, int]:
        """Restarts since the stage began, by ``pod/container``; only those above 0."""
        owners, baseline = self.owners or {}, self.baseline or {}
        return {
            container: count - baseline.get(container, 0)
            for container, count in (self.latest or {}).items()
            if owners.get(container.partition("/")[0]) == deployment
            and count > baseline.get(container, 0)
        }

    def incomplete_for(self, deployment: str, now: float) -> float:
        """Seconds that the Deployment has lacked a pod; 0 while it is complete."""
        return max(0.0, now - (self.incomplete_since or {}).get(deployment, now))


def restart_counts(pods: Iterable[PodState]) -> dict[str, int]:
    """Lifetime restarts of these pods' containers, by ``pod/container``."""
    return {f"{pod.name}/{each.name}": each.restarts for pod in pods for each in pod.containers}


def remember(
    memory: PodMemory,
    deployments: Iterable[DeploymentState],
    pods: Iterable[PodState],
    *,
    since: datetime,
    now: float,
) -> PodMemory:
    """The memory after one more look.

    Without a baseline, what this first look finds becomes one, but for pods that started after
    the shift: like every pod that appears later, they count from zero.
    """
    seen = list(pods)
    counts = restart_counts(seen)
    baseline = memory.baseline
    if baseline is None:
        old = [pod for pod in seen if pod.started_at is None or pod.started_at < since]
        baseline = restart_counts(old)
    before = memory.incomplete_since or {}
    return replace(
        memory,
        baseline=baseline,
        latest={**(memory.latest or {}), **counts},
        owners={**(memory.owners or {}), **{pod.name: pod.owner for pod in seen}},
        incomplete_since={
            each.name: before.get(each.name, now) for each in deployments if not each.complete
        },
    )
