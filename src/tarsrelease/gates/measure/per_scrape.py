"""What a side's pods counted from scrape to scrape, for judging how bursty its errors are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tarsrelease.gates.measure.counter_reset import rise
from tarsrelease.gates.measure.counting import Owner, OwnerOf, SeriesId, origin
from tarsrelease.gates.measure.vocabulary import is_probe
from tarsrelease.gates.stats.bursts import Ticks
from tarsrelease.model.measurement import Sample, Series, Track


@dataclass(frozen=True, slots=True)
class Rises:
    """By (service, pod), the increase in each slot of a scrape interval, of one selector.

    `last` holds each series' newest sample: what comes again is not counted again, and nothing
    older than it. `counted` is the series that counts where one counter is collected twice.
    """

    last: Mapping[SeriesId, Sample] = field(default_factory=dict)
    counted: Mapping[tuple[Owner, SeriesId, str], SeriesId] = field(default_factory=dict)
    slots: Mapping[tuple[str, str], Mapping[int, float]] = field(default_factory=dict)


def gather(
    rises: Rises,
    series: Iterable[Series],
    owner_of: OwnerOf,
    track: Track,
    interval: float,
    path_labels: frozenset[str] = frozenset(),
) -> Rises:
    """The rises with these samples of one side added. A drop is a reset: the new value counts.

    Probes, told by `path_labels`, are left out.
    """
    last, counted = dict(rises.last), dict(rises.counted)
    fresh: dict[tuple[str, str], dict[int, float]] = {}
    for each in series:
        owner = owner_of(each.labels)
        if owner is None or owner.key[1] is not track:
            continue
        identity = frozenset(each.labels.items())
        if identity not in last and is_probe(each.labels, path_labels):
            continue
        same = (owner, origin(each.labels), each.labels.get("instance", ""))
        if counted.setdefault(same, identity) != identity:
            continue
        whose = (owner.key[0], owner.target)
        before = last.get(identity)
        samples = (
            each.samples
            if before is None
            else (before, *(sample for sample in each.samples if sample.time > before.time))
        )
        if not samples:
            continue
        last[identity] = samples[-1]
        if len(samples) == 1:
            continue
        if whose not in fresh:
            fresh[whose] = dict(rises.slots.get(whose, {}))
        slots = fresh[whose]
        times, values = zip(*samples, strict=True)
        gains = map(rise, values, values[1:])
        for slot, gain in zip([int(time // interval) for time in times[1:]], gains, strict=True):
            slots[slot] = slots.get(slot, 0.0) + gain
    return Rises(last, counted, {**rises.slots, **fresh})


def ticks(
    of: Rises, part: Rises, service: str, *, part_is_good: bool, interval: float
) -> Ticks | None:
    """The service's requests, slot by slot; None where nothing is known of them.

    Slots that only one of the two selectors has seen yet are left out.
    """
    by_pod: dict[str, list[tuple[float, float]]] = {}
    for (name, pod), totals in of.slots.items():
        others = part.slots.get((name, pod), {})
        if name != service or not totals or (part_is_good and not others):
            continue
        until = min(max(totals), max(others)) if others else max(totals)
        by_pod[pod] = [
            (_bad(totals[slot], others.get(slot, 0.0), part_is_good), totals[slot])
            for slot in sorted(totals)
            if slot <= until
        ]
    return Ticks(interval, by_pod) if by_pod else None


def _bad(total: float, other: float, other_is_good: bool) -> float:
    bad = total - other if other_is_good else other
    return min(max(bad, 0.0), total)
