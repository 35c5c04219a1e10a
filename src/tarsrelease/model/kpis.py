"""KPIs of a window of time. The keys of the JSON are those of the runbook."""

from __future__ import annotations

from typing import Literal, Self

from tarsrelease.model.base import Value
from tarsrelease.model.result import Check

KPI_NAMES = (
    "availability_pct",
    "error_rate_pct",
    "latency_p95_ms",
    "reconnection_success_rate",
    "websocket_uptime_pct",
    "dashboard_load_time_s",
)


class Tally(Value):
    """How many of all requests (or scrape intervals) were bad."""

    bad: float
    total: float

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(bad=self.bad + other.bad, total=self.total + other.total)

    @property
    def bad_pct(self) -> float | None:
        """The bad ones in percent; None without any."""
        return 100 * self.bad / self.total if self.total > 0 else None


class Kpis(Value):
    """The KPIs: percentages, milliseconds and seconds as their names say; None: not measured.

    `tallies` are the numbers behind the percentages: ``errors``, ``slow`` (slower than the target
    of the latency, where that is a bound of the histogram), ``reconnects`` (failed ones) and
    ``websockets`` (scrape intervals without WebSockets).
    """

    availability_pct: float | None = None
    error_rate_pct: float | None = None
    latency_p95_ms: float | None = None
    reconnection_success_rate: float | None = None
    websocket_uptime_pct: float | None = None
    dashboard_load_time_s: float | None = None
    requests: float = 0.0
    tallies: dict[str, Tally] = {}

    def value(self, name: str) -> float | None:
        """A KPI by its name."""
        found: float | None = getattr(self, name)
        return found


class Interval(Kpis):
    """The KPIs of a part of the window; `start` and `end` are Unix times."""

    start: float
    end: float

    @classmethod
    def of(cls, found: Kpis, start: float, end: float) -> Self:
        """These KPIs with their time."""
        return cls(**found.model_dump(), start=start, end=end)


class KpiDifference(Value):
    """A KPI of the baseline and now; None: not measured."""

    baseline: float | None
    now: float | None
    change: float | None


class KpiComparison(Value):
    """What has changed since the baseline; `checks` say what is proven to be worse."""

    baseline_start: str
    baseline_end: str
    differences: dict[str, KpiDifference]
    checks: tuple[Check, ...]


class KpiReport(Kpis):
    """The KPIs of a window, the same by service, and by interval.

    `start` and `end` are RFC 3339. `missing` says why a KPI was not measured. `gaps` are the times
    without any sample (start and end, Unix), `measured_pct` the rest of the window.
    """

    schema_: Literal["tarsrelease/kpis/v1"] = "tarsrelease/kpis/v1"
    release: str
    environment: str
    deployment: Literal["canary", "stable", "all"] = "all"
    start: str
    end: str
    duration_seconds: float
    services: dict[str, Kpis] = {}
    intervals: tuple[Interval, ...] = ()
    missing: dict[str, str] = {}
    gaps: tuple[tuple[float, float], ...] = ()
    measured_pct: float = 100.0
    slos: tuple[Check, ...] = ()
    comparison: KpiComparison | None = None
