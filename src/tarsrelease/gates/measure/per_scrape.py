"""What a side's pods counted from scrape to scrape, for judging how bursty its errors are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import add, le, sub

from tarsrelease.gates.measure.counter_reset import rise
from tarsrelease.gates.measure.counting import (
    Owner,
    OwnerOf,
    SeriesId,
    added_labels,
    origin,
    rise_together,
    without,
)
from tarsrelease.gates.measure.vocabulary import is_probe
from tarsrelease.gates.stats.bursts import Ticks
from tarsrelease.model.measurement import Sample, Series, Track


@dataclass(frozen=True, slots=True)
class Rises:
    """By (service, pod), the increase in each slot of a scrape interval, of one selector.

    `last` holds each series' newest sample: what comes again is not counted again, and nothing
    older than it. `twins` is, by pod and labels of the collecting side, those of its series that
    count where the pod is collected several times.
    """

    last: Mapping[SeriesId, Sample] = field(default_factory=dict)
    slots: Mapping[tuple[str, str], Mapping[int, float]] = field(default_factory=dict)
    twins: Mapping[tuple[Owner, SeriesId], SeriesId] = field(default_factory=dict)


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
    last = dict(rises.last)
    fresh: dict[tuple[str, str], dict[int, float]] = {}
    own = [
        (owner, origin(each.labels), frozenset(each.labels.items()), each)
        for each in series
        if (owner := owner_of(each.labels)) is not None and owner.key[1] is track
    ]
    twins = _twins(rises.twins, own)
    before_times: tuple[float, ...] = ()
    ids: list[int] = []
    distinct = True
    for owner, labels, identity, each in own:
        if identity not in last and is_probe(each.labels, path_labels):
            continue
        if twins:
            via = identity - labels
            if twins.get((owner, via), via) != via:
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
        if times != before_times:
            before_times, ids = times, [int(time // interval) for time in times[1:]]
            distinct = len(set(ids)) == len(ids)
        falls = not all(map(le, values, values[1:]))
        gains = map(rise, values, values[1:]) if falls else map(sub, values[1:], values)
        if distinct and not slots:  # without a loop of ours, as there may be a million samples
            slots.update(zip(ids, gains, strict=True))
        elif distinct:
            slots.update(zip(ids, map(add, map(slots.get, ids, repeat(0.0)), gains), strict=True))
        else:
            for slot, gain in zip(ids, gains, strict=True):
                slots[slot] = slots.get(slot, 0.0) + gain
    return Rises(last, {**rises.slots, **fresh}, twins)


def _twins(
    known: Mapping[tuple[Owner, SeriesId], SeriesId],
    series: Sequence[tuple[Owner, SeriesId, SeriesId, Series]],
) -> Mapping[tuple[Owner, SeriesId], SeriesId]:
    """The known ones, and pods whose counters rise together where they are collected again."""
    rows: dict[Owner, dict[SeriesId, dict[SeriesId, Sequence[Sample]]]] = {}
    for owner, labels, identity, each in series:
        rows.setdefault(owner, {}).setdefault(identity - labels, {})[labels] = each.samples
    found = dict(known)
    for owner, collectors in rows.items():
        names = sorted(collectors, key=sorted)
        if len(names) == 1 or all((owner, name) in known for name in names[1:]):
            continue
        added = added_labels(list(map(list, collectors.values())))
        same = {
            name: {without(own, added): samples for own, samples in collectors[name].items()}
            for name in names
        }
        for at, name in enumerate(names):
            if (owner, name) in known:
                continue
            for other in names[:at]:
                together = _rise_together(same[other], same[name])
                if together:
                    found[owner, name] = found.get((owner, other), other)
                    break
                if together is False:
                    found[owner, name] = name
    return found


def _rise_together(
    one: Mapping[SeriesId, Sequence[Sample]], other: Mapping[SeriesId, Sequence[Sample]]
) -> bool | None:
    """Whether all counters that both have rise together; None while none of them rises."""
    both = [(one[name], other[name]) for name in one.keys() & other.keys()]
    if not any(len(each) > 1 and each[-1].value > each[0].value for each, _ in both):
        return None
    return all(rise_together(pair) for pair in both)


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
