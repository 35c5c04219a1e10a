"""After the promotion: one look at the new stable, over a window that is recorded already."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.context import Context
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.format import duration, percent
from tarsrelease.model.journal import Entry
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, exit_code_of
from tarsrelease.model.step_details import WatchDetails
from tarsrelease.operations.outcome import StepReport
from tarsrelease.operations.recorded_checks import recorded_checks, stage_of
from tarsrelease.ports.clock import Clock
from tarsrelease.report.results import count_statuses
from tarsrelease.rollout.release_journal import promotion

STEP = "watch"
YOUNG = "watch.young"


def watch(context: Context, window: float) -> Outcome:
    """The last stage's checks of stable: proceed, no-go where one is proven bad, else hold."""
    report, release = StepReport(context, STEP), context.release
    checks = recorded_checks(context, stage_of(release, window), version=release.version)
    statuses = {check.status for check in checks}
    if Status.FAIL in statuses:
        verdict = Verdict.NO_GO
    elif statuses == {Status.PASS}:
        verdict = Verdict.PROCEED
    else:
        verdict = Verdict.HOLD
    return report.outcome(
        verdict,
        f"{release.version} over {duration(window)}: {count_statuses(checks)}",
        checks=checks,
        details=WatchDetails(
            window=window, confidence=percent(release.rollout.statistics.confidence)
        ),
        next_step=""
        if verdict is Verdict.PROCEED
        else "tarsrelease rollback, or look at what did not pass",
    )


def promoted(entries: Sequence[Entry]) -> str:
    """The version that was promoted last. Raises UsageError where the journal knows none."""
    found = promotion(entries)
    if found is None:
        raise UsageError(
            doing="looking for the release to watch",
            found="no promotion that stands in the cluster's journal",
            expected="a release that was promoted here",
            next_step="name it: --release DIR",
        )
    return found.release


def nothing_to_watch(
    entries: Sequence[Entry], environment: Environment, young: float, *, clock: Clock
) -> Outcome | None:
    """For a scheduler that always looks: no release is young here. None where one is.

    `young`: for how many seconds after its promotion a release is watched. What was not looked at
    is said to be so.
    """
    now = clock.now()
    found = promotion(entries)
    if found is None:
        reason = "no promotion stands in the cluster's journal"
    elif (now - found.at).total_seconds() > young:
        reason = f"{found.release} was promoted at {found.at:%Y-%m-%d %H:%M} UTC"
        reason += f", and is watched for {duration(young)}"
    else:
        return None
    check = Check(
        id=YOUNG,
        status=Status.SKIPPED,
        expected="a release that was promoted a short while ago",
        reason=reason,
        source="journal",
    )
    return Outcome(
        step=STEP,
        release=found.release if found else None,
        environment=environment.name,
        verdict=Verdict.PROCEED,
        exit_code=exit_code_of(Verdict.PROCEED),
        summary=f"NOT LOOKED AT: {reason}",
        checks=(check,),
        started_at=now,
        finished_at=clock.now(),
    )
