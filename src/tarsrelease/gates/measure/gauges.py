"""Readings of a gauge per pod, gathered over a stage."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from tarsrelease.gates.measure.counting import SeriesId, origin
from tarsrelease.model.measurement import Gauges, Sample, Series
from tarsrelease.model.rollout import MetricLabels

Readings = Mapping[str, tuple[Sample, ...]]
"""By pod name (or another key), oldest first."""

_SAME = 1e-9
"""Relative difference below which a reading is at the limit: the unit may round."""


def gather(
    readings: Readings, series: Iterable[Series], labels: MetricLabels, since: float
) -> Readings:
    """The readings with these samples added; those before `since` (Unix time) are left out.

    Several series of one pod at the same time are added up: containers of a pod share its
    limit. What is collected twice counts once. A sample that comes again replaces itself.
    """
    return gather_by(readings, series, lambda found: found.get(labels.pod, ""), since)


def gather_by(
    readings: Readings,
    series: Iterable[Series],
    key_of: Callable[[Mapping[str, str]], str],
    since: float,
) -> Readings:
    """As `gather`, by any key that is made of a series' labels."""
    fresh: dict[str, dict[SeriesId, dict[float, float]]] = {}
    for each in series:
        parts = fresh.setdefault(key_of(each.labels), {})
        times = parts.setdefault(origin(each.labels), {})
        times |= {sample.time: sample.value for sample in each.samples if sample.time >= since}
    merged = dict(readings)
    for pod, parts in fresh.items():
        summed = _sum(parts)
        if not summed:
            continue
        old = merged.get(pod, ())
        kept = bisect_left(old, min(summed), key=lambda sample: sample.time)
        together = {sample.time: sample.value for sample in old[kept:]} | summed
        merged[pod] = old[:kept] + tuple(Sample(*each) for each in sorted(together.items()))
    return merged


def _sum(parts: Mapping[SeriesId, Mapping[float, float]]) -> dict[float, float]:
    """By time. Beside the containers of a pod, cAdvisor has their total, without `container`."""
    named = [
        times
        for labels, times in parts.items()
        if (found := dict(labels)).get("container")
        or not found.get("__name__", "").startswith("container_")
    ]
    summed: defaultdict[float, float] = defaultdict(float)
    for times in named or list(parts.values()):
        for time, value in times.items():
            summed[time] += value
    return summed


def of_deployment(
    readings: Readings, owners: Mapping[str, str], deployment: str, shift: float
) -> Gauges:
    """The readings of a Deployment's pods, those that are gone by now too.

    Those before the shift (Unix time) are kept apart.
    """
    since, before = {}, {}
    for pod, samples in readings.items():
        if owners.get(pod) == deployment:
            at = bisect_left(samples, shift, key=lambda sample: sample.time)
            since[pod] = samples[at:]
            if at:
                before[pod] = samples[:at]
    return Gauges({pod: samples for pod, samples in since.items() if samples}, before)


def at_least(value: float, limit: float) -> bool:
    """Whether a reading is at or above a limit, whatever unit both are in."""
    return value >= limit * (1 - _SAME)


def longest_above(samples: Iterable[Sample], limit: float) -> float:
    """Seconds of the longest run of readings at or above `limit`, from its first to its last.

    One reading alone lasts no time.
    """
    return longest_run(samples, lambda value: at_least(value, limit))


def longest_run(samples: Iterable[Sample], beyond: Callable[[float], bool]) -> float:
    """Seconds of the longest run of such readings, from its first to its last."""
    longest, start = 0.0, None
    for sample in samples:
        if not beyond(sample.value):
            start = None
        else:
            start = sample.time if start is None else start
            longest = max(longest, sample.time - start)
    return longest
