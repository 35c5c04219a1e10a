"""KPIs of a window of time. The keys of the JSON are those of the runbook."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from tarsrelease.model.base import Value
from tarsrelease.model.cluster import DeploymentState
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


class PodUsage(Value):
    """CPU (cores) and memory (bytes) that a pod uses; None: not known."""

    pod: str
    deployment: str
    cpu_cores: float | None
    memory_bytes: float | None


class KpiReport(Kpis):
    """The KPIs of a window, the same by service, and by interval.

    `start` and `end` are RFC 3339. `missing` says why a KPI was not measured. `gaps` are the times
    without any sample (start and end, Unix), `measured_pct` the rest of the window. A baseline has
    the Deployments and the pods' usage as they were then.
    """

    schema_: Literal["tarsrelease/kpis/v1"] = Field("tarsrelease/kpis/v1", alias="schema")
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
    deployments: tuple[DeploymentState, ...] = ()
    pods: tuple[PodUsage, ...] = ()
    comparison: KpiComparison | None = None


class Drift(Value):
    """One metric of a service on both sides: its values there and the effect.

    `effect` is how much worse ours is: the difference of the shares of bad requests for errors and
    slow requests, the ratio of the medians less 1 for memory. `low` and `high` are a 95 % interval
    for it (Newcombe 1998), None where there is none.
    """

    service: str
    metric: str
    ours: float | None
    theirs: float | None
    effect: float | None
    low: float | None = None
    high: float | None = None
    verdict: str
    reason: str


class DriftInterval(Value):
    """The effects on all services together in a part of the window, by metric."""

    start: float
    end: float
    effects: dict[str, float | None]


class DriftReport(Value):
    """How two sides differ. `ours` and `theirs` name them."""

    schema_: Literal["tarsrelease/drift/v1"] = Field("tarsrelease/drift/v1", alias="schema")
    release: str
    environment: str
    ours: str
    theirs: str
    start: str
    end: str
    duration_seconds: float
    within: float
    metrics: tuple[Drift, ...]
    intervals: tuple[DriftInterval, ...] = ()


class BurnRate(Value):
    """How fast the error budget is used up in two windows: 1 uses it up in the budget's period.

    `alert` if both are at least `factor`; None where a window is not recorded (`reason`).
    """

    severity: Literal["page", "ticket"]
    long_seconds: float
    short_seconds: float
    factor: float
    long_rate: float | None
    short_rate: float | None
    alert: bool | None
    reason: str = ""


class ErrorBudget(Value):
    """The share of failed requests that the target allows, and how much of it is left.

    Over `period_seconds`, or as long as is recorded (`measured_seconds`).
    """

    target: float
    period_seconds: float
    measured_seconds: float
    requests: float
    failed: float
    remaining_share: float | None


class SloAlert(Value):
    """A breach that began or ended."""

    at: str
    check: str
    state: Literal["breach", "recovery"]
    observed: str
    expected: str
    delivered: bool | None = None
