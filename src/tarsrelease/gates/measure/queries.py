"""A stage's queries to the metrics server, and the measurements from their answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from tarsrelease.gates.checks.traffic_share import FOLLOW
from tarsrelease.gates.measure import (
    attribution,
    counting,
    gauges,
    per_scrape,
    presence,
    usage,
    vocabulary,
)
from tarsrelease.gates.measure.attribution import Known
from tarsrelease.gates.measure.counting import Counter, Owner, OwnerOf
from tarsrelease.gates.measure.gauges import Readings
from tarsrelease.gates.measure.per_scrape import Rises
from tarsrelease.gates.measure.selectors import render
from tarsrelease.gates.stats.bursts import Ticks
from tarsrelease.model.measurement import Counts, Gauges, Key, Series, Track, Unmeasured, Usage
from tarsrelease.model.rollout import (
    GaugeSli,
    MetricLabels,
    ProportionSli,
    Rollout,
    Stage,
    UsageSli,
)

REACH = 300.0
"""Seconds before the shift that the first query asks back to: an outage of that length may lie
over the shift, and the counts still start from the right value."""


@dataclass(frozen=True, slots=True)
class Queries:
    """The selectors of a stage, placeholders filled in; each is queried once."""

    proportions: Mapping[str, tuple[str, str, bool]]
    """By SLI: the selector of all requests, that of the bad or good ones, whether it is good."""
    gauges: Mapping[str, str]
    share: str | None
    """The selector whose requests are compared with the weight."""
    usages: Mapping[str, tuple[str, str, tuple[str, ...]]] = field(default_factory=dict)
    """By SLI: the selectors of what is used and of the limits, and the labels that they share."""
    may_be_absent: frozenset[str] = frozenset()
    """SLIs whose bad requests have no series before the first one."""

    @property
    def counted(self) -> tuple[str, ...]:
        """Selectors of counters, each once."""
        found = [selector for of, part, _ in self.proportions.values() for selector in (of, part)]
        return tuple(dict.fromkeys(found if self.share is None else [*found, self.share]))

    def labels_asked(self, of: str) -> frozenset[str]:
        """Labels of the series of `of` by which bad or good requests are chosen among them."""
        return frozenset(
            each.label
            for whole, part, _ in self.proportions.values()
            if whole == of and vocabulary.metric_of(part) == vocabulary.metric_of(of)
            for each in vocabulary.only_in(part, of)
        )

    @property
    def selectors(self) -> tuple[str, ...]:
        """All selectors, each once, counters first."""
        things = [selector for used, limit, _ in self.usages.values() for selector in (used, limit)]
        return tuple(dict.fromkeys((*self.counted, *self.gauges.values(), *things)))

    @property
    def asked(self) -> tuple[str, ...]:
        """The same as they are sent: a bucket's bound in every spelling."""
        return tuple(map(vocabulary.as_sent, self.selectors))

    @property
    def sources(self) -> dict[str, str]:
        """By SLI, what its results were made from."""
        counted = {name: f"{part} / {of}" for name, (of, part, _) in self.proportions.items()}
        used = {name: f"{used} / {limit}" for name, (used, limit, _) in self.usages.items()}
        return counted | dict(self.gauges) | used


def queries_of(stage: Stage, rollout: Rollout, namespace: str, versions: Iterable[str]) -> Queries:
    """The queries that the stage's checks need.

    The weight is compared with the requests of the rollout's `share`, else with those of the first
    check on a proportion.
    """
    in_play = list(versions)
    proportions: dict[str, tuple[str, str, bool]] = {}
    gauge_selectors: dict[str, str] = {}
    usages: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    may_be_absent: set[str] = set()

    def filled(template: str) -> str:
        return render(template, rollout, namespace, in_play, stage.duration)

    for name in dict.fromkeys(name for check in stage.checks for name in check.named_slis()):
        sli = rollout.slis[name]
        if isinstance(sli, ProportionSli):
            part = sli.good if sli.good is not None else sli.bad or ""
            proportions[name] = (filled(sli.of), filled(part), sli.good is not None)
            if sli.absent == "zero":
                may_be_absent.add(name)
        elif isinstance(sli, GaugeSli):
            gauge_selectors[name] = filled(sli.value)
        elif isinstance(sli, UsageSli):
            usages[name] = (filled(sli.used), filled(sli.limit), sli.by)
    share = next((of for of, _, _ in proportions.values()), None)
    counting_all = None if rollout.share is None else rollout.slis[rollout.share]
    if isinstance(counting_all, ProportionSli):
        share = filled(counting_all.of)
    return Queries(proportions, gauge_selectors, share, usages, frozenset(may_be_absent))


@dataclass(frozen=True, slots=True)
class Measurements:
    """All that was gathered since the shift. Times are Unix times of the metrics server's clock.

    `rises` are those of the side `beside` the one under judgement, from before the shift on;
    `uses` the readings of usages, by SLI: what is used, and the limits. `answered_at` is the time
    of the last complete answer, None before the first. `lag` is how old the newest sample of an
    answer was at least: how late the store has its samples (inf before the first).
    """

    queries: Queries
    labels: MetricLabels
    owner_of: OwnerOf
    scrape_interval: float
    shift: float
    counters: Mapping[str, Counter]
    share: Counter | None
    readings: Mapping[str, Readings]
    beside: Track
    rises: Mapping[str, Rises]
    uses: Mapping[str, tuple[Readings, Readings]]
    known: frozenset[str] = frozenset()
    answered_at: float | None = None
    attributed: Known = field(default_factory=Known)
    lag: float = inf

    def seconds(self, now: float) -> float:
        """How far back to ask: to before the shift at first, then a margin before the newest
        sample of the side that is furthest behind: stores may have samples late."""
        if self.answered_at is None:
            return now - (self.shift - REACH)
        margin = max(2 * self.scrape_interval, 15.0)
        return max(now - self.answered_at, min(now - self._behind(), REACH)) + margin

    def _behind(self) -> float:
        """The oldest of the newest sample times by selector and side; -inf: a side has none."""
        newest = [
            counter.sides.get(track, -inf)
            for counter in self.counters.values()
            for track in Track
            if not counter.empty
        ]
        return min(newest, default=-inf)

    def targets(self, track: Track) -> dict[str, float]:
        """The newest sample time of each of the side's targets."""
        return attribution.targets_of(self.counters.values(), track)


def open_measurements(
    asked: Queries,
    labels: MetricLabels,
    versions: Mapping[Track, str | None],
    shift: float,
    scrape_interval: float,
    beside: Track = Track.STABLE,
) -> Measurements:
    """No measurements yet, for what was shifted at `shift` (Unix time, metrics server's clock).

    `beside` is the side that the judged one is compared with.
    """
    reach = shift - REACH
    return Measurements(
        queries=asked,
        labels=labels,
        owner_of=attribution.owners(labels, versions),
        scrape_interval=scrape_interval,
        shift=shift,
        counters={
            selector: counting.start(
                shift, reach, vocabulary.path_labels(selector), asked.labels_asked(selector)
            )
            for selector in asked.counted
        },
        # From when the gateway follows, and one scrape later, so that no sample that it is
        # counted from is older than that.
        share=None
        if asked.share is None
        else counting.start(
            shift + FOLLOW + scrape_interval, reach, vocabulary.path_labels(asked.share)
        ),
        readings={selector: {} for selector in asked.gauges.values()},
        beside=beside,
        rises={selector: Rises() for selector in asked.counted},
        uses={sli: ({}, {}) for sli in asked.usages},
    )


def attribute(
    measurements: Measurements, known: Known, versions: Mapping[Track, str | None]
) -> Measurements:
    """The measurements with what is known by now of pods and sides, for series yet to come."""
    owner_of = attribution.owners(measurements.labels, versions, known)
    return replace(measurements, owner_of=owner_of, attributed=known)


def enter(
    measurements: Measurements,
    answers: Sequence[Sequence[Series]],
    now: float,
    births: Mapping[str, float],
) -> Measurements:
    """The measurements with one complete answer: a list of series for each selector.

    `births` are the pods' start times, as far as known. Raises ValueError when the number of
    answers is not that of the selectors.
    """
    found = dict(zip(measurements.queries.selectors, answers, strict=True))
    keep = counting.recent(measurements.scrape_interval)
    owner_of = _remembered(measurements.owner_of)
    known = measurements.known.union(
        *(
            counting.scraped_before(found[selector], owner_of, measurements.shift)
            for selector in measurements.counters
        )
    )

    def fold(counter: Counter, selector: str) -> Counter:
        return counting.fold(
            counter, found[selector], owner_of, known=known, births=births, keep=keep
        )

    def pod_of(labels: Mapping[str, str]) -> str:
        return attribution.reading_of(labels, measurements.labels, measurements.attributed)

    share = measurements.share
    if share is not None and measurements.queries.share is not None:
        share = fold(share, measurements.queries.share)
    return replace(
        measurements,
        counters={
            selector: fold(each, selector) for selector, each in measurements.counters.items()
        },
        share=share,
        readings={
            selector: gauges.gather_by(each, found[selector], pod_of, measurements.shift - REACH)
            for selector, each in measurements.readings.items()
        },
        rises={
            selector: per_scrape.gather(
                each,
                found[selector],
                owner_of,
                measurements.beside,
                measurements.scrape_interval,
                vocabulary.path_labels(selector),
            )
            for selector, each in measurements.rises.items()
        },
        uses={sli: _more_uses(measurements, sli, found) for sli in measurements.uses},
        known=known,
        answered_at=now,
        lag=min(measurements.lag, max(0.0, now - _newest(found.values()))),
    )


def _remembered(owner_of: OwnerOf) -> OwnerOf:
    """The same for one answer, in which each series' labels are one object."""
    found: dict[int, Owner | None] = {}

    def remembered(labels: Mapping[str, str]) -> Owner | None:
        if id(labels) not in found:
            found[id(labels)] = owner_of(labels)
        return found[id(labels)]

    return remembered


def _newest(answers: Iterable[Sequence[Series]]) -> float:
    times = (each.samples[-1].time for series in answers for each in series if each.samples)
    return max(times, default=-inf)


def _more_uses(
    measurements: Measurements, sli: str, found: Mapping[str, Sequence[Series]]
) -> tuple[Readings, Readings]:
    used, limit, by = measurements.queries.usages[sli]
    before_used, before_limit = measurements.uses[sli]

    def key_of(labels: Mapping[str, str]) -> str:
        return usage.key(labels, by)

    return (
        gauges.gather_by(before_used, found[used], key_of, measurements.shift),
        gauges.gather_by(before_limit, found[limit], key_of, measurements.shift),
    )


def counts(
    measurements: Measurements, services: Iterable[str], alive: frozenset[str] | None
) -> dict[str, dict[Key, Counts | Unmeasured]]:
    """By SLI and (service, side), the requests. `alive`: see `measuring.proportion`."""
    keys = [(name, track) for name in services for track in Track]
    result: dict[str, dict[Key, Counts | Unmeasured]] = {}
    for sli, (of, part, is_good) in measurements.queries.proportions.items():
        of_key = attribution.proportion(
            measurements.counters[of],
            measurements.counters[part],
            part_is_good=is_good,
            alive=alive,
        )
        absent = sli in measurements.queries.may_be_absent
        result[sli] = {
            key: _explained(of_key(key), measurements, of)
            if absent
            or (why := presence.missing(measurements.counters, of, part, is_good, key)) is None
            else Unmeasured(why)
            for key in keys
        }
    return result


def _explained(
    measured: Counts | Unmeasured, measurements: Measurements, of: str
) -> Counts | Unmeasured:
    """No series of anyone's, though the selector matches some: the labels do not tell whose."""
    counter = measurements.counters[of]
    if counter.empty and counter.stranger is not None:
        why = attribution.why_nobody(counter.stranger, measurements.labels, measurements.attributed)
        return Unmeasured(f"{counter.left_out} series match, but none of a judged side: {why}")
    return measured


def readings(
    measurements: Measurements, owners: Mapping[str, str], deployments: Iterable[str]
) -> dict[str, dict[str, Gauges | Unmeasured]]:
    """By SLI and Deployment, the readings of its pods, or one of all under its own name. `owners`
    maps pods to Deployments."""
    wanted = list(deployments)
    sides = dict(zip(wanted, wanted, strict=True))
    return {
        sli: {
            name: gauges.of_deployment(
                measurements.readings[selector], {**owners, **sides}, name, measurements.shift
            )
            for name in wanted
        }
        for sli, selector in measurements.queries.gauges.items()
    }


def usages(measurements: Measurements) -> dict[str, Usage | Unmeasured]:
    """By SLI, the shares in use."""
    return {
        sli: usage.usage(used, limits, measurements.scrape_interval)
        for sli, (used, limits) in measurements.uses.items()
    }


def beside(measurements: Measurements, sli: str, service: str) -> Ticks | None:
    """The other side's requests of an SLI and a service, tick by tick."""
    asked = measurements.queries.proportions.get(sli)
    if asked is None:
        return None
    of, part, is_good = asked
    return per_scrape.ticks(
        measurements.rises[of],
        measurements.rises[part],
        service,
        part_is_good=is_good,
        interval=measurements.scrape_interval,
    )
