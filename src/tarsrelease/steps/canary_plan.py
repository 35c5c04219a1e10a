"""canary plan: check that the stages can decide with stable's recorded traffic."""

from __future__ import annotations

from collections.abc import Mapping

from tarsrelease.context import Assignment
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.gates.study import recorded_requests
from tarsrelease.gates.study.stage_lengths import not_planned, plan_stages
from tarsrelease.gates.study.wave_plan import plan_waves
from tarsrelease.model.details import Table
from tarsrelease.model.environment import Environment
from tarsrelease.model.format import duration, percent
from tarsrelease.model.outcome import (
    Check,
    Observed,
    Outcome,
    Status,
    Verdict,
    deciding,
    exit_code_of,
)
from tarsrelease.model.planning import PlannedCheck, PooledCheck
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.step_details import CanaryPlanDetails, FleetPlanDetails
from tarsrelease.operations.past_requests import RecordedTraffic
from tarsrelease.operations.selectors_checked import FITS, check_selectors
from tarsrelease.ports.metrics import History

SELECTORS = "plan.selectors"
_SLOTS = 1440
"""Slots of the recording, at most: a minute each for a day."""


def plan_canary(assignment: Assignment, history: History, window: float) -> Outcome:
    """The time each stage needs to decide, from stable's traffic of the last `window` seconds.

    No-go if a stage cannot decide within its duration and extension. Raises UsageError if nothing
    was recorded, UnreachableError if the metrics server does not answer.
    """
    release, environment = assignment.release, assignment.environment
    started_at = assignment.clock.now()
    rollout = release.rollout
    interval = environment.prometheus.scrape_interval
    slot = max(2 * interval, round(window / _SLOTS))
    end = history.server_time() // slot * slot
    asked = recorded_requests.selectors_of(rollout, environment.kubernetes.namespace)
    traffic = RecordedTraffic(
        history,
        rollout,
        environment.kubernetes.namespace,
        end - window,
        end,
        slot,
        assignment.people.progress,
    )
    slots = traffic.read(asked)
    planned = plan_stages(rollout, slots, slot=slot, scrape_interval=interval)
    selectors = check_selectors(rollout, environment, history, SELECTORS)
    checks = (*(_check(each) for each in planned), *selectors)
    verdict = Verdict.PROCEED
    fine = (Status.PASS, Status.SKIPPED)
    made = deciding(checks)
    if not planned or any(check.status not in fine for check in made):
        verdict = Verdict.NO_GO
    stages = list(
        dict.fromkeys(each.stage for each in planned if not (each.decides or each.advisory))
    )
    said = f"{', '.join(stages)} cannot decide" if stages else "every stage can decide"
    wrong = [check for check in deciding(selectors) if check.status is Status.FAIL]
    if wrong:
        services = ", ".join(str(check.service) for check in wrong)
        said += f"; the requests of {services} cannot be counted"
    return Outcome(
        step="canary plan",
        release=release.version,
        environment=environment.name,
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary=f"with stable's traffic of the last {duration(window)} {said}",
        checks=checks,
        details=CanaryPlanDetails(
            window_seconds=window,
            alpha_per_check=alpha_per_check(rollout),
            planned=planned,
            table=Table(header=HEADER, rows=tuple(tuple(_row(each)) for each in planned)),
            not_planned=not_planned(rollout),
            warnings=tuple(
                f"{check.service}: {check.reason}"
                for check in selectors
                if check.status is Status.PASS and check.reason != FITS
            ),
        ),
        started_at=started_at,
        finished_at=assignment.clock.now(),
        next=""
        if verdict is Verdict.PROCEED
        else "in rollout.yaml, mend the selectors that these results name"
        if wrong
        else "in rollout.yaml, give these stages more time, more traffic or wider limits",
    )


def plan_together(
    rollout: Rollout, environment: Environment, found: Mapping[str, Outcome], outcome: Outcome
) -> Outcome:
    """The outcome of a fleet with what the targets of each wave find together.

    `rollout` is that of one target, `found` has the outcomes of `plan_canary` by target.
    """
    planned = {
        name: own.planned
        for name, one in found.items()
        if (own := CanaryPlanDetails.of(one.details)) is not None
    }
    pooled = plan_waves(rollout, environment, planned)
    details = FleetPlanDetails(
        targets=outcome.details.targets,
        plan=outcome.details.plan,
        pooled=pooled,
        table=Table(header=WAVE_HEADER, rows=tuple(tuple(_wave_row(each)) for each in pooled)),
    )
    return outcome.model_copy(update={"details": details})


WAVE_HEADER = (
    "wave",
    "stage",
    "service",
    "check",
    "limit",
    "targets",
    "req/s together",
    "one target finds 2x the limit",
    "together they find it",
    "95 % of them in",
)


def _wave_row(each: PooledCheck) -> list[str]:
    return [
        str(each.wave),
        each.stage,
        each.service,
        each.check,
        percent(each.limit),
        str(each.targets),
        f"{each.usual:.3g}",
        percent(each.alone),
        percent(each.found),
        duration(each.found_in),
    ]


def _check(each: PlannedCheck) -> Check:
    reason = each.trouble or (
        f"{each.needed} requests take {duration(each.seconds)} at {each.usual:.3g} per second; "
        f"the stage detects twice the limit in {percent(each.found)} of cases"
    )
    return Check(
        id="plan.decides",
        status=Status.PASS if each.decides else Status.FAIL,
        service=each.service,
        observed=Observed(value=each.seconds, unit="seconds"),
        expected=f"{each.stage}: {each.check} decides within {duration(each.allowed)}",
        reason=reason,
        window=each.allowed,
        samples=round(each.usual * each.allowed),
        needed=each.needed,
        advisory=each.advisory,
    )


HEADER = (
    "stage",
    "service",
    "check",
    "limit",
    "needs",
    "req/s",
    "decides after",
    "in quiet hours",
    "finds 2x the limit",
    "95 % of them in",
    "stable has",
    "like stable",
)


def _row(each: PlannedCheck) -> list[str]:
    return [
        each.stage,
        each.service,
        each.check,
        percent(each.limit),
        str(each.needed),
        f"{each.usual:.3g}",
        duration(each.seconds) + ("" if each.decides else " (!)"),
        duration(each.quiet_seconds),
        percent(each.found),
        duration(each.found_in),
        percent(each.stable),
        "" if each.like_stable is None else f"{each.like_stable:.0f}",
    ]
