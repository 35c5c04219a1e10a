"""Contexts for steps, with the ports that a test names; any other one fails when it is used."""

from __future__ import annotations

from typing import Any, cast

from tarsrelease.adapters.clock import SystemClock
from tarsrelease.context import Assignment, Cluster, Context, MetricsSources, People
from tarsrelease.model.environment import Environment
from tarsrelease.model.release import Release, Run

RUN = Run(id="run-1", owner="test@host")
PORTS = ("routes", "workloads", "charts", "journal", "lock", "gateway", "facts")


class Missing:
    """A port that the test did not give."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the test gave no port for {name}")


class Silent:
    """Progress that nobody sees."""

    def say(self, line: str) -> None: ...


def people() -> People:
    """Nobody to ask, and nobody who listens."""
    return People(cast("Any", Missing()), cast("Any", Silent()))


def assignment(release: Release, environment: Environment, clock: Any = None) -> Assignment:
    """What a step without a cluster works with; the real clock by default."""
    return Assignment(release, environment, RUN, people(), clock or SystemClock())


def context(
    release: Release, environment: Environment, clock: Any = None, run: Run = RUN, **ports: Any
) -> Context:
    """`ports` by their names in `Cluster` and `People`; `metrics` are the samples."""
    missing: Any = Missing()
    return Context(
        release,
        environment,
        run,
        People(ports.get("person", missing), ports.get("progress", cast("Any", Silent()))),
        clock or SystemClock(),
        Cluster(**{name: ports.get(name, missing) for name in PORTS}),
        MetricsSources(
            ports.get("metrics", missing), ports.get("external", missing), ports.get("direct")
        ),
    )
