"""Stable's recorded requests, slot by slot, gathered from chunks of recorded samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tarsrelease.gates.measure import attribution, per_scrape, queries, vocabulary
from tarsrelease.gates.measure.attribution import Known
from tarsrelease.gates.measure.per_scrape import Rises
from tarsrelease.gates.stats.bursts import Burstiness, Ticks, burstiness
from tarsrelease.model.measurement import Series, Track
from tarsrelease.model.rollout import MetricLabels, Rollout


def selectors_of(rollout: Rollout, namespace: str) -> dict[str, tuple[str, str, bool]]:
    """By SLI of requests: the selector of all, of the bad or good ones, and whether it is good.

    Of any version: the past had others.
    """
    found: dict[str, tuple[str, str, bool]] = {}
    for stage in rollout.stages:
        found |= queries.queries_of(stage, rollout, namespace, [""]).proportions
    return found


@dataclass(frozen=True, slots=True)
class Recording:
    """What was gathered so far, of stable, by selector. A slot is `slot` seconds."""

    slot: float
    rises: Mapping[str, Rises]

    @property
    def selectors(self) -> tuple[str, ...]:
        """In the order in which `more` takes their answers."""
        return tuple(self.rises)

    @property
    def asked(self) -> tuple[str, ...]:
        """The same as they are sent: a bucket's bound in every spelling."""
        return tuple(map(vocabulary.as_sent, self.rises))


def start(selectors: Iterable[str], slot: float) -> Recording:
    """A recording of nothing yet."""
    return Recording(slot, {selector: Rises() for selector in selectors})


def more(
    recording: Recording,
    answers: Sequence[Sequence[Series]],
    labels: MetricLabels,
    known: Known | None = None,
) -> Recording:
    """With the samples of one more chunk, later than those before."""
    owner_of = attribution.owners(labels, {}, known)
    return Recording(
        recording.slot,
        {
            selector: per_scrape.gather(
                rises,
                series,
                owner_of,
                Track.STABLE,
                recording.slot,
                vocabulary.path_labels(selector),
            )
            for (selector, rises), series in zip(recording.rises.items(), answers, strict=True)
        },
    )


Past = Callable[[str, str], Burstiness | None]
"""From an SLI and a service to how its errors came on stable in the past; None: not known."""


def nothing_known(_sli: str, _service: str) -> Burstiness | None:
    """No past was read."""
    return None


def past_of(recording: Recording, asked: Mapping[str, tuple[str, str, bool]]) -> Past:
    """What a recording tells. It takes some tenths of a second, once for what is asked for."""

    @cache
    def told(sli: str, service: str) -> Burstiness | None:
        found = of_service(recording, asked[sli], service) if sli in asked else None
        return None if found is None else burstiness(found)

    return told


def of_service(recording: Recording, asked: tuple[str, str, bool], service: str) -> Ticks | None:
    """One SLI of one service, pod by pod; None where nothing is recorded."""
    of, part, is_good = asked
    return per_scrape.ticks(
        recording.rises[of],
        recording.rises[part],
        service,
        part_is_good=is_good,
        interval=recording.slot,
    )


def whole(
    recording: Recording, asked: tuple[str, str, bool], service: str, first: int, last: int
) -> list[tuple[float, float]]:
    """Bad and all requests of a service over all its pods, for slots `first` to `last`.

    Slots in which nothing was recorded are zero: no request, or no scrape.
    """
    of, part, is_good = asked
    totals, others = (_over_pods(recording.rises[selector], service) for selector in (of, part))
    found = []
    for slot in range(first, last + 1):
        total = totals.get(slot, 0.0)
        other = min(others.get(slot, 0.0), total)
        found.append((total - other if is_good else other, total))
    return found


def _over_pods(rises: Rises, service: str) -> dict[int, float]:
    found: dict[int, float] = {}
    for (name, _pod), slots in rises.slots.items():
        if name == service:
            for slot, rise in slots.items():
                found[slot] = found.get(slot, 0.0) + rise
    return found
