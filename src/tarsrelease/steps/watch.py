"""After the promotion: one look at the new stable, over a window that is recorded already."""

from __future__ import annotations

from tarsrelease.gates.day_journal import PROMOTE
from tarsrelease.gates.words import percent
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.outcome import Outcome, Status, Verdict
from tarsrelease.model.release import Release
from tarsrelease.ports import Clock, Metrics, Workloads
from tarsrelease.report.words import count_statuses, show_seconds
from tarsrelease.steps.ending import ended
from tarsrelease.steps.recorded import recorded_checks, stage_of

STEP = "watch"


def watch(
    release: Release,
    environment: Environment,
    *,
    window: float,
    metrics: Metrics,
    workloads: Workloads,
    clock: Clock,
) -> Outcome:
    """The last stage's checks of stable: proceed, no-go where one is proven bad, else hold."""
    started_at = clock.now()
    checks = recorded_checks(
        release,
        environment,
        stage_of(release, window),
        version=release.version,
        metrics=metrics,
        workloads=workloads,
        clock=clock,
    )
    statuses = {check.status for check in checks}
    if Status.FAIL in statuses:
        verdict = Verdict.NO_GO
    elif statuses == {Status.PASS}:
        verdict = Verdict.PROCEED
    else:
        verdict = Verdict.HOLD
    return ended(
        STEP,
        release,
        environment,
        verdict,
        f"{release.version} over {show_seconds(window)}: {count_statuses(checks)}",
        started_at=started_at,
        clock=clock,
        checks=checks,
        details={"window": window, "confidence": percent(release.rollout.statistics.confidence)},
        next_step=""
        if verdict is Verdict.PROCEED
        else "tarsrelease rollback, or look at what did not pass",
    )


def promoted(entries: list[Entry]) -> str:
    """The version that was promoted last. Raises UsageError where the journal knows none."""
    for entry in reversed(entries):
        if entry.action == PROMOTE and entry.phase is Phase.RESULT:
            return entry.release
    raise UsageError(
        doing="looking for the release to watch",
        found="no promotion in the cluster's journal",
        expected="a release that was promoted here",
        next_step="name it: --release DIR",
    )
