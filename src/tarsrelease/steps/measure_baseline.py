"""measure baseline: what production is like before the release, for every later comparison."""

from __future__ import annotations

from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.kpis import KpiReport
from tarsrelease.model.outcome import Check, Outcome, Verdict
from tarsrelease.model.step_details import KpiDetails
from tarsrelease.operations.kpis import Measuring, Window, measure_kpis
from tarsrelease.operations.outcome import StepReport
from tarsrelease.operations.pod_usage import pod_usages
from tarsrelease.readiness import kpis as judge
from tarsrelease.report.results import count_statuses
from tarsrelease.steps.measure_kpi import notes, table, verdict_of

STEP = "measure baseline"
FILE = "baseline_slos.json"


def measure_baseline(measuring: Measuring) -> Outcome:
    """The KPIs over the longest window that a criterion names, each criterion over its own.

    Also the Deployments and what each pod uses. Verdict as `measure kpi`.
    """
    assignment = measuring.assignment
    report = StepReport(assignment, STEP)
    found, checks = baseline(measuring)
    verdict = verdict_of(checks)
    lines = [
        f"{each.deployment}/{each.pod}: {each.cpu_cores} cores, {each.memory_bytes} bytes"
        for each in found.pods
    ]
    return report.outcome(
        verdict,
        f"{assignment.environment.name} before {assignment.release.version}: "
        f"{count_statuses(checks)}",
        checks=checks,
        details=KpiDetails(kpis=found, table=table(found), lines=(*notes(found), *lines)),
        next_step="" if verdict is Verdict.PROCEED else "see the results that did not pass",
    )


def baseline(measuring: Measuring) -> tuple[KpiReport, tuple[Check, ...]]:
    """The report, and the result of each criterion over its own window. Raises what ports raise."""
    objectives = measuring.assignment.rollout.objectives
    seconds = objectives.windows.model_dump()
    end = measuring.last(0.0).end
    reports = {
        length: measure_kpis(measuring, Window(end - length, end))
        for length in sorted(set(seconds.values()))
    }
    checks = tuple(
        check
        for name, kpi in _CRITERIA.items()
        for found in [reports[seconds[name]]]
        for check in judge.slos(found, objectives.targets, found.missing, found.duration_seconds)
        if check.source == kpi
    )
    found = reports[max(reports)]
    return found.model_copy(update={"slos": checks, **_cluster(measuring)}), checks


def _cluster(measuring: Measuring) -> dict[str, object]:
    """Deployments and usage, as far as they can be read."""
    if measuring.workloads is None:
        return {}
    try:
        return {
            "deployments": tuple(measuring.workloads.deployments()),
            "pods": pod_usages(measuring, measuring.workloads.pods()),
        }
    except ReleaseError as error:
        measuring.assignment.say(f"cannot read the pods and what they use: {error}")
        return {}


_CRITERIA = {
    "availability": "availability_pct",
    "error_rate": "error_rate_pct",
    "latency_p95": "latency_p95_ms",
    "reconnection_success": "reconnection_success_rate",
    "websocket_uptime": "websocket_uptime_pct",
    "dashboard_load": "dashboard_load_time_s",
}
"""By criterion in `objectives`, the KPI."""
