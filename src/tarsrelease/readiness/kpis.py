"""KPIs against their targets and against a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tarsrelease.gates.checks import Inputs, Patience, compare, drift
from tarsrelease.gates.checks.inputs import Subject
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.model.checks import CompareCheck, DriftCheck
from tarsrelease.model.errors import UsageError
from tarsrelease.model.format import percent
from tarsrelease.model.kpis import KPI_NAMES, KpiComparison, KpiDifference, KpiReport, Kpis, Tally
from tarsrelease.model.measurement import Counts, Track, Unmeasured
from tarsrelease.model.objectives import KpiTargets
from tarsrelease.model.result import Check, Observed, Status
from tarsrelease.model.rollout import Rollout


class _Target(NamedTuple):
    """A KPI's target in the KPI's unit; `least`: the KPI is at least that, else below it."""

    check: str
    kpi: str
    limit: float
    unit: str
    factor: float
    least: bool


def _targets(targets: KpiTargets) -> tuple[_Target, ...]:
    def share(check: str, kpi: str, limit: float, *, least: bool = True) -> _Target:
        return _Target(check, kpi, limit, "share", 100, least)

    return (
        share("slo.availability", "availability_pct", targets.availability),
        share("slo.error_rate", "error_rate_pct", targets.error_rate, least=False),
        _Target("slo.latency_p95", "latency_p95_ms", targets.latency_p95, "seconds", 1000, False),
        share("slo.reconnection", "reconnection_success_rate", targets.reconnection_success),
        share("slo.websocket_uptime", "websocket_uptime_pct", targets.websocket_uptime),
        _Target(
            "slo.dashboard_load",
            "dashboard_load_time_s",
            targets.dashboard_load,
            "seconds",
            1,
            False,
        ),
    )


def slos(
    found: Kpis, targets: KpiTargets, missing: Mapping[str, str], window: float
) -> tuple[Check, ...]:
    """One result per SLO. A KPI that no SLI measures is skipped, and so are reconnects and
    dashboards where there were none; others without data are inconclusive.

    Where the latency's target is a bound of the histogram, the share of slower requests decides.
    """
    return tuple(_slo(each, found, missing, window) for each in _targets(targets))


def _slo(target: _Target, found: Kpis, missing: Mapping[str, str], window: float) -> Check:
    value = found.value(target.kpi)
    sign = "≥" if target.least else "<"
    limit = f"{target.limit * target.factor:g}"
    unit = "%" if target.unit == "share" else "ms" if target.factor > 1 else "s"
    expected = f"{sign} {limit} {unit}"
    if value is None:
        why = missing.get(target.kpi, "not measured")
        rare = target.check in (
            "slo.reconnection",
            "slo.dashboard_load",
        )  # nothing happened to measure
        status = Status.SKIPPED if rare or "objectives.slis" in why else Status.INCONCLUSIVE
        reason = why
    else:
        kept = value >= target.limit * target.factor if target.least else None
        kept = value < target.limit * target.factor if kept is None else kept
        reason = f"{value:.6g} {unit}"
        slow = found.tallies.get("slow")
        if target.kpi == "latency_p95_ms" and slow is not None:
            kept = slow.bad < 0.05 * slow.total
            reason += f"; {percent(slow.bad / slow.total)} of requests are slower than {limit} ms"
        status = Status.PASS if kept else Status.FAIL
    tally = found.tallies.get(_TALLY.get(target.kpi, ""))
    return Check(
        id=target.check,
        status=status,
        observed=None if value is None else Observed(value=value / target.factor, unit=target.unit),
        expected=expected,
        reason=reason,
        source=target.kpi,
        window=window,
        samples=None if tally is None else round(tally.total),
    )


_TALLY = {
    "availability_pct": "errors",
    "error_rate_pct": "errors",
    "latency_p95_ms": "slow",
    "reconnection_success_rate": "reconnects",
    "websocket_uptime_pct": "websockets",
}


BASELINE = {"errors": "baseline.errors", "slow": "baseline.slow"}
"""The ids of the comparison's results by tally."""


def same_release(baseline: KpiReport, release: str, environment: str) -> KpiReport:
    """The baseline. Raises UsageError if it is that of another release or environment."""
    if (baseline.release, baseline.environment) != (release, environment):
        raise UsageError(
            doing="comparing with the baseline",
            found=f"a baseline of {baseline.release} in {baseline.environment}, "
            f"measured until {baseline.end}",
            expected=f"a baseline of {release} in {environment}",
            next_step="measure one before the release with `tarsrelease measure baseline`",
        )
    return baseline


def compared(ours: KpiReport, baseline: KpiReport, rollout: Rollout) -> KpiComparison:
    """What has changed since the baseline, and whether it is proven to be worse.

    Errors are judged as by the checks of kind compare, slow requests as by those of kind drift.
    """
    differences = {}
    for name in KPI_NAMES:
        before, now = baseline.value(name), ours.value(name)
        if before is not None or now is not None:
            differences[name] = KpiDifference(
                baseline=before,
                now=now,
                change=None if before is None or now is None else now - before,
            )
    return KpiComparison(
        baseline_start=baseline.start,
        baseline_end=baseline.end,
        differences=differences,
        checks=against(ours.tallies, baseline.tallies, "the baseline", rollout, BASELINE),
    )


def against(
    ours: Mapping[str, Tally],
    theirs: Mapping[str, Tally],
    other: str,
    rollout: Rollout,
    ids: Mapping[str, str],
    service: str | None = None,
) -> tuple[Check, ...]:
    """Results of comparing tallies by the gates' methods; `other` is the name of the other side."""
    goals, subject = rollout.objectives, Subject(service, Track.CANARY)
    patience = Patience(
        alpha=alpha_per_check(rollout),
        confidence=rollout.statistics.confidence,
        stale_after=float("inf"),
        false_pass=rollout.statistics.false_pass,
    )
    inputs = Inputs(
        counts={name: {(service or "", Track.CANARY): _counts(ours, name)} for name in _COMPARED},
        gauges={},
        cluster=Unmeasured("not read"),
        sources={},
        now=0.0,
        elapsed=0.0,
    )
    found: list[Check] = []
    for name, kind in _COMPARED.items():
        if name not in ours and name not in theirs:
            continue
        same: dict[str, Any] = {"id": ids[name], "sli": name}
        beside = _counts(theirs, name)
        if kind == "drift":
            rule = DriftCheck(kind="drift", within=goals.within, **same)
            found.append(drift.judge_against(beside, other, rule, subject, inputs, patience))
        else:
            worse = CompareCheck(
                kind="compare", worse_by=goals.worse_by, tolerated=goals.tolerated, **same
            )
            found.append(compare.judge_against(beside, other, worse, subject, inputs, patience))
    return tuple(found)


_COMPARED = {"errors": "compare", "slow": "drift"}
"""By tally, the kind of check that judges it."""


def _counts(tallies: Mapping[str, Tally], name: str) -> Counts | Unmeasured:
    found = tallies.get(name)
    if found is None:
        return Counts(0.0, 0.0, None)
    return Counts(found.bad, found.total, None)
