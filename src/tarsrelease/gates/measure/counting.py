"""Counting requests from raw samples: a pure fold of samples into increases since the shift.

A series' increase is its value now minus its value at the shift, which is its last sample at or
before it, over resets (see `counter_reset`). A series born after the shift counts
from zero, so that the first failure of a fresh pod is not lost (`increase()` would lose it, as it
needs two samples). Samples may arrive again, late or out of order: each counts once, in its
place, as long as it is not older than what was already compacted.

What "born after the shift" means is the delicate part. A series without a sample before the
shift, within the reach of the first query, is either new or its target was not scraped for a
while; counting a lifetime as if it were new would blame a release for its past. So:

- another series of the same target was scraped before the shift: the series is new, from zero;
- the target's pod is younger than the reach, or nothing is known of it: new, from zero;
- the pod is older than the reach: it was not scraped, so its first sample becomes the start.

One counter may arrive as several series: two scrape jobs, two Prometheus replicas, two clusters
(`several`), also where one of the jobs adds labels of its own. It counts once. What is no counter
of requests (a rate, a sum over pods, a number that has outgrown its precision) is marked
(`Line.trouble`), and nothing is decided from it. Probes of the kubelet and scrapes are no users'
requests and are left out where a label tells them.

Staleness: range selectors never return Prometheus' stale markers. A series that ended gives no
more samples, and what it had gained stands, as those requests were made.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf

from tarsrelease.gates.measure.counter_reset import rise
from tarsrelease.gates.measure.vocabulary import added_in_collecting, is_probe
from tarsrelease.model.measurement import Key, Sample, Series, Track

SeriesId = frozenset[tuple[str, str]]

PRECISE = 2.0**53
"""From here on a float cannot count single requests."""

_FALLS = 3
"""Drops to more than half of the value before: a counter that starts again falls to near 0."""


def recent(scrape_interval: float) -> float:
    """Seconds for which samples stay open: for late ones, and to see how things stand lately."""
    return max(60.0, 4 * scrape_interval)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a series is: `key` is (service, track), `target` the pod that was scraped."""

    key: Key
    target: str


OwnerOf = Callable[[Mapping[str, str]], Owner | None]
"""From a series' labels to its owner; None leaves the series out (another version, say)."""


@dataclass(frozen=True, slots=True)
class Line:
    """One series so far: `gained` up to `anchor`, then the samples of `tail`, oldest first.

    `since` is the time of the sample (or the shift) that it is counted from. `born` says that it
    is counted from zero. The tail is kept for as long as late samples may come. `via` are its
    labels of the collecting side, `origin` the others, `falls` how often it dropped to more than
    half.
    """

    owner: Owner
    since: float
    born: bool
    anchor: Sample
    gained: float
    tail: tuple[Sample, ...]
    origin: SeriesId = frozenset()
    falls: int = 0
    via: SeriesId = frozenset()

    def increase(self, until: float = inf) -> float:
        """What the series gained from the shift to `until` (Unix time)."""
        return _walk(self.anchor, self.gained, (s for s in self.tail if s.time <= until))[1]

    def last_before(self, until: float) -> float:
        """The time of the newest sample at or before `until`; where it is counted from, if none.

        Samples older than what stays open for late ones are forgotten (see `recent`).
        """
        times = [s.time for s in self.tail if s.time <= until]
        return times[-1] if times else max(self.since, self.anchor.time)

    @property
    def newest(self) -> float:
        """The time of the newest sample."""
        return self.tail[-1].time if self.tail else self.anchor.time

    @property
    def trouble(self) -> str | None:
        """Why it does not count requests one by one; None where it may."""
        value = (self.tail[-1] if self.tail else self.anchor).value
        if not self.owner.target:
            return "carries neither a pod nor an instance: a sum over pods hides their restarts"
        if value >= PRECISE:
            return f"has outgrown its precision ({value:.3g} is beyond 2^53)"
        if value != int(value) or value < 0:
            return (
                f"is no counter of requests (its value is {value:g}): a recorded rate, average or "
                "change"
            )
        if self.falls >= _FALLS:
            return f"is no counter (it fell {self.falls} times to more than half of its value)"
        return None


@dataclass(frozen=True, slots=True)
class Counter:
    """All series of one selector since `shift` (Unix time, the metrics server's clock).

    `reach` is how far back the first query asked. `newest` holds each target's newest sample time,
    `settled` what it was at the fold before this one: whatever is as old as that has been visible
    to every query of this evaluation. `left_out` counts series without an owner, `stranger` has the
    labels of one of them, `probes` those that a label among `path_labels` shows to be probes.
    `labels` are the names of the labels that each service's side has; `values` what it has at those
    of `asked`; `sides` holds each side's newest sample time.
    """

    shift: float
    reach: float
    lines: Mapping[SeriesId, Line]
    newest: Mapping[str, float]
    settled: Mapping[str, float]
    left_out: int = 0
    stranger: Mapping[str, str] | None = None
    path_labels: frozenset[str] = frozenset()
    probes: int = 0
    labels: Mapping[Key, frozenset[str]] = field(default_factory=dict)
    asked: frozenset[str] = frozenset()
    values: Mapping[tuple[Key, str], frozenset[str]] = field(default_factory=dict)
    sides: Mapping[Track, float] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """No series of any owner was seen."""
        return not self.lines


def start(
    shift: float,
    reach: float,
    path_labels: frozenset[str] = frozenset(),
    asked: frozenset[str] = frozenset(),
) -> Counter:
    """A counter that has seen nothing. `reach` <= `shift`, both Unix times."""
    if reach > shift:
        raise ValueError(f"the first query must reach back to the shift: {reach} > {shift}")
    return Counter(
        shift=shift,
        reach=reach,
        lines={},
        newest={},
        settled={},
        path_labels=path_labels,
        asked=asked,
    )


def scraped_before(series: Iterable[Series], owner_of: OwnerOf, shift: float) -> frozenset[str]:
    """Targets with a sample at or before the shift."""
    found = set()
    for each in series:
        if each.samples and each.samples[0].time <= shift:  # oldest first
            owner = owner_of(each.labels)
            if owner is not None:
                found.add(owner.target)
    return frozenset(found)


def fold(
    counter: Counter,
    series: Iterable[Series],
    owner_of: OwnerOf,
    *,
    known: frozenset[str] = frozenset(),
    births: Mapping[str, float] | None = None,
    keep: float = 60.0,
) -> Counter:
    """The counter after these samples.

    `known` are targets scraped before the shift (see `scraped_before`, over all selectors of the
    target), `births` the pods' start times (Unix), where known. Samples stay open for late ones
    for `keep` seconds before the newest of all.
    """
    lines, labels, values = dict(counter.lines), dict(counter.labels), dict(counter.values)
    left_out = probes = 0
    stranger = None
    for each in series:
        identity = frozenset(each.labels.items())
        before = lines.get(identity)
        if before is not None:
            if each.samples:
                lines[identity] = _more(before, counter.shift, each.samples)
            continue
        owner = owner_of(each.labels)
        if owner is None:
            left_out += 1
            stranger = each.labels
        elif is_probe(each.labels, counter.path_labels):
            probes += 1
        elif each.samples:
            first = _first(counter, owner, each.samples, known, births or {})
            own = origin(each.labels)
            lines[identity] = Line(owner, *first, own, via=identity - own)
            if not (names := labels.get(owner.key, frozenset())).issuperset(each.labels):
                labels[owner.key] = names.union(each.labels)
            for label in counter.asked.intersection(each.labels):
                at = (owner.key, label)
                values[at] = values.get(at, frozenset()) | {each.labels[label]}
    newest: dict[str, float] = {}
    sides: dict[Track, float] = {}
    for line in lines.values():
        target, track, last = line.owner.target, line.owner.key[1], line.newest
        newest[target] = max(last, newest.get(target, -inf))
        sides[track] = max(last, sides.get(track, -inf))
    horizon = max(newest.values(), default=-inf) - keep
    return replace(
        counter,
        lines={identity: _compact(line, horizon) for identity, line in lines.items()},
        newest=newest,
        settled=counter.newest,
        left_out=left_out,
        stranger=stranger,
        probes=probes,
        labels=labels,
        values=values,
        sides=sides,
    )


def origin(labels: Mapping[str, str]) -> SeriesId:
    """What identifies a counter in its process: the labels that collecting it does not add."""
    added = added_in_collecting(tuple(labels))
    return frozenset([item for item in labels.items() if item[0] not in added])


def several(counter: Counter) -> list[list[Line]]:
    """The counter's lines, those together that are one and the same counter, collected twice.

    Series of one pod that differ in labels of the collecting side alone. They are the same
    counter unless their values contradict it: two processes that count apart do not rise together
    from sample to sample.
    """
    pods: dict[tuple[str, Key], dict[SeriesId, list[Line]]] = {}
    for line in counter.lines.values():
        pod = pods.setdefault((line.owner.target, line.owner.key), {})
        pod.setdefault(line.via, []).append(line)
    found: list[list[Line]] = []
    for pod in pods.values():
        if len(pod) == 1:
            found += ([line] for lines in pod.values() for line in lines)
            continue
        added = added_labels(
            [[line.origin for line in lines] for lines in pod.values()], counter.asked
        )
        groups: dict[SeriesId, list[Line]] = {}
        for line in (line for lines in pod.values() for line in lines):
            groups.setdefault(without(line.origin, added), []).append(line)
        for lines in groups.values():
            if len(lines) == 1 or rise_together([line.tail for line in lines]):
                found.append(lines)
            else:
                found += ([line] for line in lines)
    return found


def added_labels(
    collectors: Iterable[Collection[SeriesId]], asked: frozenset[str] = frozenset()
) -> frozenset[str]:
    """Labels that some of a pod's collectors add to all its series, and the others do not.

    Each collector is given by the origins of its series. Every job may add labels of the pod, of
    its Service or its node. The name of the Service may differ: two may lead to one pod. Labels in
    `asked` come from the application.
    """
    known = [_constant(origins) for origins in collectors]
    return frozenset(
        name
        for name in set().union(*known) - asked
        if all(each.get(name, "") is not None for each in known)
        and (name == "service" or not all(name in each for each in known))
    )


def _constant(origins: Collection[SeriesId]) -> dict[str, str | None]:
    """All labels of these, with the value that all of them have; None where they differ."""
    items = Tally(item for origin in origins for item in origin)
    found: dict[str, str | None] = dict.fromkeys(name for name, _ in items)
    return found | {name: value for (name, value), n in items.items() if n == len(origins)}


def without(labels: SeriesId, names: frozenset[str]) -> SeriesId:
    """The labels that have other names."""
    return frozenset([item for item in labels if item[0] not in names]) if names else labels


def gained(lines: Sequence[Line], until: float = inf) -> float:
    """What one counter gained from the shift to `until`, by the collector that has seen most."""
    return max(line.increase(until) for line in lines)


def rise_together(series: Sequence[Sequence[Sample]]) -> bool:
    """Whether these may be one counter, collected several times: no one contradicts another."""
    own = [_drops(samples) for samples in series]
    merged = sorted(sample for samples in series for sample in samples)
    return _drops(merged) <= max(own)


def _drops(samples: Iterable[Sample]) -> int:
    return sum(now.value < before.value for before, now in pairwise(samples))


def _first(
    counter: Counter,
    owner: Owner,
    samples: Iterable[Sample],
    known: frozenset[str],
    births: Mapping[str, float],
) -> tuple[float, bool, Sample, float, tuple[Sample, ...]]:
    """The values of a new line, from `since` to `tail`."""
    shift = counter.shift
    ordered = sorted(samples)
    since = bisect_right(ordered, (shift, inf))
    after = tuple(_ordered(ordered[since:]))
    if since:
        last = ordered[since - 1]
        return last.time, False, last, 0.0, after
    unscraped = owner.target not in known and births.get(owner.target, inf) < counter.reach
    if unscraped:
        return after[0].time, False, after[0], 0.0, after[1:]
    return shift, True, Sample(shift, 0.0), 0.0, after


def _more(line: Line, shift: float, samples: Iterable[Sample]) -> Line:
    if line.anchor.time <= shift:  # nothing after the shift is compacted yet: the start is open
        early = [s for s in samples if s.time <= shift and (line.born or s.time > line.anchor.time)]
        if early:
            anchor = max(early, key=lambda sample: sample.time)
            line = replace(line, since=anchor.time, born=False, anchor=anchor)
    merged = _ordered([*line.tail, *(s for s in samples if s.time > line.anchor.time)])
    return replace(line, tail=tuple(merged)) if len(merged) > len(line.tail) else line


def _ordered(samples: Iterable[Sample]) -> list[Sample]:
    """By time, each time once."""
    return [sample for _, sample in sorted({s.time: s for s in samples}.items())]


def _walk(anchor: Sample, gained: float, samples: Iterable[Sample]) -> tuple[Sample, float]:
    for sample in samples:
        gained += rise(anchor.value, sample.value)
        anchor = sample
    return anchor, gained


def _compact(line: Line, horizon: float) -> Line:
    if not line.tail or line.tail[0].time > horizon:
        return line
    closed = [sample for sample in line.tail if sample.time <= horizon]
    anchor, gain = _walk(line.anchor, line.gained, closed)
    falls = sum(
        before.value / 2 < now.value < before.value
        for before, now in pairwise((line.anchor, *closed))
    )
    return replace(
        line,
        anchor=anchor,
        gained=gain,
        tail=line.tail[len(closed) :],
        falls=line.falls + falls,
    )
