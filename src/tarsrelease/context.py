"""What a step works with: the release, where it goes, who carries it, and the ports.

Steps and operations receive one `Context`; pure functions never do, they take values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tarsrelease.model.environment import Environment
from tarsrelease.model.release import Release, Run
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Charts, Ground, Journal, Lock, Routes, Web, Workloads
from tarsrelease.ports.metrics import Elsewhere, Metrics
from tarsrelease.ports.people import Person, Progress


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster, by the part that is asked."""

    routes: Routes
    workloads: Workloads
    charts: Charts
    journal: Journal
    lock: Lock
    gateway: Web
    ground: Ground


@dataclass(frozen=True, slots=True)
class MetricsSources:
    """Where measurements come from: raw samples, and answers that no metrics server has."""

    samples: Metrics
    external: Elsewhere


@dataclass(frozen=True, slots=True)
class People:
    """Who decides where a step asks, and what they see while it works."""

    person: Person
    progress: Progress


@dataclass(frozen=True, slots=True)
class Context:
    """One release in one environment, carried by one run."""

    release: Release
    environment: Environment
    run: Run
    cluster: Cluster
    metrics: MetricsSources
    people: People
    clock: Clock

    def with_release(self, release: Release) -> Context:
        """The same context for a changed release."""
        return replace(self, release=release)

    def with_environment(self, environment: Environment) -> Context:
        """The same context for a changed environment."""
        return replace(self, environment=environment)
