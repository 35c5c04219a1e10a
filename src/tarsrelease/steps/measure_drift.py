"""measure drift: canary against stable, or production against staging."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import median

from tarsrelease.gates.checks import Inputs, Patience, like_stable
from tarsrelease.gates.checks.inputs import Subject
from tarsrelease.gates.measure import attribution
from tarsrelease.gates.measure.selectors import render
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.gates.stats.intervals import difference_of_shares
from tarsrelease.model.checks import GaugeCheck, LikeStableCheck
from tarsrelease.model.details import Table
from tarsrelease.model.kpis import Drift, DriftInterval, DriftReport, KpiReport, Kpis
from tarsrelease.model.measurement import Gauges, Sample, Track, Unmeasured
from tarsrelease.model.outcome import Check, Outcome, Verdict
from tarsrelease.model.rollout import GaugeSli
from tarsrelease.model.step_details import DriftDetails
from tarsrelease.operations.kpis import Deployment, Measuring, Window, checked, measure_kpis
from tarsrelease.operations.outcome import StepReport
from tarsrelease.readiness import kpis as judge
from tarsrelease.report.results import count_statuses
from tarsrelease.steps.measure_kpi import verdict_of

STEP = "measure drift"
IDS = {"errors": "drift.errors", "slow": "drift.slow"}
MEMORY = "drift.memory"


def measure_drift(
    ours: tuple[Measuring, Deployment],
    theirs: tuple[Measuring, Deployment],
    window: Window,
    *,
    within: float | None = None,
    every: float | None = None,
) -> Outcome:
    """Compare two sides over a past window: no-go if one metric is proven worse, else as measured.

    `ours` and `theirs` say what to measure with and whose pods. `within` replaces the distance of
    rollout.yaml (`objectives`).
    """
    assignment = ours[0].assignment
    report = StepReport(assignment, STEP)
    checked(window, min(each.metrics.server_time() for each, _ in (ours, theirs)))
    if within is not None:
        goals = assignment.rollout.objectives.model_copy(update={"within": within})
        rollout = assignment.rollout.model_copy(update={"objectives": goals})
        release = assignment.release.model_copy(update={"rollout": rollout})
        ours = (replace(ours[0], assignment=assignment.with_release(release)), ours[1])
    found, checks = compared(ours, theirs, window, every)
    verdict = verdict_of(checks)
    return report.outcome(
        verdict,
        f"{found.ours} against {found.theirs}: {count_statuses(checks)}",
        checks=checks,
        details=DriftDetails(drift=found, table=_table(found)),
        next_step="" if verdict is Verdict.PROCEED else "see the results that did not pass",
    )


def compared(
    ours: tuple[Measuring, Deployment],
    theirs: tuple[Measuring, Deployment],
    window: Window,
    every: float | None,
) -> tuple[DriftReport, tuple[Check, ...]]:
    """The drift of every metric of every service, and the results. Raises what ports raise."""
    assignment = ours[0].assignment
    rollout = assignment.rollout
    mine, others = (
        measure_kpis(each, window, deployment=whose, every=every) for each, whose in (ours, theirs)
    )
    names = _names(ours, theirs)
    checks: list[Check] = []
    rows: list[Drift] = []
    for service in rollout.services:
        a, b = mine.services[service.name], others.services[service.name]
        found = judge.against(a.tallies, b.tallies, names[1], rollout, IDS, service.name)
        checks += found
        rows += [_row(service.name, check, a, b) for check in found]
    memory = _memory(ours, theirs, window, names[1])
    checks += [check for check, _ in memory]
    rows += [row for _, row in memory]
    return (
        DriftReport(
            release=assignment.release.version,
            environment=assignment.environment.name,
            ours=names[0],
            theirs=names[1],
            start=mine.start,
            end=mine.end,
            duration_seconds=mine.duration_seconds,
            within=rollout.objectives.within,
            metrics=tuple(rows),
            intervals=_intervals(mine, others),
        ),
        tuple(checks),
    )


def _names(
    ours: tuple[Measuring, Deployment], theirs: tuple[Measuring, Deployment]
) -> tuple[str, str]:
    first, second = (each.assignment.environment.name for each, _ in (ours, theirs))
    return (ours[1], theirs[1]) if first == second else (first, second)


def _row(service: str, check: Check, ours: Kpis, theirs: Kpis) -> Drift:
    metric = next(name for name, id_ in IDS.items() if id_ == check.id)
    a, b = ours.tallies.get(metric), theirs.tallies.get(metric)
    low = high = effect = None
    if a is not None and b is not None and a.total > 0 and b.total > 0:
        effect = a.bad / a.total - b.bad / b.total
        low, high = difference_of_shares((a.bad, a.total), (b.bad, b.total))
    return Drift(
        service=service,
        metric=metric,
        ours=None if a is None else a.bad / a.total,
        theirs=None if b is None else b.bad / b.total,
        effect=effect,
        low=low,
        high=high,
        verdict=check.status.value,
        reason=check.reason,
    )


def _intervals(mine: KpiReport, others: KpiReport) -> tuple[DriftInterval, ...]:
    def effect(a: Kpis, b: Kpis, name: str) -> float | None:
        one, two = a.tallies.get(name), b.tallies.get(name)
        if one is None or two is None:
            return None
        return one.bad / one.total - two.bad / two.total

    return tuple(
        DriftInterval(start=a.start, end=a.end, effects={name: effect(a, b, name) for name in IDS})
        for a, b in zip(mine.intervals, others.intervals, strict=True)
    )


def _memory(
    ours: tuple[Measuring, Deployment],
    theirs: tuple[Measuring, Deployment],
    window: Window,
    other: str,
) -> list[tuple[Check, Drift]]:
    """The first gauge in bytes of the last stage, by the method of like_stable."""
    rollout = ours[0].assignment.rollout
    slis = [
        check.sli
        for check in rollout.stages[-1].checks
        if isinstance(check, GaugeCheck) and _unit(rollout.slis[check.sli]) == "bytes"
    ]
    if not slis:
        return []
    sides = [_gauges(each, whose, slis[0], window) for each, whose in (ours, theirs)]
    rule = LikeStableCheck(kind="like_stable", id=MEMORY, sli=slis[0])
    patience = Patience(
        alpha=alpha_per_check(rollout),
        confidence=rollout.statistics.confidence,
        stale_after=float("inf"),
    )
    found = []
    for service in rollout.services:
        pair = [side.get(service.name, {}) for side in sides]
        if not all(pair):
            continue
        subject = Subject(service.name, Track.CANARY, "ours", "theirs")
        inputs = Inputs(
            counts={},
            gauges={
                slis[0]: {
                    name: Gauges(dict(side))
                    for name, side in zip(("ours", "theirs"), pair, strict=True)
                }
            },
            cluster=Unmeasured("not read"),
            sources={},
            now=window.end,
            elapsed=window.seconds,
        )
        check = like_stable.judge(rule, subject, inputs, patience)
        texts = {name: getattr(check, name).replace("stable", other) for name in _WORDED}
        check = check.model_copy(update=texts)
        a, b = (median(s.value for samples in each.values() for s in samples) for each in pair)
        found.append(
            (
                check,
                Drift(
                    service=service.name,
                    metric="memory",
                    ours=a,
                    theirs=b,
                    effect=a / b - 1 if b else None,
                    verdict=check.status.value,
                    reason=check.reason,
                ),
            )
        )
    return found


_WORDED = ("expected", "reason")


def _unit(sli: object) -> str | None:
    return sli.unit if isinstance(sli, GaugeSli) else None


def _gauges(
    measuring: Measuring, whose: Deployment, sli: str, window: Window
) -> dict[str, Mapping[str, tuple[Sample, ...]]]:
    """By service and pod, the readings of a gauge in the window."""
    assignment = measuring.assignment
    namespace = assignment.environment.kubernetes.namespace
    gauge = assignment.rollout.slis[sli]
    if not isinstance(gauge, GaugeSli):
        return {}
    known = attribution.known(assignment.rollout, namespace)
    selector = render(gauge.value, assignment.rollout, namespace, [""], window.seconds)
    found: dict[str, dict[str, dict[float, float]]] = {}
    for series in measuring.metrics.between([selector], *window)[0]:
        its = attribution.whose(series.labels, assignment.rollout.labels, known)
        if its is None or (whose != "all" and its.key[1] != whose):
            continue
        times = found.setdefault(its.key[0], {}).setdefault(its.target, {})
        for sample in series.samples:
            times[sample.time] = times.get(sample.time, 0.0) + sample.value
    return {
        name: {
            pod: tuple(Sample(time, value) for time, value in sorted(times.items()))
            for pod, times in pods.items()
        }
        for name, pods in found.items()
    }


def _table(found: DriftReport) -> Table:
    def shown(value: float | None, row: Drift) -> str:
        if value is None:
            return "-"
        if row.metric == "memory" and value > 10:
            return f"{value / 1e6:.1f} MB"
        return f"{100 * value:.4g} %"

    return Table(
        header=("service", "metric", found.ours, found.theirs, "effect", "95 % interval", "result"),
        rows=tuple(
            (
                row.service,
                row.metric,
                shown(row.ours, row),
                shown(row.theirs, row),
                shown(row.effect, row),
                "" if row.low is None else f"{shown(row.low, row)} to {shown(row.high, row)}",
                row.verdict,
            )
            for row in found.metrics
        ),
    )
