"""From KPIs and usage to the SLO report of some days, and its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from tarsrelease.gates.measure.pod_hours import Used
from tarsrelease.gates.stats.theil_sen import theil_sen
from tarsrelease.model.capacity import Reserved
from tarsrelease.model.format import duration, percent
from tarsrelease.model.kpis import ErrorBudget, KpiReport, Tally
from tarsrelease.model.objectives import KpiTargets
from tarsrelease.model.result import Check, Observed, Status
from tarsrelease.model.slo_report import Capacity, Compliance, Cost, Trend
from tarsrelease.readiness import slo_alerts
from tarsrelease.readiness.kpis import slos

DAY = 86400.0
HOUR = 3600.0
_RISING_IS_WORSE = {
    "availability_pct": False,
    "error_rate_pct": True,
    "latency_p95_ms": True,
    "reconnection_success_rate": False,
    "websocket_uptime_pct": False,
    "dashboard_load_time_s": True,
}
_STEADY = 0.01
"""Share of the KPI's median by which it may change in a day and be steady; percentages: points."""


class Prices(NamedTuple):
    """Of an hour of a core, and of a GB (1e9 bytes) of memory, in any currency."""

    core_hour: float
    gb_hour: float


def part_of(seconds: float) -> float:
    """Seconds of one part of the report: a day from three days on, else an hour."""
    return DAY if seconds >= 3 * DAY else HOUR


def compliance(found: KpiReport, whole: Sequence[Check], targets: KpiTargets) -> list[Compliance]:
    """One row per SLO that was measured, with its parts."""
    rows = []
    for check in whole:
        if check.status is Status.SKIPPED:
            continue
        kpi = check.source
        parts = [
            (each, result)
            for each in found.intervals
            for result in slos(each, targets, {}, each.end - each.start)
            if result.source == kpi and each.value(kpi) is not None
        ]
        values = [
            (value, each.start) for each, _ in parts if (value := each.value(kpi)) is not None
        ]
        worst = _worst(values, most=_RISING_IS_WORSE[kpi])
        rows.append(
            Compliance(
                kpi=kpi,
                expected=check.expected,
                value=found.value(kpi),
                result=check.status.value.upper(),
                met=sum(result.status is Status.PASS for _, result in parts),
                parts=len(parts),
                worst=worst[0],
                worst_at=None if worst[1] is None else _clock(worst[1]),
            )
        )
    return rows


def _worst(
    values: Sequence[tuple[float | None, float]], *, most: bool
) -> tuple[float | None, float | None]:
    known = [(value, at) for value, at in values if value is not None]
    return (max if most else min)(known) if known else (None, None)


def budget(found: KpiReport, target: float) -> tuple[ErrorBudget, float | None]:
    """The error budget after the recorded time, and the days that a budget of 30 days lasts so.

    None where nothing failed.
    """
    tally = found.tallies.get("errors", Tally(bad=0, total=0))
    spent = slo_alerts.budget(target, tally, found.duration_seconds)
    rate = slo_alerts.rate(tally, target)
    return spent, slo_alerts.PERIOD / DAY / rate if rate else None


def budget_check(spent: ErrorBudget) -> Check:
    """Whether something of the error budget is left."""
    left = spent.remaining_share
    status = Status.INCONCLUSIVE if left is None else Status.PASS if left > 0 else Status.FAIL
    return Check(
        id="slo.budget",
        status=status,
        observed=None if left is None else Observed(value=left, unit="share"),
        expected="some error budget is left",
        reason="no requests"
        if left is None
        else f"{spent.failed:.0f} of {(1 - spent.target) * spent.requests:.0f} failed requests "
        f"that {percent(spent.target)} allows",
        source="availability_pct",
        window=spent.measured_seconds,
        samples=round(spent.requests),
    )


def recorded_check(asked: float, recorded: float, since: float) -> Check:
    """Whether the whole time is recorded; what is not is left out and never guessed."""
    whole = recorded >= asked - 300
    return Check(
        id="slo.recorded",
        status=Status.PASS if whole else Status.INCONCLUSIVE,
        observed=Observed(value=recorded, unit="seconds"),
        expected=f"{duration(asked)} of samples",
        reason=f"all of {duration(asked)} is recorded"
        if whole
        else f"the first sample is of {_clock(since)}; what was before is not part of the report",
        source="recorded metrics",
        window=asked,
    )


def trends(found: KpiReport) -> Iterator[Trend]:
    """The trend of each KPI that three parts or more have."""
    for kpi, rising_is_worse in _RISING_IS_WORSE.items():
        points = [
            ((each.end - found.intervals[0].end) / DAY, value)
            for each in found.intervals
            if (value := each.value(kpi)) is not None
        ]
        fitted = theil_sen(points) if len(points) >= 3 else None
        if fitted is None:
            continue
        slope, middle = fitted[0], sorted(value for _, value in points)[len(points) // 2]
        steady = _STEADY if kpi.endswith(("_pct", "_rate")) else _STEADY * abs(middle)
        reads: Literal["better", "worse", "steady"] = "steady"
        if abs(slope) > steady:
            reads = "worse" if (slope > 0) is rising_is_worse else "better"
        yield Trend(kpi=kpi, per_day=slope, reads=reads)


def capacity(used: Mapping[str, Used], reserved: Mapping[str, Reserved]) -> Iterator[Capacity]:
    """One row per Deployment that ran."""
    for name, each in used.items():
        if each.pods <= 0:
            continue
        own = reserved.get(name, _unknown(name))
        yield Capacity(
            deployment=name,
            pods=each.pods,
            cpu_mean=each.cpu_mean,
            cpu_peak=each.cpu_peak,
            cpu_peak_share=_share(each.cpu_peak, own.cpu_request, each.pods),
            memory_mean=each.memory_mean,
            memory_peak=each.memory_peak,
            memory_peak_share=_share(each.memory_peak, own.memory_request, each.pods),
        )


def _unknown(deployment: str) -> Reserved:
    return Reserved(
        deployment=deployment,
        cpu_request=None,
        cpu_limit=None,
        memory_request=None,
        memory_limit=None,
    )


def _share(used: float | None, request: float | None, pods: float) -> float | None:
    return used / (request * pods) if used is not None and request else None


def cost(
    used: Mapping[str, Used],
    reserved: Mapping[str, Reserved],
    seconds: float,
    prices: Prices | None,
) -> Iterator[Cost]:
    """One row per Deployment that ran: its pods' hours by today's requests and limits."""
    hours = seconds / HOUR
    for name, each in used.items():
        if each.pods <= 0:
            continue
        own, pod_hours = reserved.get(name, _unknown(name)), each.pods * hours

        def of(per_pod: float | None, unit: float = 1.0, hours: float = pod_hours) -> float | None:
            return None if per_pod is None else per_pod / unit * hours

        cores, memory = of(own.cpu_request), of(own.memory_request, 1e9)
        yield Cost(
            deployment=name,
            pod_hours=pod_hours,
            core_hours_requested=cores,
            core_hours_limited=of(own.cpu_limit),
            core_hours_used=None if each.cpu_mean is None else each.cpu_mean * hours,
            gb_hours_requested=memory,
            gb_hours_limited=of(own.memory_limit, 1e9),
            gb_hours_used=None if each.memory_mean is None else each.memory_mean / 1e9 * hours,
            price=None
            if prices is None or cores is None or memory is None
            else cores * prices.core_hour + memory * prices.gb_hour,
        )


def _clock(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC"
