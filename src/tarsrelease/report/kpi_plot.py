"""The KPIs of a window's intervals as a plot."""

from __future__ import annotations

from tarsrelease.model.kpis import KpiReport
from tarsrelease.model.objectives import KpiTargets
from tarsrelease.report.svg_plot import Panel, svg


def kpi_plot(found: KpiReport, targets: KpiTargets) -> str:
    """One SVG with a panel for each KPI that was measured, and its target."""
    panels = [
        Panel(title, unit, {name: [(each.end, each.value(name)) for each in found.intervals]}, goal)
        for name, title, unit, goal in (
            ("availability_pct", "Availability", "%", 100 * targets.availability),
            ("error_rate_pct", "Error rate", "%", 100 * targets.error_rate),
            ("latency_p95_ms", "95th percentile of the latency", "ms", 1000 * targets.latency_p95),
            (
                "reconnection_success_rate",
                "Successful WebSocket reconnects",
                "%",
                100 * targets.reconnection_success,
            ),
            ("websocket_uptime_pct", "WebSocket uptime", "%", 100 * targets.websocket_uptime),
            ("dashboard_load_time_s", "Dashboard load time", "s", targets.dashboard_load),
        )
        if found.value(name) is not None
    ]
    title = (
        f"{found.release} in {found.environment}, {found.deployment} pods, "
        f"{found.start[:19]} to {found.end[:19]} UTC"
    )
    return svg(title, panels)
