"""report slo: how the SLOs were kept for some days, and what it took."""

from __future__ import annotations

from typing import NamedTuple

from tarsrelease.gates.measure.pod_hours import Used, used_by
from tarsrelease.model.capacity import Reserved
from tarsrelease.model.details import Table
from tarsrelease.model.errors import ReleaseError, UsageError
from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.slo_report import SloReport
from tarsrelease.model.step_details import SloReportDetails
from tarsrelease.operations.kpis import Measuring, Window, first_recorded, measure_kpis
from tarsrelease.operations.outcome import StepReport
from tarsrelease.operations.pod_usage import CPU, MEMORY
from tarsrelease.readiness import slo_report as judge
from tarsrelease.readiness.kpis import slos
from tarsrelease.report.results import count_statuses
from tarsrelease.report.slo_pages import tables
from tarsrelease.steps.measure_kpi import notes, verdict_of

STEP = "report slo"


class Reservations(NamedTuple):
    """What each Deployment's pods reserve, or why that is not known."""

    known: dict[str, Reserved]
    problem: str = ""


def report_slo(
    measuring: Measuring,
    seconds: float,
    reservations: Reservations,
    prices: judge.Prices | None = None,
) -> Outcome:
    """No-go if an SLO was missed or the error budget is spent; hold if not all is recorded.

    Raises UsageError if nothing of the last `seconds` is recorded.
    """
    assignment = measuring.assignment
    report, targets = StepReport(assignment, STEP), assignment.rollout.objectives.targets
    asked = measuring.last(seconds)
    since = first_recorded(measuring, asked)
    if since is None:
        raise UsageError(
            doing=f"reporting the last {duration(seconds)}",
            found="no sample of this time",
            expected="requests that are recorded",
            next_step="check the SLIs in rollout.yaml, and the metrics server",
        )
    window = Window(since, asked.end)
    every = judge.part_of(window.seconds)
    found = measure_kpis(measuring, window, deployment="stable", every=every)
    whole = slos(found, targets, found.missing, window.seconds)
    spent, lasts = judge.budget(found, targets.availability)
    checks = (
        *whole,
        judge.budget_check(spent),
        judge.recorded_check(seconds, window.seconds, since),
    )
    used, problem = _used(measuring, window)
    made = SloReport(
        release=assignment.release.version,
        environment=assignment.environment.name,
        asked_seconds=seconds,
        kpis=found.model_copy(update={"slos": whole}),
        compliance=tuple(judge.compliance(found, whole, targets)),
        budget=spent,
        budget_lasts_days=lasts,
        trends=tuple(judge.trends(found)),
        capacity=tuple(judge.capacity(used, reservations.known)),
        cost=tuple(judge.cost(used, reservations.known, window.seconds, prices)),
        notes=tuple(each for each in (*notes(found), reservations.problem, problem) if each),
    )
    verdict = verdict_of(checks)
    first = tables(made)[0]
    return report.outcome(
        verdict,
        f"{duration(window.seconds)} of {assignment.environment.name}: {count_statuses(checks)}",
        checks=checks,
        details=SloReportDetails(
            slo_report=made,
            table=Table(header=first.header, rows=first.rows),
            lines=made.notes,
        ),
        next_step="" if verdict is Verdict.PROCEED else "see the results that did not pass",
    )


_MOMENTS = 200


def _used(measuring: Measuring, window: Window) -> tuple[dict[str, Used], str]:
    """What stable's pods used, and why that is not known."""
    rollout = measuring.assignment.rollout
    namespace = measuring.assignment.environment.kubernetes.namespace
    names = [each.stable.deployment for each in rollout.services]
    names += [each.stable for each in rollout.workers]
    step = max(300.0, window.seconds / _MOMENTS)
    try:
        cpu, memory = measuring.metrics.recorded(
            [each.format(namespace) for each in (CPU, MEMORY)], window.start, window.end, step
        )
    except ReleaseError as error:
        return {}, f"capacity and cost are not known: {error}"
    if not cpu and not memory:
        return {}, "capacity and cost are not known: no container metrics are recorded"
    return used_by(names, cpu, memory, int(window.seconds / step) + 1), ""
