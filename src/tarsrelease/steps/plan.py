"""plan: show the planned stages, durations and deployment window."""

from __future__ import annotations

from datetime import datetime

from tarsrelease.context import Assignment
from tarsrelease.model.format import count, duration
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.overrides import describe_overrides
from tarsrelease.model.planning import StagePlan
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.step_details import PlanDetails
from tarsrelease.operations.outcome import StepReport
from tarsrelease.rollout import schedule, window

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
    """Proceed, or no-go outside the deployment window without an override.

    `written` is rollout.yaml without command line options, `override` a person's reason to start
    outside the window, `at` the start to plan for (None: now). ``details.outputs`` has the
    pipeline's outputs.
    """
    report = StepReport(assignment, STEP)
    release, environment = assignment.release, assignment.environment
    begins = at or report.started_at
    rollout = release.rollout
    paper = schedule.schedule(written, rollout)
    allowed = window.check(rollout, begins, override)
    closed = allowed.status is Status.FAIL
    jobs = schedule.job_check(rollout, environment.github)
    checks: tuple[Check, ...] = (_stages(paper), allowed, jobs)
    too_long = jobs.status is Status.FAIL
    if flags_wanted:
        checks += (_flags(rollout),)
    warned = schedule.warnings(rollout, paper, begins, override)
    list_of_stages = ", ".join(f"{stage.weight} %" for stage in paper.stages)
    summary = (
        f"{list_of_stages}; with the promotion {_minutes(paper.minutes)}, "
        f"at most {_minutes(paper.minutes_at_most)}"
    )
    waves = schedule.wave_schedules(environment, paper)
    if waves:
        total = sum(wave.minutes for wave in waves)
        most = sum(wave.minutes_at_most for wave in waves)
        summary = (
            f"{count(len(environment.targets), 'target')} in {count(len(waves), 'wave')}: "
            f"{_minutes(total)}, at most {_minutes(most)}, without the approvals; "
            f"each target {summary}"
        )
    if closed:
        summary = f"outside the deployment window: {allowed.reason}"
    elif too_long:
        summary = jobs.reason
    duration = "" if stage_duration is None else f"{stage_duration:g}s"
    flags = "true" if release.feature_flags else "false"
    return report.outcome(
        Verdict.NO_GO if closed or too_long else Verdict.PROCEED,
        summary,
        checks=checks,
        details=PlanDetails(
            outputs=schedule.outputs(
                release.directory, rollout, paper, environment.name, (duration, flags)
            ),
            plan=(
                *(_on_paper(stage) for stage in paper.stages),
                f"promotion: {_minutes(paper.promotion_minutes)} of evaluations of stable, "
                "with the bake",
            ),
            schedule=paper.stages,
            table=schedule.wave_table(environment, paper) if waves else None,
            warnings=tuple(warned),
            window_override=override,
            overrides=describe_overrides(environment.overrides),
        ),
        next_step="wait for the window, or use --override-window with a reason"
        if closed
        else "shorten the stages, or raise timeout-minutes in the workflow and github.stage_job or "
        "github.promote_job in the environment file"
        if too_long
        else "tarsrelease verify",
    )


def _on_paper(stage: StagePlan) -> str:
    checks = (
        "its own checks" if stage.weight == stage.gates_of else f"the checks of {stage.gates_of} %"
    )
    return (
        f"{stage.weight} %: {_minutes(stage.minutes)}, "
        f"at most {_minutes(stage.minutes_at_most)}, with {checks}"
    )


def _minutes(minutes: float) -> str:
    return duration(minutes * 60)


def _stages(paper: schedule.Schedule) -> Check:
    borrowed = [
        f"{stage.weight} % with the checks of {stage.gates_of} %"
        for stage in paper.stages
        if stage.weight != stage.gates_of
    ]
    return Check(
        id="plan.stages",
        status=Status.PASS,
        expected="weights that rise and end in 100",
        reason=", ".join(borrowed) or "each stage has its own checks",
    )


def _flags(rollout: Rollout) -> Check:
    named = ", ".join(sorted(rollout.feature_flags))
    return Check(
        id="plan.feature_flags",
        status=Status.PASS if named else Status.SKIPPED,
        expected="feature flags in rollout.yaml to switch on",
        reason=f"the canary switches on {named}" if named else "rollout.yaml has no feature_flags",
    )
