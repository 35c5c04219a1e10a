"""The day on paper, before anything is touched: stages, minutes, window, and what to branch on."""

from __future__ import annotations

from datetime import datetime

from tarsrelease.context import Assignment
from tarsrelease.model.environment import describe_overrides
from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.planning import StagePlan
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.step_details import PlanDetails
from tarsrelease.operations.outcome import StepReport
from tarsrelease.rollout import schedule

STEP = "plan"


def plan(
    assignment: Assignment,
    written: Rollout,
    *,
    stage_duration: float | None,
    flags_wanted: bool,
    override: str | None,
    at: datetime | None,
) -> Outcome:
    """Proceed, or no-go outside the deployment window that nobody overrode.

    `written` is rollout.yaml as it stands, the release the bundle as it is played, `override` a
    person's reason to begin outside the window, `at` another time than now to plan for. What the
    pipeline branches on is in ``details.outputs``.
    """
    report = StepReport(assignment, STEP)
    release, environment = assignment.release, assignment.environment
    begins = at or report.started_at
    rollout = release.rollout
    paper = schedule.schedule(written, rollout)
    window = schedule.window_check(rollout, begins, override)
    closed = window.status is Status.FAIL
    checks: tuple[Check, ...] = (_stages(paper), window)
    if flags_wanted:
        checks += (_flags(rollout),)
    warned = schedule.warnings(rollout, paper, begins, override)
    list_of_stages = ", ".join(f"{stage.weight} %" for stage in paper.stages)
    summary = (
        f"{list_of_stages}; with the promotion {_minutes(paper.minutes)}, "
        f"at most {_minutes(paper.minutes_at_most)}"
    )
    if closed:
        summary = f"outside the deployment window: {window.reason}"
    duration = "" if stage_duration is None else f"{stage_duration:g}s"
    flags = "true" if release.feature_flags else "false"
    return report.outcome(
        Verdict.NO_GO if closed else Verdict.PROCEED,
        summary,
        checks=checks,
        details=PlanDetails(
            outputs=schedule.outputs(
                release.directory, rollout, paper, environment.name, (duration, flags)
            ),
            plan=(
                *(_on_paper(stage) for stage in paper.stages),
                f"promotion: {_minutes(paper.promotion_minutes)} of looks while stable moves",
            ),
            schedule=paper.stages,
            warnings=tuple(warned),
            window_override=override,
            overrides=describe_overrides(environment.overrides),
        ),
        next_step="wait for the window, or override it with a reason" if closed else "verify",
    )


def _on_paper(stage: StagePlan) -> str:
    gates = (
        "its own gates" if stage.weight == stage.gates_of else f"the gates of {stage.gates_of} %"
    )
    return (
        f"{stage.weight} %: {_minutes(stage.minutes)}, "
        f"at most {_minutes(stage.minutes_at_most)}, by {gates}"
    )


def _minutes(minutes: float) -> str:
    return duration(minutes * 60)


def _stages(paper: schedule.Schedule) -> Check:
    borrowed = [
        f"{stage.weight} % by the gates of {stage.gates_of} %"
        for stage in paper.stages
        if stage.weight != stage.gates_of
    ]
    return Check(
        id="plan.stages",
        status=Status.PASS,
        expected="weights that rise and end in 100",
        reason=", ".join(borrowed) or "each stage has gates of its own",
    )


def _flags(rollout: Rollout) -> Check:
    named = ", ".join(sorted(rollout.feature_flags))
    return Check(
        id="plan.feature_flags",
        status=Status.PASS if named else Status.SKIPPED,
        expected="feature flags in rollout.yaml to switch on",
        reason=f"{named} go on with the canary" if named else "rollout.yaml names none",
    )
