"""Where the day is, what it waits for and until when, and what to do next. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.model.cluster import Revision
from tarsrelease.model.environment import Environment
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.release import Release
from tarsrelease.operations.outcome import ended
from tarsrelease.operations.snapshot import look
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Charts, Journal, Lock, Routes, Workloads
from tarsrelease.rollout.position import position

STEP = "status"
_RECENT = 10


def status(
    release: Release,
    environment: Environment,
    *,
    charts: Charts,
    workloads: Workloads,
    routes: Routes,
    journal: Journal,
    lock: Lock,
    clock: Clock,
) -> Outcome:
    """The day's position, with the facts it was read from: routes, Deployments, Helm, journal."""
    started_at = clock.now()
    seen = look(release, charts=charts, workloads=workloads, routes=routes, clock=clock)
    entries = journal.entries()
    holder = lock.holder()
    here = position(release.rollout, seen, entries, holder)
    waits = f"; waits for {here.waits_for}" if here.waits_for else ""
    until = f" until {here.until:%H:%M:%S} UTC" if here.until else ""
    since = f" since {here.since:%Y-%m-%d %H:%M:%S} UTC" if here.since else ""
    return ended(
        STEP,
        release,
        environment,
        Verdict.PROCEED,
        f"{here.at}{since}: {here.says}{waits}{until}",
        started_at=started_at,
        clock=clock,
        details={
            "position": here.model_dump(mode="json"),
            "lock": holder.model_dump(mode="json") if holder else None,
            "routes": [route.model_dump(mode="json") for route in seen.routes],
            "deployments": [state.model_dump(mode="json") for state in seen.deployments],
            "helm": {
                release.rollout.application: _last(seen.stable_history),
                release.rollout.canary_release: _last(seen.canary_history),
            },
            "journal": [entry.model_dump(mode="json") for entry in entries[-_RECENT:]],
        },
        next_step=here.next,
    )


def _last(history: Sequence[Revision]) -> dict[str, object] | None:
    return history[-1].model_dump(mode="json") if history else None
