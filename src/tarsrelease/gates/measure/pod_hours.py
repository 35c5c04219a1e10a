"""What the pods of each Deployment used over days, from samples of every hour or so."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from tarsrelease.gates.measure.counter_reset import rise
from tarsrelease.model.base import Value
from tarsrelease.model.measurement import Series


class Used(Value):
    """Of a Deployment's pods together: their number, cores and bytes, mean and peak, by moment."""

    pods: float
    cpu_mean: float | None
    cpu_peak: float | None
    memory_mean: float | None
    memory_peak: float | None


def used_by(
    deployments: Sequence[str], cpu: Sequence[Series], memory: Sequence[Series], moments: int
) -> dict[str, Used]:
    """By Deployment. A pod belongs to it by its name; `moments` is how often was sampled.

    A pod counts at the moments for which it has a sample, so the number of pods is a mean.
    """
    return {
        name: _used(
            [each for each in cpu if _of(name, each)],
            [each for each in memory if _of(name, each)],
            moments,
        )
        for name in deployments
    }


def _of(deployment: str, series: Series) -> bool:
    pod = series.labels.get("pod", "")
    return re.fullmatch(re.escape(deployment) + r"-[^-]+-[^-]+", pod) is not None


def _used(cpu: Sequence[Series], memory: Sequence[Series], moments: int) -> Used:
    held: dict[float, float] = defaultdict(float)
    there: dict[float, set[str]] = defaultdict(set)
    for series in memory:
        for sample in series.samples:
            held[sample.time] += sample.value
            there[sample.time].add(series.labels.get("pod", ""))
    cores: dict[float, float] = defaultdict(float)
    for series in cpu:
        for before, now in pairwise(series.samples):
            cores[now.time] += rise(before.value, now.value) / (now.time - before.time)
    return Used(
        pods=sum(map(len, there.values())) / moments if moments else 0.0,
        cpu_mean=_mean(cores, moments - 1),
        cpu_peak=max(cores.values(), default=None),
        memory_mean=_mean(held, moments),
        memory_peak=max(held.values(), default=None),
    )


def _mean(values: Mapping[float, float], moments: int) -> float | None:
    """Over all moments: nothing ran at those without a value."""
    return fmean(values.values()) * len(values) / moments if values and moments > 0 else None
