"""measure slo: watch the SLOs in real time, with one alert for each breach and each recovery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tarsrelease.model.errors import ReleaseError, UsageError
from tarsrelease.model.format import duration
from tarsrelease.model.kpis import BurnRate, ErrorBudget, KpiReport, SloAlert, Tally
from tarsrelease.model.objectives import KpiTargets
from tarsrelease.model.outcome import Check, Outcome, Verdict
from tarsrelease.model.step_details import SloDetails
from tarsrelease.operations.kpis import Deployment, Measuring, measure_errors, measure_kpis
from tarsrelease.operations.outcome import StepReport
from tarsrelease.readiness import kpis as judge
from tarsrelease.readiness import slo_alerts
from tarsrelease.report.results import count_statuses
from tarsrelease.steps.measure_kpi import notes, shown, table, verdict_of

STEP = "measure slo"
_BURN_EVERY = 300.0
"""Seconds between two readings of the long windows."""

Tell = Callable[[SloAlert], bool]
"""Delivers an alert; False if the receiver did not take it."""


@dataclass(frozen=True, slots=True)
class Watching:
    """What to watch: pods, targets, the window of each evaluation, and how often and how long.

    Seconds; `lasting` 0 evaluates once. `burning` also reads error budget and burn rates.
    """

    deployment: Deployment
    targets: KpiTargets
    window: float
    every: float
    lasting: float
    burning: bool = True


def measure_slo(measuring: Measuring, watching: Watching, tell: Tell | None) -> Outcome:
    """Evaluate until the time is over. The verdict is that of the last evaluation.

    An evaluation that cannot be made is shown and neither raises nor ends an alert; the first one
    must succeed.
    """
    assignment = measuring.assignment
    report, clock = StepReport(assignment, STEP), assignment.clock
    breached: frozenset[str] = frozenset()
    alerts: list[SloAlert] = []
    found: KpiReport | None = None
    checks: tuple[Check, ...] = ()
    burns: tuple[BurnRate, ...] = ()
    left: ErrorBudget | None = None
    number, read_at = 0, -_BURN_EVERY
    while True:
        try:
            if watching.burning and report.elapsed - read_at >= _BURN_EVERY:
                burns, left = burning(measuring, watching)
                read_at = report.elapsed
            window = measuring.last(watching.window)
            found = measure_kpis(measuring, window, deployment=watching.deployment)
            checks = judge.slos(found, watching.targets, found.missing, watching.window)
            checks += tuple(map(slo_alerts.burn_check, burns))
            assignment.say(f"{found.end[11:19]} {count_statuses(checks)}: {shown(found)}")
        except ReleaseError as error:
            if number == 0:
                raise
            assignment.say(f"no evaluation: {error}")
        else:
            breached, news = slo_alerts.changes(breached, checks, found.end)
            for alert in news:
                assignment.say(f"{alert.state}: {alert.check} is {alert.observed}")
                delivered = None if tell is None else tell(alert)
                alerts.append(alert.model_copy(update={"delivered": delivered}))
        number += 1
        if report.elapsed + watching.every > watching.lasting:
            break
        clock.sleep(watching.every)
    verdict = verdict_of(checks)
    return report.outcome(
        verdict,
        f"{count_statuses(checks)} over the last {duration(watching.window)}; "
        f"{len(alerts)} alerts in {duration(report.elapsed)}",
        checks=checks,
        details=SloDetails(
            kpis=found,
            evaluations=number,
            alerts=tuple(alerts),
            burn_rates=burns,
            budget=left,
            table=None if found is None else table(found),
            lines=() if found is None else notes(found),
        ),
        next_step=""
        if verdict is Verdict.PROCEED
        else "see the results that did not pass, and "
        "classify an incident with `tarsrelease incident classify`",
    )


def burning(
    measuring: Measuring, watching: Watching
) -> tuple[tuple[BurnRate, ...], ErrorBudget | None]:
    """The burn rates, and the error budget over the longest window that is recorded."""
    known: dict[float, Tally | str] = {}

    def errors(seconds: float) -> Tally | str:
        if seconds not in known:
            try:
                window = measuring.last(seconds)
                known[seconds] = measure_errors(measuring, window, watching.deployment)
            except UsageError as error:
                known[seconds] = f"{duration(seconds)}: {error.detail.found}"
        return known[seconds]

    target = watching.targets.availability
    rates = slo_alerts.burn_rates(target, errors)
    recorded = {s: each for s, each in known.items() if isinstance(each, Tally)}
    if not recorded:
        return rates, None
    longest = max(recorded)
    return rates, slo_alerts.budget(target, recorded[longest], longest)
