"""An SLO report as one HTML page that needs nothing else, and as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from tarsrelease.model.format import duration, percent, size
from tarsrelease.model.objectives import KpiTargets
from tarsrelease.model.slo_report import Capacity, Cost, SloReport
from tarsrelease.report.document import Document, Table, html, markdown
from tarsrelease.report.kpi_plot import kpi_plot


def slo_html(found: SloReport, targets: KpiTargets) -> str:
    """The page, with a plot of each KPI."""
    return html(_document(found), kpi_plot(found.kpis, targets))


def slo_markdown(found: SloReport) -> str:
    """The same without the plots."""
    return markdown(_document(found))


def _document(found: SloReport) -> Document:
    kpis = found.kpis
    lines = [
        f"{kpis.start[:16]} to {kpis.end[:16]} UTC: {duration(kpis.duration_seconds)} of "
        f"{duration(found.asked_seconds)} that were asked for.",
        *(f"{note[0].upper()}{note[1:]}." for note in found.notes),
    ]
    first, *others = tables(found)
    return Document(
        title=f"SLO report: {found.release} in {found.environment}",
        lines=tuple(lines),
        before=(first,),
        plot_title="Over the time of the report",
        after=tuple(others),
    )


def tables(found: SloReport) -> tuple[Table, ...]:
    """Compliance, budget, parts, trend, capacity, cost."""
    budget, left = found.budget, found.budget.remaining_share
    lasts = found.budget_lasts_days
    return (
        Table(
            title="Compliance",
            header=("SLO", "target", "value", "result", "parts that kept it", "worst part"),
            rows=tuple(
                (
                    each.kpi,
                    each.expected,
                    _number(each.value),
                    each.result,
                    f"{each.met} of {each.parts}",
                    "-" if each.worst is None else f"{each.worst:.6g} at {each.worst_at}",
                )
                for each in found.compliance
            ),
        ),
        Table(
            title="Error budget",
            header=("target", "requests", "failed", "allowed", "left", "30 days' budget lasts"),
            rows=(
                (
                    percent(budget.target),
                    f"{budget.requests:.0f}",
                    f"{budget.failed:.0f}",
                    f"{(1 - budget.target) * budget.requests:.0f}",
                    "-" if left is None else percent(left),
                    "-" if lasts is None else f"{lasts:.0f} days at this rate",
                ),
            ),
        ),
        Table(
            title="Parts",
            header=("from", "requests", "availability %", "error rate %", "p95 ms"),
            rows=tuple(_parts(found)),
        ),
        Table(
            title="Trend",
            header=("KPI", "change per day", "reads"),
            rows=tuple((t.kpi, f"{t.per_day:+.4g}", t.reads) for t in found.trends),
        ),
        Table(
            title="Capacity: use of all pods, and the peak as a share of the requests",
            header=("Deployment", "pods", "cores", "peak", "share", "memory", "peak", "share"),
            rows=tuple(map(_capacity, found.capacity)),
        ),
        Table(
            title="Cost: hours by today's requests and limits, and used",
            header=(
                *("Deployment", "pod hours", "core hours requested", "limit", "used"),
                *("GB hours requested", "limit", "used", "price"),
            ),
            rows=tuple(map(_cost, found.cost)),
        ),
    )


def _parts(found: SloReport) -> Iterator[tuple[str, ...]]:
    for each in found.kpis.intervals:
        yield (
            f"{datetime.fromtimestamp(each.start, UTC):%Y-%m-%d %H:%M}",
            f"{each.requests:.0f}",
            _number(each.availability_pct),
            _number(each.error_rate_pct),
            _number(each.latency_p95_ms),
        )


def _capacity(each: Capacity) -> tuple[str, ...]:
    return (
        each.deployment,
        f"{each.pods:.1f}",
        _number(each.cpu_mean, 3),
        _number(each.cpu_peak, 3),
        _share(each.cpu_peak_share),
        "-" if each.memory_mean is None else size(each.memory_mean),
        "-" if each.memory_peak is None else size(each.memory_peak),
        _share(each.memory_peak_share),
    )


def _cost(each: Cost) -> tuple[str, ...]:
    hours = (
        *(each.core_hours_requested, each.core_hours_limited, each.core_hours_used),
        *(each.gb_hours_requested, each.gb_hours_limited, each.gb_hours_used),
    )
    return (
        each.deployment,
        f"{each.pod_hours:.1f}",
        *(_number(value, 4) for value in hours),
        "-" if each.price is None else f"{each.price:.2f}",
    )


def _number(value: float | None, digits: int = 6) -> str:
    return "-" if value is None else f"{value:.{digits}g}"


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value)
