"""What a step works with: the release, where it goes, who carries it, and the ports.

Steps and operations receive one `Context`, or the `Assignment` in it where they need no cluster.
Pure functions never do, they take values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from tarsrelease.model.environment import Environment
from tarsrelease.model.release import Release, Run
from tarsrelease.model.rollout import Rollout
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Charts, ClusterFacts, Journal, Lock, Routes, Web, Workloads
from tarsrelease.ports.metrics import ExternalAnswers, Metrics
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
    facts: ClusterFacts


@dataclass(frozen=True, slots=True)
class MetricsSources:
    """Where measurements come from: raw samples, and answers that no metrics server has."""

    samples: Metrics
    external: ExternalAnswers


@dataclass(frozen=True, slots=True)
class People:
    """Who decides where a step asks, and what they see while it works."""

    person: Person
    progress: Progress


@dataclass(frozen=True, slots=True)
class Assignment:
    """One release in one environment, carried by one run: all that works without a cluster."""

    release: Release
    environment: Environment
    run: Run
    people: People
    clock: Clock

    @property
    def rollout(self) -> Rollout:
        """The rollout of the release."""
        return self.release.rollout

    def say(self, line: str) -> None:
        """Show people one line about what is being done."""
        self.people.progress.say(line)

    def with_release(self, release: Release) -> Self:
        """The same for a changed release."""
        return replace(self, release=release)

    def with_environment(self, environment: Environment) -> Self:
        """The same for a changed environment."""
        return replace(self, environment=environment)


@dataclass(frozen=True, slots=True)
class Context(Assignment):
    """An assignment with the cluster and the sources of measurements."""

    cluster: Cluster
    metrics: MetricsSources
