"""Shares of limited resources in use, from readings of gauges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from math import isfinite

from tarsrelease.gates.measure.gauges import Readings
from tarsrelease.model.measurement import Sample, Unmeasured, Usage

_BETWEEN = "\x00"


def key(labels: Mapping[str, str], by: Iterable[str]) -> str:
    """Where a series' readings are kept: the thing it belongs to, and which of its series it is."""
    thing = ", ".join(f"{name}={labels.get(name, '')}" for name in by) or "all"
    return thing + _BETWEEN + repr(sorted(labels.items()))


def usage(used: Readings, limits: Readings, interval: float) -> Usage | Unmeasured:
    """Shares of the limits in use, by thing. Both readings are kept by `key`.

    The series of a thing are scraped at different moments: each counts with its newest value, as
    long as that is no older than three scrapes.
    """
    if not used or not limits:
        which = "use" if not used else "limits"
        return Unmeasured(f"the selector of the {which} matches no series")
    limit_of = {thing: _summed(each, interval) for thing, each in _things(limits).items()}
    shares: dict[str, tuple[Sample, ...]] = {}
    unlimited = []
    for thing, series in _things(used).items():
        limit = limit_of.get(thing)
        if not limit:
            continue
        ends = limit[-1].value
        if not isfinite(ends) or ends <= 0:
            unlimited.append(thing)
            continue
        shares[thing] = tuple(
            Sample(each.time, each.value / ends) for each in _summed(series, interval)
        )
    return Usage(shares, tuple(sorted(unlimited)))


def _things(readings: Readings) -> dict[str, list[tuple[Sample, ...]]]:
    things: dict[str, list[tuple[Sample, ...]]] = {}
    for name, samples in readings.items():
        things.setdefault(name.partition(_BETWEEN)[0], []).append(samples)
    return things


def _summed(series: list[tuple[Sample, ...]], interval: float) -> list[Sample]:
    times = sorted({sample.time for samples in series for sample in samples})
    return [
        Sample(time, sum(_at(samples, time, 3 * interval) for samples in series)) for time in times
    ]


def _at(samples: tuple[Sample, ...], time: float, oldest: float) -> float:
    place = bisect_right(samples, time, key=lambda sample: sample.time)
    if place == 0 or time - samples[place - 1].time > oldest:
        return 0.0
    return samples[place - 1].value
