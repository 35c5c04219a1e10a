"""measure load: users request the product for some minutes, judged by the targets."""

from __future__ import annotations

from tarsrelease.context import Assignment
from tarsrelease.model.details import Table
from tarsrelease.model.format import duration
from tarsrelease.model.load import LoadPlan, LoadReport, LoadTarget
from tarsrelease.model.objectives import KpiTargets
from tarsrelease.model.outcome import Check, Observed, Outcome, Status, Verdict
from tarsrelease.model.step_details import LoadDetails
from tarsrelease.operations.outcome import StepReport
from tarsrelease.ports.load import LoadGenerator
from tarsrelease.report.results import count_statuses
from tarsrelease.steps.measure_kpi import verdict_of

STEP = "measure load"


def measure_load(
    assignment: Assignment, generator: LoadGenerator, users: int, seconds: float, pause: float
) -> Outcome:
    """No-go if the error rate or the p95 latency misses its target, hold without a request.

    The users request every smoke path of the services.
    """
    report = StepReport(assignment, STEP)
    names = assignment.environment.gateway.hostnames
    targets = tuple(
        LoadTarget(names[service.hosts[0]], request.path)
        for service in assignment.rollout.services
        for request in service.smoke
    )
    found = generator.run(LoadPlan(users, seconds, pause, targets))
    checks = judged(found, assignment.rollout.objectives.targets)
    verdict = verdict_of(checks)
    rows = [("tool", found.tool), ("users", str(found.users)), ("requests", str(found.requests))]
    rows += [("failed", str(found.failed)), ("paths", str(len(targets)))]
    return report.outcome(
        verdict,
        f"{found.requests} requests of {found.users} users in {duration(found.duration_seconds)}: "
        f"{count_statuses(checks)}",
        checks=checks,
        details=LoadDetails(load=found, table=Table(header=("", ""), rows=tuple(rows))),
        next_step="" if verdict is Verdict.PROCEED else "see the results that did not pass",
    )


def judged(found: LoadReport, targets: KpiTargets) -> tuple[Check, ...]:
    """The results for errors and latency, as the clients saw them."""
    share = found.failed / found.requests if found.requests else None
    p95 = None if found.latency_p95_ms is None else found.latency_p95_ms / 1000
    return (
        _check("load.error_rate", share, targets.error_rate, "share", found),
        _check("load.latency_p95", p95, targets.latency_p95, "seconds", found),
    )


def _check(check_id: str, value: float | None, limit: float, unit: str, found: LoadReport) -> Check:
    status = Status.INCONCLUSIVE
    if value is not None:
        status = Status.PASS if value < limit else Status.FAIL
    shown = f"{100 * limit:g} %" if unit == "share" else f"{1000 * limit:g} ms"
    return Check(
        id=check_id,
        status=status,
        observed=None if value is None else Observed.model_validate({"value": value, "unit": unit}),
        expected=f"< {shown}",
        reason="no request was sent"
        if value is None
        else f"{found.failed} of {found.requests} failed"
        if unit == "share"
        else f"{1000 * value:.0f} ms at the clients",
        source=found.tool,
        window=found.duration_seconds,
        samples=found.requests,
    )
