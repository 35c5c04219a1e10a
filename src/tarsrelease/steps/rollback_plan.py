"""What a rollback would do now; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tarsrelease.model.environment import Environment
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.release import Release
from tarsrelease.operations.outcome import ended
from tarsrelease.operations.snapshot import look
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Charts, Journal, Routes, Workloads
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.rollback_plan import plan


def plan_rollback(
    release: Release,
    environment: Environment,
    *,
    charts: Charts,
    workloads: Workloads,
    routes: Routes,
    journal: Journal,
    clock: Clock,
    undoing: Callable[[], Sequence[str]] | None = None,
) -> Outcome:
    """What a rollback would do now, and why; nothing is changed.

    `undoing` gives the lines of what would be done to the database, where that is asked for.
    """
    started_at = clock.now()
    seen = look(release, charts=charts, workloads=workloads, routes=routes, clock=clock)
    pins = release_journal.pins(journal.entries(), release.version)
    made = plan(seen, release.rollout, pins)
    lines = made.lines() + [f"database: {line}" for line in (undoing() if undoing else ())]
    return ended(
        "rollback --plan",
        release,
        environment,
        Verdict.PROCEED,
        f"{len(made.phases)} phases, back to {made.version or 'the version of before'}",
        started_at=started_at,
        clock=clock,
        details={"plan": lines, "budget": environment.limits.rollback},
        next_step="tarsrelease rollback",
    )
