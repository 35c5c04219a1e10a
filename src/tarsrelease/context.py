"""The context of a step: release, environment, run, and the ports.

Steps and operations receive one `Context`, or an `Assignment` if they need no cluster. Pure
functions receive values instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

from tarsrelease.model.environment import Environment
from tarsrelease.model.release import Release, Run
from tarsrelease.model.rollout import Rollout
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Charts, ClusterFacts, Journal, Lock, Routes, Web, Workloads
from tarsrelease.ports.metrics import (
    DirectMetrics,
    ExternalAnswers,
    Metrics,
    NoOtherTargets,
    OtherTargets,
)
from tarsrelease.ports.people import NoOutbox, Outbox, Person, Progress


@dataclass(slots=True)
class Contact:
    """Whether the API server has answered in this run: if not, its address may be wrong."""

    made: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """The ports of the cluster."""

    routes: Routes
    workloads: Workloads
    charts: Charts
    journal: Journal
    lock: Lock
    gateway: Web
    facts: ClusterFacts
    contact: Contact = field(default_factory=Contact)


@dataclass(frozen=True, slots=True)
class MetricsSources:
    """The sources of measurements: raw samples, other systems and people, other targets."""

    samples: Metrics
    external: ExternalAnswers
    direct: DirectMetrics | None = None
    others: OtherTargets = field(default_factory=NoOtherTargets)


@dataclass(frozen=True, slots=True)
class People:
    """The person who decides, the progress that people see, and the messages that they get."""

    person: Person
    progress: Progress
    outbox: Outbox = field(default_factory=NoOutbox)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One release in one environment, done by one run; works without a cluster."""

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
        """Show one line of progress."""
        self.people.progress.say(line)

    def with_release(self, release: Release) -> Self:
        """A copy with another release."""
        return replace(self, release=release)

    def with_environment(self, environment: Environment) -> Self:
        """A copy with another environment."""
        return replace(self, environment=environment)


@dataclass(frozen=True, slots=True)
class Context(Assignment):
    """An assignment with the cluster and the sources of measurements."""

    cluster: Cluster
    metrics: MetricsSources
