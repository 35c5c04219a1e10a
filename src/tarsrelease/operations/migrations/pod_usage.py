"""CPU and memory of the database's pod, from Prometheus' raw samples."""

from __future__ import annotations

from collections.abc import Callable

from tarsrelease.model.database import DatabaseUsage
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.measurement import Series
from tarsrelease.ports.metrics import Metrics

_WINDOW = 60.0
"""Seconds of samples; CPU is the mean over them."""


def pod_usage(
    metrics: Metrics, wanted: DatabaseUsage
) -> Callable[[], tuple[float | None, float | None]]:
    """A function that reads cores and bytes; None without a reading."""

    def read() -> tuple[float | None, float | None]:
        try:
            cpu, memory = metrics.series([wanted.cpu, wanted.memory], _WINDOW)
        except ReleaseError:
            return None, None
        return _sum([_rate(one) for one in cpu]), _sum([_last(one) for one in memory])

    return read


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _rate(series: Series) -> float | None:
    """Growth per second of a counter; None with fewer than two samples, or after a reset."""
    if len(series.samples) < 2:
        return None
    first, last = series.samples[0], series.samples[-1]
    return (
        None if last.value < first.value else (last.value - first.value) / (last.time - first.time)
    )


def _last(series: Series) -> float | None:
    return series.samples[-1].value if series.samples else None
