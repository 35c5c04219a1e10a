"""KPIs of a window of time, from its raw samples.

The window is read in pieces, oldest first, and each piece's samples are folded into counters (see
`counting`). The counters at the end of each interval are kept, so that the intervals' numbers add
up to those of the window, whenever it is read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf, isfinite

from tarsrelease.gates.measure import counting, presence, vocabulary
from tarsrelease.gates.measure.counter_reset import rise
from tarsrelease.gates.measure.counting import Counter, Line, OwnerOf, SeriesId
from tarsrelease.gates.measure.selectors import render
from tarsrelease.gates.study import slower_canary
from tarsrelease.model.checks import ProportionCheck, ReconnectsCheck
from tarsrelease.model.kpis import Kpis, Tally
from tarsrelease.model.measurement import Key, Sample, Series, Track
from tarsrelease.model.objectives import KpiSlis, KpiTargets
from tarsrelease.model.rollout import GaugeSli, ProportionSli, Rollout

Buckets = Mapping[float, float]
"""Requests within each bound of a histogram (seconds), cumulative; `inf` has all of them."""

_STALE = 3
"""Scrape intervals after which a pod without a sample counts as gone."""


def slis_of(rollout: Rollout) -> KpiSlis:
    """The SLIs of the KPIs by name: those of `objectives`, else the defaults."""
    given, checks = rollout.objectives.slis, rollout.stages[-1].checks
    everywhere = [check for stage in rollout.stages for check in stage.checks]
    proportions = [check for check in checks if isinstance(check, ProportionCheck)]
    reconnects = [check for check in everywhere if isinstance(check, ReconnectsCheck)]
    timed = [check.sli for check in proportions if _bucket(rollout, check.sli) is not None]
    failing = [check.sli for check in proportions if check.sli not in timed]
    return KpiSlis(
        errors=given.errors or next(iter(failing), None),
        latency=given.latency or next(iter(timed), None),
        reconnects=given.reconnects or next((each.sli for each in reconnects), None),
        websockets=given.websockets or next((each.open for each in reconnects if each.open), None),
        dashboards=given.dashboards,
    )


def _bucket(rollout: Rollout, sli: str) -> str | None:
    """The selector of good requests, if it is a bucket of a histogram."""
    found = rollout.slis[sli]
    good = found.good if isinstance(found, ProportionSli) else None
    return good if good is not None and slower_canary.bound_of(good) is not None else None


@dataclass(frozen=True, slots=True)
class Asked:
    """The selectors of the KPIs, placeholders filled in; None: there is no such SLI.

    `errors` and `reconnects`: of all, of the bad or good ones, whether those are good, and whether
    they may be absent. `latency` and `dashboards` select every bucket of a histogram.
    """

    errors: tuple[str, str, bool, bool] | None
    latency: str | None
    reconnects: tuple[str, str, bool, bool] | None
    websockets: str | None
    dashboards: str | None

    @property
    def counted(self) -> tuple[str, ...]:
        """The selectors of counters, each once."""
        pairs = [each[:2] for each in (self.errors, self.reconnects) if each is not None]
        found = [selector for pair in pairs for selector in pair]
        return tuple(dict.fromkeys([*found, *filter(None, (self.latency, self.dashboards))]))

    @property
    def selectors(self) -> tuple[str, ...]:
        """All selectors, counters first."""
        return (*self.counted, *([] if self.websockets is None else [self.websockets]))

    @property
    def sent(self) -> tuple[str, ...]:
        """The same as they are sent: a bucket's bound in every spelling."""
        return tuple(map(vocabulary.any_spelling, self.selectors))


def asked_of(rollout: Rollout, namespace: str) -> Asked:
    """The selectors of the release's KPIs, for any version."""
    slis = slis_of(rollout)

    def filled(template: str) -> str:
        return render(template, rollout, namespace, [""], 0)

    def pair(name: str | None) -> tuple[str, str, bool, bool] | None:
        sli = rollout.slis.get(name or "")
        if not isinstance(sli, ProportionSli):
            return None
        part = sli.good if sli.good is not None else sli.bad or ""
        return filled(sli.of), filled(part), sli.good is not None, sli.absent == "zero"

    def buckets(name: str | None) -> str | None:
        good = None if name is None else _bucket(rollout, name)
        return None if good is None else slower_canary.every_bound(filled(good))

    open_ = rollout.slis.get(slis.websockets or "")
    return Asked(
        errors=pair(slis.errors),
        latency=buckets(slis.latency),
        reconnects=pair(slis.reconnects),
        websockets=filled(open_.value) if isinstance(open_, GaugeSli) else None,
        dashboards=buckets(slis.dashboards),
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a window so far. Times are Unix times of the metrics server's clock.

    `first` has the time of each series' first sample, `known` the targets scraped before the
    window, `times` those of every scrape. `sockets` and `open` keep all samples of reconnects
    (bad or good, and all of them) and of open WebSockets.
    """

    asked: Asked
    owner_of: OwnerOf
    interval: float
    start: float
    counters: Mapping[str, Counter]
    births: Mapping[str, float] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    first: Mapping[tuple[str, SeriesId], float] = field(default_factory=dict)
    times: frozenset[float] = frozenset()
    kept: Mapping[tuple[str, SeriesId], tuple[Sample, ...]] = field(default_factory=dict)


def begin(
    asked: Asked,
    owner_of: OwnerOf,
    *,
    start: float,
    reach: float,
    interval: float,
    births: Mapping[str, float],
) -> Reading:
    """Nothing read yet, of a window from `start`; its first piece begins at `reach`."""
    counters = {
        selector: counting.start(start, reach, vocabulary.path_labels(selector))
        for selector in asked.counted
    }
    return Reading(asked, owner_of, interval, start, counters, births)


def more(reading: Reading, answers: Sequence[Sequence[Series]]) -> Reading:
    """The reading with one more piece: a list of series for each of the selectors."""
    found = dict(zip(reading.asked.selectors, answers, strict=True))
    keep = counting.recent(reading.interval)
    known = reading.known.union(
        *(
            counting.scraped_before(found[selector], reading.owner_of, reading.start)
            for selector in reading.counters
        )
    )
    first, times, kept = dict(reading.first), set(reading.times), dict(reading.kept)
    whole = {reading.asked.websockets, *(reading.asked.reconnects or ())[:2]}
    for selector, series in found.items():
        for each in series:
            identity = (selector, frozenset(each.labels.items()))
            first.setdefault(identity, each.samples[0].time)
            times.update(sample.time for sample in each.samples)
            if selector in whole:
                kept[identity] = (*kept.get(identity, ()), *each.samples)
    return replace(
        reading,
        counters={
            selector: counting.fold(
                counter,
                found[selector],
                reading.owner_of,
                known=known,
                births=reading.births,
                keep=keep,
            )
            for selector, counter in reading.counters.items()
        },
        known=known,
        first=first,
        times=frozenset(times),
        kept=kept,
    )


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts since the window's start by service and side, and why some are not counted."""

    errors: Mapping[Key, Tally]
    reconnects: Mapping[Key, Tally]
    latency: Mapping[Key, Buckets]
    dashboards: Mapping[Key, Buckets]
    missing: Mapping[str, str] = field(default_factory=dict)

    def since(self, before: Totals) -> Totals:
        """What was added after `before`."""

        def tallies(now: Mapping[Key, Tally], then: Mapping[Key, Tally]) -> dict[Key, Tally]:
            nothing = Tally(bad=0, total=0)
            return {
                key: Tally(
                    bad=each.bad - then.get(key, nothing).bad,
                    total=each.total - then.get(key, nothing).total,
                )
                for key, each in now.items()
            }

        def buckets(now: Mapping[Key, Buckets], then: Mapping[Key, Buckets]) -> dict[Key, Buckets]:
            return {
                key: {le: value - then.get(key, {}).get(le, 0.0) for le, value in each.items()}
                for key, each in now.items()
            }

        return Totals(
            tallies(self.errors, before.errors),
            tallies(self.reconnects, before.reconnects),
            buckets(self.latency, before.latency),
            buckets(self.dashboards, before.dashboards),
            self.missing,
        )


NOTHING = Totals({}, {}, {}, {})


def totals(reading: Reading) -> Totals:
    """The counts of all that was read."""
    missing: dict[str, str] = {}
    asked = reading.asked
    return Totals(
        errors=_tallies(reading, asked.errors, "errors", missing),
        reconnects=_tallies(reading, asked.reconnects, "reconnects", missing),
        latency=_buckets(reading, asked.latency, "latency", missing),
        dashboards=_buckets(reading, asked.dashboards, "dashboards", missing),
        missing=missing,
    )


def _tallies(
    reading: Reading,
    pair: tuple[str, str, bool, bool] | None,
    what: str,
    missing: dict[str, str],
) -> dict[Key, Tally]:
    if pair is None:
        missing[what] = "no sli in rollout.yaml (objectives.slis)"
        return {}
    of, part, is_good, may_be_absent = pair
    all_of_them = _gained(reading, of, what, missing)
    some = _gained(reading, part, what, missing)
    for key in all_of_them:
        why = None if may_be_absent else presence.missing(reading.counters, of, part, is_good, key)
        if why is not None:
            missing[what] = why
    found = {}
    for key, total in all_of_them.items():
        other = min(some.get(key, 0.0), total)
        found[key] = Tally(bad=total - other if is_good else other, total=total)
    return found


def _gained(
    reading: Reading, selector: str, what: str, missing: dict[str, str]
) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for group in counting.several(reading.counters[selector]):
        key = group[0].owner.key
        found[key] = found.get(key, 0.0) + _once(reading, selector, group)
        _note_trouble(group, what, missing)
    return found


def _buckets(
    reading: Reading, selector: str | None, what: str, missing: dict[str, str]
) -> dict[Key, Buckets]:
    if selector is None:
        missing[what] = "no sli with a bucket of a histogram in rollout.yaml (objectives.slis)"
        return {}
    found: dict[Key, dict[float, float]] = {}
    for group in counting.several(reading.counters[selector]):
        bound = float(dict(group[0].origin)["le"])
        of_key = found.setdefault(group[0].owner.key, {})
        of_key[bound] = of_key.get(bound, 0.0) + _once(reading, selector, group)
        _note_trouble(group, what, missing)
    return {key: dict(sorted(each.items())) for key, each in found.items()}


def _note_trouble(group: Iterable[Line], what: str, missing: dict[str, str]) -> None:
    for line in group:
        if (trouble := line.trouble) is not None:
            missing[what] = f"a series of {line.owner.target or 'no pod'} {trouble}"


def _once(reading: Reading, selector: str, group: Sequence[Line]) -> float:
    """What one counter gained: of series at the same time the largest, of others the sum.

    Series of one pod follow each other when it gets a new address.
    """
    if len(group) == 1:
        return group[0].increase()
    ours = {id(line) for line in group}
    ordered = sorted(
        (reading.first.get((selector, identity), -inf), line.newest, line.increase())
        for identity, line in reading.counters[selector].lines.items()
        if id(line) in ours
    )
    found, largest, end = 0.0, 0.0, -inf
    for since, until, gained in ordered:
        if since > end:
            found, largest = found + largest, 0.0
        largest, end = max(largest, gained), max(end, until)
    return found + largest


def quantile(share: float, buckets: Buckets) -> float | None:
    """The bound (seconds) below which `share` of the requests are; None without requests.

    Linear within a bucket, as Prometheus' histogram_quantile; beyond the last finite bound, that
    bound.
    """
    total = buckets.get(inf, 0.0)
    if total <= 0:
        return None
    rank, low, few = share * total, 0.0, 0.0
    for bound, many in sorted(buckets.items()):
        if many >= rank and bound < inf:
            inside = many - few
            return low + (bound - low) * ((rank - few) / inside if inside > 0 else 1.0)
        if bound < inf:
            low, few = bound, many
    return low


def _summed(by_key: Mapping[Key, Buckets], keys: Iterable[Key]) -> Buckets:
    found: dict[float, float] = {}
    for key in keys:
        for bound, value in by_key.get(key, {}).items():
            found[bound] = found.get(bound, 0.0) + value
    return found


def _added(by_key: Mapping[Key, Tally], keys: Iterable[Key]) -> Tally:
    found = Tally(bad=0, total=0)
    for key in keys:
        found = found.plus(by_key.get(key, Tally(bad=0, total=0)))
    return found


def kpis(counts: Totals, keys: Sequence[Key], targets: KpiTargets, sockets: Tally) -> Kpis:
    """The KPIs of these services and sides; `sockets` as `websocket_intervals` counts them."""
    missing = counts.missing
    errors, reconnects = _added(counts.errors, keys), _added(counts.reconnects, keys)
    durations, loads = _summed(counts.latency, keys), _summed(counts.dashboards, keys)
    tallies = {"errors": errors, "reconnects": reconnects, "websockets": sockets}
    if targets.latency_p95 in durations:
        total = durations[inf]
        tallies["slow"] = Tally(bad=total - durations[targets.latency_p95], total=total)
    p95, load = quantile(0.95, durations), quantile(0.95, loads)
    failed = None if "errors" in missing else errors.bad_pct
    lost = None if "reconnects" in missing else reconnects.bad_pct
    return Kpis(
        availability_pct=None if failed is None else 100 - failed,
        error_rate_pct=failed,
        latency_p95_ms=None if p95 is None or "latency" in missing else 1000 * p95,
        reconnection_success_rate=None if lost is None else 100 - lost,
        websocket_uptime_pct=None if sockets.bad_pct is None else 100 - sockets.bad_pct,
        dashboard_load_time_s=None if "dashboards" in missing else load,
        requests=errors.total,
        tallies={name: each for name, each in tallies.items() if each.total > 0},
    )


def keys_of(rollout: Rollout, tracks: Iterable[Track]) -> list[Key]:
    """The services on these sides."""
    return [(service.name, track) for track in tracks for service in rollout.services]


def gaps(reading: Reading, end: float) -> list[tuple[float, float]]:
    """The times from the window's start to `end` in which nothing at all was scraped.

    Two scrapes may be three intervals apart.
    """
    longest = _STALE * reading.interval
    times = sorted({reading.start, end, *(t for t in reading.times if reading.start < t <= end)})
    return [(before, after) for before, after in pairwise(times) if after - before > longest]


def websocket_intervals(
    reading: Reading, keys: Iterable[Key], start: float, end: float
) -> dict[str, Tally]:
    """By service with WebSockets, its scrape intervals, and those without WebSockets.

    An interval is bad if none of its pods on these sides was scraped in the last three intervals,
    or if more clients failed to reconnect in it than succeeded. Intervals in which nothing was
    scraped at all are not counted, for a canary alone also those before its first scrape.
    """
    wanted = set(keys)
    seen: dict[str, list[float]] = {}
    failed: dict[str, dict[int, float]] = {}
    attempts: dict[str, dict[int, float]] = {}
    reconnects = reading.asked.reconnects
    for (selector, identity), samples in reading.kept.items():
        owner = reading.owner_of(dict(identity))
        if owner is None or owner.key not in wanted:
            continue
        service = owner.key[0]
        if selector == reading.asked.websockets:
            seen.setdefault(service, []).extend(sample.time for sample in samples)
        if reconnects is not None and selector == reconnects[0]:
            _enter_rises(attempts.setdefault(service, {}), samples, start, reading.interval)
        if reconnects is not None and selector == reconnects[1]:
            _enter_rises(failed.setdefault(service, {}), samples, start, reading.interval)
    scraped = sorted(reading.times)
    only_canary = all(track is Track.CANARY for _, track in wanted)
    found = {}
    for service, times in seen.items():
        times.sort()
        bad = total = 0
        for slot in range(max(1, round((end - start) / reading.interval))):
            until = start + (slot + 1) * reading.interval
            if not _one_since(scraped, until, reading.interval):
                continue
            if only_canary and until < times[0]:
                continue
            tried = attempts.get(service, {}).get(slot, 0.0)
            others = failed.get(service, {}).get(slot, 0.0)
            lost = tried - others if reconnects is not None and reconnects[2] else others
            total += 1
            bad += not _one_since(times, until, reading.interval) or 2 * lost > tried
        found[service] = Tally(bad=bad, total=total)
    return found


def _enter_rises(
    into: dict[int, float], samples: Sequence[Sample], start: float, interval: float
) -> None:
    for before, now in pairwise(samples):
        if now.time > start and isfinite(now.value):
            slot = int((now.time - start) // interval)
            into[slot] = into.get(slot, 0.0) + rise(before.value, now.value)


def _one_since(times: Sequence[float], until: float, interval: float) -> bool:
    """Whether one of the ordered times is within the last three intervals before `until`."""
    place = bisect_right(times, until)
    return place > 0 and times[place - 1] > until - _STALE * interval
