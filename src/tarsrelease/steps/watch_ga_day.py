"""watch --ga-day: everything since the promotion, with the stricter limits of the first day."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tarsrelease.gates.measure.selectors import render
from tarsrelease.incidents.classification import classify
from tarsrelease.model.details import Table
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.format import duration, percent
from tarsrelease.model.incident import Symptoms
from tarsrelease.model.kpis import KpiReport
from tarsrelease.model.measurement import Series
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.rollout import GaugeSli, Rollout
from tarsrelease.model.step_details import WatchDetails
from tarsrelease.operations.kpis import Measuring, Window, measure_kpis
from tarsrelease.operations.outcome import StepReport
from tarsrelease.readiness import ga_day
from tarsrelease.readiness.kpis import slos
from tarsrelease.report.results import count_statuses
from tarsrelease.steps.measure_kpi import verdict_of

STEP = "watch"
_GRID = 300.0
"""Seconds between two points of a pod's memory."""
_OTHER = ("slo.reconnection", "slo.websocket_uptime", "slo.dashboard_load")


def watch_ga_day(measuring: Measuring, promoted: float, people: ga_day.People) -> Outcome:
    """No-go if something was beyond a limit since `promoted` (Unix time), else hold or proceed.

    Reads what is recorded up to +24 h, so that it may run at any time, once or again and again.
    A breach is reported at every later evaluation, with its time.
    """
    report, assignment = StepReport(measuring.assignment, STEP), measuring.assignment
    end = min(measuring.last(0).end, promoted + ga_day.LASTS)
    window = Window(promoted, end)
    strict = _with_targets(measuring)
    found = measure_kpis(strict, window, deployment="stable", every=ga_day.EVERY)
    broken = ga_day.breaches(found)
    whole = slos(found, strict.assignment.rollout.objectives.targets, found.missing, window.seconds)
    checks = (
        *(check for check in whole if check.status is not Status.FAIL or check.id not in _OTHER),
        *ga_day.breach_checks(broken, promoted, window.seconds),
        *ga_day.growth_checks(_memory(measuring, end), end),
        *_restarts(measuring, window.seconds),
        *ga_day.people_checks(people, window.seconds),
    )
    checks += tuple(check for check in whole if check not in checks)
    verdict = verdict_of(checks)
    current = ga_day.due(window.seconds)
    next_check = f"; due: +{current[-1].hours} h, {current[-1].role}" if current else ""
    return report.outcome(
        verdict,
        f"{assignment.release.version}, {duration(window.seconds)} after the promotion: "
        f"{count_statuses(checks)}{next_check}",
        checks=checks,
        details=WatchDetails(
            window=window.seconds,
            confidence=percent(assignment.rollout.statistics.confidence),
            table=Table(
                header=("check", "time", "role", "what", "state", "checklist"),
                rows=tuple(ga_day.schedule_rows(promoted, window.seconds)),
            ),
            lines=_incidents(found, broken, assignment.rollout),
        ),
        next_step=""
        if verdict is Verdict.PROCEED
        else "see the results that did not pass; open an incident with `tarsrelease incident open`",
    )


def watch_until(
    measuring: Measuring, promoted: float, people: ga_day.People, *, until: float, every: float
) -> Outcome:
    """Evaluate every `every` seconds until `until` seconds after the promotion; the last Outcome.

    An evaluation that cannot be made is shown and tried again at the next time.
    """
    assignment = measuring.assignment
    end = promoted + until + measuring.scrape_interval
    while (left := end - measuring.metrics.server_time()) > 0:
        try:
            assignment.say(watch_ga_day(measuring, promoted, people).summary)
        except ReleaseError as error:
            assignment.say(f"no evaluation: {error}")
        assignment.clock.sleep(min(every, left))
    return watch_ga_day(measuring, promoted, people)


def _with_targets(measuring: Measuring) -> Measuring:
    """The same with the limits of the GA day, and the release's own for everything else."""
    release = measuring.assignment.release
    objectives = release.rollout.objectives
    strict = objectives.targets.model_copy(
        update={
            name: getattr(ga_day.TARGETS, name)
            for name in ("availability", "error_rate", "latency_p95")
        }
    )
    objectives = objectives.model_copy(update={"targets": strict})
    rollout = release.rollout.model_copy(update={"objectives": objectives})
    stricter = release.model_copy(update={"rollout": rollout})
    assignment = measuring.assignment.with_release(stricter)
    return Measuring(assignment, measuring.metrics, measuring.workloads)


def _stable(rollout: Rollout) -> list[str]:
    """The names of stable's Deployments."""
    return [each.stable.deployment for each in rollout.services] + [
        each.stable for each in rollout.workers
    ]


def _memory(measuring: Measuring, end: float) -> Mapping[str, Sequence[Series]]:
    """By Deployment, the memory of its pods over the last hours; nothing without such an SLI."""
    rollout = measuring.assignment.rollout
    sli = next(
        (s for s in rollout.slis.values() if isinstance(s, GaugeSli) and s.unit == "bytes"), None
    )
    if sli is None:
        return {}
    namespace = measuring.assignment.environment.kubernetes.namespace
    selector = render(sli.value, rollout, namespace, [""], measuring.scrape_interval)
    start = end - ga_day.GROWTH_OVER
    [series] = measuring.metrics.recorded([selector], start, end, _GRID)
    names = _stable(rollout)
    return {
        name: [
            each
            for each in series
            if re.fullmatch(re.escape(name) + r"-[^-]+(-[^-]+)?", each.labels.get("pod", ""))
        ]
        for name in names
    }


def _restarts(measuring: Measuring, seconds: float) -> tuple[Check, ...]:
    if measuring.workloads is None:
        return ()
    names = _stable(measuring.assignment.rollout)
    pods = [pod for pod in measuring.workloads.pods() if pod.owner in names]
    restarts = sum(container.restarts for pod in pods for container in pod.containers)
    return (ga_day.restarts_check(restarts, seconds),)


def _incidents(
    found: KpiReport, broken: Sequence[ga_day.Breach], rollout: Rollout
) -> tuple[str, ...]:
    """What the breaches are as incidents, by the worst interval of each."""
    lines = []
    for each in broken:
        inside = [i for i in found.intervals if each.start <= i.start < each.end]
        errors = max(
            (i.error_rate_pct for i in inside if i.error_rate_pct is not None), default=None
        )
        symptoms = Symptoms(
            availability=None if errors is None else 1 - errors / 100,
            error_rate=None if errors is None else errors / 100,
        )
        told = classify(symptoms, rollout.incidents)
        severity = told.severity or "no severity"
        lines.append(f"{each.check}: incident {severity}: {told.action}")
    return tuple(lines)
