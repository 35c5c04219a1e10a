"""The SLO report of some days: compliance, error budget, trend, capacity and cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tarsrelease.model.base import Value
from tarsrelease.model.kpis import ErrorBudget, KpiReport


class Compliance(Value):
    """One SLO over the whole time: `met` of `parts` kept it, `worst` is the worst part's value."""

    kpi: str
    expected: str
    value: float | None
    result: str
    met: int
    parts: int
    worst: float | None
    worst_at: str | None


class Trend(Value):
    """How a KPI changes per day: the Theil-Sen slope over the parts, in the KPI's unit."""

    kpi: str
    per_day: float
    reads: Literal["better", "worse", "steady"]


class Capacity(Value):
    """What the pods of a Deployment used: cores and bytes of all its pods together.

    Shares are those of what they request now; None without a request.
    """

    deployment: str
    pods: float
    cpu_mean: float | None
    cpu_peak: float | None
    cpu_peak_share: float | None
    memory_mean: float | None
    memory_peak: float | None
    memory_peak_share: float | None


class Cost(Value):
    """Core hours and GB hours of a Deployment's pods, as requested, as limited, and as used.

    `price` is what the requests cost, in the currency of the prices that were given.
    """

    deployment: str
    pod_hours: float
    core_hours_requested: float | None
    core_hours_limited: float | None
    core_hours_used: float | None
    gb_hours_requested: float | None
    gb_hours_limited: float | None
    gb_hours_used: float | None
    price: float | None = None


class SloReport(Value):
    """Times are RFC 3339. `asked_seconds` were asked for, `kpis` are those of the recorded part.

    `notes` say what is not recorded or not known.
    """

    format: Literal["tarsrelease/slo-report/v1"] = Field(
        "tarsrelease/slo-report/v1", alias="schema"
    )
    release: str
    environment: str
    asked_seconds: float
    kpis: KpiReport
    compliance: tuple[Compliance, ...]
    budget: ErrorBudget
    budget_lasts_days: float | None
    trends: tuple[Trend, ...]
    capacity: tuple[Capacity, ...]
    cost: tuple[Cost, ...]
    notes: tuple[str, ...] = ()
