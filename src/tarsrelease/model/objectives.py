"""What `measure` reports of a release: which SLIs its KPIs are made of, and their targets."""

from __future__ import annotations

from tarsrelease.model.base import Seconds, Share, Value


class KpiSlis(Value):
    """The SLIs by KPI, by their names in `slis`; a KPI without one is not measured.

    Defaults: `latency` is the last stage's first SLI whose good requests are a bucket of a
    histogram, `errors` the first other one, `reconnects` and `websockets` are those of the first
    check of kind reconnects. `dashboards` are requests for dashboards, whose good ones are a bucket
    of a histogram.
    """

    errors: str | None = None
    latency: str | None = None
    reconnects: str | None = None
    websockets: str | None = None
    dashboards: str | None = None


class KpiTargets(Value):
    """The service level objectives."""

    availability: Share = 0.999
    error_rate: Share = 0.01
    latency_p95: Seconds = 0.1
    reconnection_success: Share = 0.999
    websocket_uptime: Share = 0.999
    dashboard_load: Seconds = 3.0


class KpiWindows(Value):
    """How far back each criterion of a baseline looks."""

    availability: Seconds = 86400.0
    error_rate: Seconds = 3600.0
    latency_p95: Seconds = 3600.0
    reconnection_success: Seconds = 86400.0
    websocket_uptime: Seconds = 86400.0
    dashboard_load: Seconds = 86400.0


class Objectives(Value):
    """The KPIs of the release and their targets.

    `worse_by` and `within` are how much worse than the baseline errors and latency may be: see the
    checks of kind compare and drift. `tolerated` is a share of errors that is never too much.
    """

    slis: KpiSlis = KpiSlis()
    targets: KpiTargets = KpiTargets()
    windows: KpiWindows = KpiWindows()
    worse_by: Share = 0.2
    tolerated: Share = 0.001
    within: Share = 0.1
