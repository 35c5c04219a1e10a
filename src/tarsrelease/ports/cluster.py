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
    RouteState,
)
from tarsrelease.model.journal import Entry, LockHolder
from tarsrelease.model.rights import Right
from tarsrelease.model.rollout import Service


class Routes(Protocol):
    """The services' routes, which are ours."""

    def read(self, services: Sequence[Service]) -> list[RouteState]:
        """The routes as they are; a route that does not exist is left out."""

    def shift(
        self,
        services: Sequence[Service],
        weight: int,
        annotations: Mapping[str, str],
    ) -> None:
        """Give the canary `weight` percent of each service's traffic, in one write a route.

        The annotations (stage, run, release, traffic-until) go into the same write. Creates a
        route that does not exist; keeps filters and matches of one that does.
        """

    def annotate(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Change these annotations and nothing else.

        Weights are left alone, so that extending a lease can never undo a rollback that another
        run has just made.
        """

    def retire(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Name only stable in the routes: no canary backend, no header rule.

        A route that names a Service that is gone is not `ResolvedRefs`, so this comes before the
        canary's removal. Creates a route that does not exist.
        """


class Workloads(Protocol):
    """Deployments, their pods, what scales them, and what a canary may leave behind."""

    def deployments(self) -> list[DeploymentState]:
        """All Deployments of the namespace."""

    def pods(self) -> list[PodState]:
        """All pods that belong to a Deployment of the application, on either track."""

    def scale(self, deployment: str, replicas: int) -> None:
        """Ask for this many replicas; returns at once."""

    def autoscalers(self) -> list[AutoscalerState]:
        """All HorizontalPodAutoscalers of the namespace that scale a Deployment."""

    def keep_at_least(self, autoscaler: str, replicas: int) -> None:
        """Set the autoscaler's minimum."""

    def remove_leftovers(self, helm_release: str) -> list[str]:
        """Delete what belongs to this Helm release and outlived it; say what, as ``Kind/name``."""


class Settled(Protocol):
    """What a Helm release elsewhere was set to."""

    def values(self, release: str) -> dict[str, Any] | None:
        """What it was rendered with, the chart's own values included; None where it is none."""


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

    def defaults(self, chart: str) -> dict[str, Any]:
        """The chart's own values."""

    def history(self, release: str) -> list[Revision]:
        """The release's revisions, oldest first; empty where there is no such release."""

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
        """Back to `revision`, and wait until it is ready; as `upgrade` without `wait`."""

    def uninstall(self, release: str, *, deadline: float) -> None:
        """Remove the release and wait until its objects are gone; none there is no error."""


class Journal(Protocol):
    """The bounded journal on the cluster."""

    def append(self, entry: Entry) -> None:
        """Add an entry; the oldest of other releases are dropped when it is full."""

    def entries(self) -> list[Entry]:
        """All entries, oldest first."""


class Lock(Protocol):
    """One lock per application and environment."""

    def acquire(self, *, preempt: bool = False) -> None:
        """Take it, or raise `LockedError` naming the holder. A rollback preempts."""

    def check(self) -> None:
        """Renew it; raise `LockedError` where another run has taken it."""

    def release(self) -> None:
        """Give it up where it is ours."""

    def holder(self) -> LockHolder | None:
        """Who holds it now, if anyone does."""


@contextmanager
def holding(lock: Lock, *, preempt: bool = False) -> Iterator[None]:
    """Hold the lock for the length of the block."""
    lock.acquire(preempt=preempt)
    try:
        yield
    finally:
        lock.release()


class ClusterFacts(Protocol):
    """Facts of the cluster that a release reads and never changes."""

    def nodes(self) -> list[NodeState]:
        """All nodes. Raises `ForbiddenError` without the right, which is the cluster's to give."""

    def namespace(self) -> str | None:
        """The namespace's phase (``Active``), None where there is none. Raises as `nodes`."""

    def lacking(self, rights: Sequence[Right]) -> list[Right]:
        """Those of the rights that the caller does not have in the namespace."""


class Web(Protocol):
    """Plain HTTP requests, for smoke tests."""

    def get(self, host: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        """Status and body of a GET to the gateway with this Host header."""
