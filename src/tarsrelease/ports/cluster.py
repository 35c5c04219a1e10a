"""The cluster: routes, workloads, Helm releases, journal, lock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from tarsrelease.model.cluster import (
    AutoscalerState,
    DeploymentState,
    NodeState,
    PodState,
    Revision,
    RouteFaults,
    RouteState,
)
from tarsrelease.model.journal import Entry, LockHolder
from tarsrelease.model.rights import Right
from tarsrelease.model.rollout import Service


class Routes(Protocol):
    """The services' routes."""

    def read(self, services: Sequence[Service]) -> list[RouteState]:
        """The routes as they are; a route that does not exist is left out."""

    def shift(
        self,
        services: Sequence[Service],
        weight: int,
        annotations: Mapping[str, str],
    ) -> None:
        """Shift `weight` percent of each service's traffic to the canary, one write per route.

        The annotations (stage, run, release, traffic-until) go into the same write. Creates a
        route that does not exist; keeps filters and matches of one that does.
        """

    def faults(self, services: Sequence[Service]) -> list[RouteFaults]:
        """By service, what in its routes would make a release fail; changes nothing."""

    def annotate(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Change only these annotations.

        Never writes weights, so that extending a lease cannot undo another run's rollback.
        """

    def retire(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Remove the canary's backend and the header rule from the routes.

        Must precede the canary's removal, because a route to a missing Service is not
        `ResolvedRefs`. Creates a route that does not exist.
        """


class Workloads(Protocol):
    """Deployments, pods, autoscalers, and the objects that a canary leaves."""

    def deployments(self) -> list[DeploymentState]:
        """All Deployments of the namespace."""

    def pods(self) -> list[PodState]:
        """All pods that belong to a Deployment of the application, on either track."""

    def pods_behind(self) -> Mapping[str, frozenset[str]]:
        """By Service of the namespace: the pods that get its traffic, by name.

        A Service without a selector is left out: Kubernetes does not keep its endpoints.
        """

    def scale(self, deployment: str, replicas: int) -> None:
        """Set the number of replicas; returns at once."""

    def autoscalers(self) -> list[AutoscalerState]:
        """All HorizontalPodAutoscalers of the namespace that scale a Deployment."""

    def keep_at_least(self, autoscaler: str, replicas: int) -> None:
        """Set the autoscaler's minimum."""

    def remove_leftovers(self, helm_release: str) -> list[str]:
        """Delete objects that this Helm release left; return them as ``Kind/name``."""


class Settled(Protocol):
    """The values of a Helm release in another environment."""

    def values(self, release: str) -> dict[str, Any] | None:
        """All values of the release, with the chart's defaults; None if there is no release."""


class Charts(Protocol):
    """Helm releases in the namespace."""

    def render(
        self,
        release: str,
        chart: str,
        values: Sequence[Mapping[str, Any]],
        *,
        values_from: str | None,
    ) -> list[dict[str, Any]]:
        """The objects, hooks included, that `upgrade` with the same arguments would apply."""

    def planned(
        self,
        release: str,
        chart: str,
        values: Sequence[Mapping[str, Any]],
        *,
        values_from: str | None,
    ) -> list[dict[str, Any]]:
        """The objects, hooks included, of a dry run of `upgrade` on the server."""

    def defaults(self, chart: str) -> dict[str, Any]:
        """The chart's default values."""

    def crds(self, chart: str) -> list[dict[str, Any]]:
        """The definitions in the chart's crds/, which `upgrade` does not install."""

    def history(self, release: str) -> list[Revision]:
        """The release's revisions, oldest first; empty if there is no such release."""

    def upgrade(
        self,
        release: str,
        chart: str,
        values: Sequence[Mapping[str, Any]],
        *,
        values_from: str | None,
        deadline: float,
        wait: bool = True,
    ) -> None:
        """Install or upgrade `release` and wait until it is ready, `deadline` seconds at most.

        `values` are laid over each other, the last one wins; under them the values that the
        user gave the release `values_from`, where it exists. Without `wait` it returns once
        everything is applied.
        """

    def rollback(self, release: str, revision: int, *, deadline: float, wait: bool = True) -> None:
        """Roll back to `revision` and wait until it is ready; without `wait`, as `upgrade`."""

    def uninstall(self, release: str, *, deadline: float) -> None:
        """Remove the release and wait until its objects are gone. Idempotent."""


class Journal(Protocol):
    """The bounded journal on the cluster."""

    def append(self, entry: Entry) -> None:
        """Append an entry; when full, drops the oldest entries of other releases."""

    def entries(self) -> list[Entry]:
        """All entries, oldest first."""


class Lock(Protocol):
    """One lock per application and environment."""

    def acquire(self, *, preempt: bool = False) -> None:
        """Acquire the lock, or raise `LockedError` that names the holder. A rollback preempts."""

    def check(self) -> None:
        """Renew the lock; raise `LockedError` if another run has taken it."""

    def release(self) -> None:
        """Release the lock if it is ours."""

    def holder(self) -> LockHolder | None:
        """The current holder, if any."""


@contextmanager
def holding(lock: Lock, *, preempt: bool = False) -> Iterator[None]:
    """Hold the lock during the block."""
    lock.acquire(preempt=preempt)
    try:
        yield
    finally:
        lock.release()


class ClusterFacts(Protocol):
    """Facts of the cluster that preflight reads."""

    def nodes(self) -> list[NodeState]:
        """All nodes. Raises `ForbiddenError` without the right, which needs a ClusterRole."""

    def namespace(self) -> str | None:
        """The namespace's phase (``Active``), None if it does not exist. Raises as `nodes`."""

    def served(self, group: str, version: str) -> list[str]:
        """The kinds of an API group's version; empty if the cluster does not have it."""

    def server_time(self) -> float:
        """The API server's present, to the second (Unix time)."""

    def lacking(self, rights: Sequence[Right]) -> list[Right]:
        """The rights that the caller lacks in the namespace."""


class Web(Protocol):
    """Plain HTTP requests, for smoke tests."""

    def get(self, host: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        """Status and body of a GET to the gateway with this Host header."""
