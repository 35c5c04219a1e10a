"""Taking the canary away, after which nothing of it is left."""

from __future__ import annotations

from tarsrelease.model.release import Release, Run
from tarsrelease.operations.traffic import OFF, timestamp, wait_until_accepted
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Charts, Routes, Workloads
from tarsrelease.ports.people import Progress


def retire(
    release: Release,
    run: Run,
    settle: float,
    *,
    routes: Routes,
    clock: Clock,
    progress: Progress,
    stage: str = OFF,
) -> None:
    """Routes that know only stable, and a gateway that has taken them up.

    A gateway that does not within `settle` seconds is only reported: it has the traffic off the
    canary already, and stable answers.
    """
    services = release.rollout.services
    progress.say("routes: only stable is left in them")
    routes.retire(
        services,
        {
            "weight": "0",
            "stage": stage,
            "run": run.id,
            "release": release.version,
            "shifted-at": timestamp(clock.now()),
        },
    )
    problem = wait_until_accepted(services, routes, clock, settle)
    if problem is not None:
        progress.say(f"routes: not accepted yet: {problem}")


def remove_canary(
    release: Release,
    deadline: float,
    *,
    charts: Charts,
    workloads: Workloads,
    progress: Progress,
) -> list[str]:
    """Remove the canary's Helm release and whatever of it Helm left; what had been left."""
    name = release.rollout.canary_release
    progress.say(f"removing {name}")
    if charts.history(name):
        charts.uninstall(name, deadline=deadline)
    left = workloads.remove_leftovers(name)
    if left:
        progress.say(f"removed, as Helm had left it: {', '.join(left)}")
    return left
