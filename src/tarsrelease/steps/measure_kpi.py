"""measure kpi: the KPIs of a window, against their targets and a baseline."""

from __future__ import annotations

from collections.abc import Iterable

from tarsrelease.model.details import Table
from tarsrelease.model.errors import UsageError
from tarsrelease.model.format import duration
from tarsrelease.model.kpis import KPI_NAMES, KpiReport
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, deciding
from tarsrelease.model.step_details import KpiDetails
from tarsrelease.operations.kpis import Deployment, Measuring, Window, checked, measure_kpis
from tarsrelease.operations.outcome import StepReport
from tarsrelease.readiness import kpis as judge
from tarsrelease.report.results import count_statuses

STEP = "measure kpi"


def measure_kpi(
    measuring: Measuring,
    window: Window | None,
    *,
    seconds: float,
    deployment: Deployment = "all",
    every: float | None = None,
    baseline: KpiReport | None = None,
) -> Outcome:
    """The KPIs of `window`, by default of the next `seconds`, which are waited for.

    No-go if a target is missed or something is proven worse than the baseline; hold if a target
    cannot be decided.
    """
    assignment = measuring.assignment
    report = StepReport(assignment, STEP)
    if baseline is not None:
        judge.same_release(baseline, assignment.release.version, assignment.environment.name)
    if window is None:
        window = wait_for_window(measuring, seconds, every, deployment)
    found = judged(measuring, window, deployment=deployment, every=every, baseline=baseline)
    checks = found.slos + (found.comparison.checks if found.comparison else ())
    verdict = verdict_of(checks)
    return report.outcome(
        verdict,
        f"{duration(window.seconds)} of {assignment.environment.name}: {count_statuses(checks)}",
        checks=checks,
        details=KpiDetails(kpis=found, table=table(found), lines=notes(found)),
        next_step="" if verdict is Verdict.PROCEED else "see the results that did not pass",
    )


def judged(
    measuring: Measuring,
    window: Window,
    *,
    deployment: Deployment = "all",
    every: float | None = None,
    baseline: KpiReport | None = None,
) -> KpiReport:
    """The KPIs of a past window with the results of their targets and of the comparison."""
    checked(window, measuring.metrics.server_time())
    found = measure_kpis(measuring, window, deployment=deployment, every=every)
    rollout = measuring.assignment.rollout
    found = found.model_copy(
        update={
            "slos": judge.slos(found, rollout.objectives.targets, found.missing, window.seconds)
        }
    )
    if baseline is None:
        return found
    comparison = judge.compared(found, baseline, rollout)
    return found.model_copy(update={"comparison": comparison})


def wait_for_window(
    measuring: Measuring, seconds: float, every: float | None, deployment: Deployment
) -> Window:
    """The window of the next `seconds`, once it is over and every scrape in it is stored.

    Each interval's KPIs are shown as soon as it is over.
    """
    server, assignment = measuring.metrics, measuring.assignment
    if seconds <= 0:
        raise UsageError(
            doing="choosing the window",
            found=f"a duration of {duration(seconds)}",
            expected="more than 0s",
            next_step="give --duration, such as 5m",
        )
    start = server.server_time()
    window = Window(start, start + seconds)
    settled = measuring.scrape_interval
    step = min(every or seconds, seconds)
    begin = start
    while begin < window.end - 1e-3:
        end = min(begin + step, window.end)
        while (left := end + settled - server.server_time()) > 0:
            assignment.clock.sleep(min(left, 60.0))
        if every is not None:
            found = measure_kpis(measuring, Window(begin, end), deployment=deployment)
            assignment.say(f"{duration(end - start)}: {shown(found)}")
        begin = end
    return window


def verdict_of(checks: Iterable[Check]) -> Verdict:
    """No-go if one failed, proceed if all passed or were skipped, else hold."""
    statuses = {check.status for check in deciding(tuple(checks))}
    if Status.FAIL in statuses:
        return Verdict.NO_GO
    if Status.PASS in statuses and statuses <= {Status.PASS, Status.SKIPPED}:
        return Verdict.PROCEED
    return Verdict.HOLD


def shown(found: KpiReport) -> str:
    """The KPIs in one line."""
    values = ((name, found.value(name)) for name in KPI_NAMES)
    return ", ".join(f"{name} {value:.6g}" for name, value in values if value is not None)


def table(found: KpiReport) -> Table:
    """The KPIs of the whole and of each service, a column each, and those of the baseline."""
    columns = {"all": found, **found.services}
    before = found.comparison.differences if found.comparison else {}
    rows = []
    for name in KPI_NAMES:
        values = [each.value(name) for each in columns.values()]
        if before:
            values.append(before[name].baseline if name in before else None)
        rows.append((name, *("-" if value is None else f"{value:.6g}" for value in values)))
    rows.append(("requests", *(f"{each.requests:.0f}" for each in columns.values())))
    if before:
        rows[-1] = (*rows[-1], "")
    return Table(header=("KPI", *columns, *(["baseline"] if before else [])), rows=tuple(rows))


def notes(found: KpiReport) -> tuple[str, ...]:
    """The window and its gaps."""
    lines = [f"from {found.start} to {found.end}, {found.deployment} pods"]
    if found.gaps:
        lines.append(
            f"no sample in {duration(sum(end - start for start, end in found.gaps))} of it"
            " (requests in a gap are counted when the scrapes come back)"
        )
    return tuple(lines)
