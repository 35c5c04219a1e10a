"""watch: evaluate the promoted version over a window of recorded metrics."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.context import Context
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.format import duration, percent
from tarsrelease.model.journal import Entry
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, deciding, exit_code_of
from tarsrelease.model.step_details import WatchDetails
from tarsrelease.operations.outcome import StepReport
from tarsrelease.operations.recorded_checks import recorded_checks, stage_of
from tarsrelease.ports.clock import Clock
from tarsrelease.report.results import count_statuses
from tarsrelease.rollout.release_journal import promotion

STEP = "watch"
YOUNG = "watch.young"


def watch(context: Context, window: float) -> Outcome:
    """Apply the last stage's checks to stable: proceed, no-go if one fails, else hold."""
    report, release = StepReport(context, STEP), context.release
    checks = recorded_checks(context, stage_of(release, window), version=release.version)
    statuses = {check.status for check in deciding(checks)}
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
        else "check the results that did not pass, or run `tarsrelease rollback`",
    )


def promoted(entries: Sequence[Entry]) -> str:
    """The version that was promoted last. Raises UsageError if the journal has none."""
    found = promotion(entries)
    if found is None:
        raise UsageError(
            doing="finding the release to watch",
            found="the journal has no promotion that was not rolled back",
            expected="a promoted release",
            next_step="use --release DIR",
        )
    return found.release


def nothing_to_watch(
    entries: Sequence[Entry], environment: Environment, young: float, *, clock: Clock
) -> Outcome | None:
    """For scheduled runs: the outcome NOT CHECKED if no release is younger than `young` seconds.

    None if there is one. The age counts from the promotion.
    """
    now = clock.now()
    found = promotion(entries)
    if found is None:
        reason = "the journal has no promotion that was not rolled back"
    elif (now - found.at).total_seconds() > young:
        reason = f"{found.release} was promoted at {found.at:%Y-%m-%d %H:%M} UTC"
        reason += f", more than {duration(young)} ago"
    else:
        return None
    check = Check(
        id=YOUNG,
        status=Status.SKIPPED,
        expected=f"a release promoted within the last {duration(young)}",
        reason=reason,
        source="journal",
    )
    return Outcome(
        step=STEP,
        release=found.release if found else None,
        environment=environment.name,
        verdict=Verdict.PROCEED,
        exit_code=exit_code_of(Verdict.PROCEED),
        summary=f"NOT CHECKED: {reason}",
        checks=(check,),
        started_at=now,
        finished_at=clock.now(),
    )
