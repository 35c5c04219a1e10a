"""What the steps that act ask of the world beyond the common ports.

Each protocol here widens one of `tarsrelease.ports` by what only deploy, promote, rollback and
the day need, so that the steps that merely read stay satisfied with the small ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from tarsrelease.model.cluster import AutoscalerState
from tarsrelease.model.rollout import Service
from tarsrelease.ports import Charts, Lock, Person, Routes, Workloads


class LentRoutes(Routes, Protocol):
    """Routes whose loan of traffic can be extended, and from which the canary can be taken."""

    def annotate(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Change these annotations and nothing else.

        Weights are left alone, so that extending a loan can never undo a rollback that another
        run has just made.
        """

    def retire(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        """Name only stable in the routes: no canary backend, no header rule.

        A route that names a Service that is gone is not `ResolvedRefs`, so this comes before the
        canary's removal. Creates a route that does not exist.
        """


class ScaledWorkloads(Workloads, Protocol):
    """Workloads with what scales them, and with what a canary may leave behind."""

    def autoscalers(self) -> list[AutoscalerState]:
        """All HorizontalPodAutoscalers of the namespace that scale a Deployment."""

    def keep_at_least(self, autoscaler: str, replicas: int) -> None:
        """Set the autoscaler's minimum."""

    def remove_leftovers(self, helm_release: str) -> list[str]:
        """Delete what belongs to this Helm release and outlived it; say what, as ``Kind/name``."""


class RenderedCharts(Charts, Protocol):
    """Helm releases, with a look at what a chart would make of them."""

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
        """As `Charts.upgrade`; without `wait` it returns once everything is applied."""

    def rollback(self, release: str, revision: int, *, deadline: float, wait: bool = True) -> None:
        """As `Charts.rollback`; without `wait` it returns once everything is applied."""


class Attendant(Person, Protocol):
    """Who answers questions; `attended` says whether a person is really there.

    An assumed yes approves, but it never lifts a hold.
    """

    @property
    def attended(self) -> bool:
        """True where a person reads the question."""


@contextmanager
def holding(lock: Lock, *, preempt: bool = False) -> Iterator[None]:
    """Hold the lock for the length of the block."""
    lock.acquire(preempt=preempt)
    try:
        yield
    finally:
        lock.release()
