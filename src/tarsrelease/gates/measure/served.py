"""Who served how many requests after a moment: for proofs, not for gates.

Counted between the first and the last sample after the moment, so that nothing from before it
counts, whatever a scrape in between has caught. Two samples are needed to say anything. A counter
that is collected several times (`counting.several`) counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tarsrelease.gates.measure.attribution import Known, whose
from tarsrelease.gates.measure.counter_reset import rise
from tarsrelease.gates.measure.counting import SeriesId, origin, rise_together
from tarsrelease.model.measurement import Series, Track
from tarsrelease.model.rollout import MetricLabels
from tarsrelease.model.versions import same_version


@dataclass(frozen=True, slots=True)
class Server:
    """One side of one service at one version."""

    service: str
    track: Track
    version: str


@dataclass(frozen=True, slots=True)
class Served:
    """Requests by server; `scrapes` is the least number of samples that any of its pods has.

    Pods that are not scraped any more have no say in it.
    """

    requests: Mapping[Server, float] = field(default_factory=dict)
    scrapes: Mapping[Server, int] = field(default_factory=dict)

    def total(
        self, service: str, *, track: Track | None = None, version: str | None = None
    ) -> float:
        """Requests of one service, of one side or version where given."""
        return sum(
            requests
            for server, requests in self.requests.items()
            if server.service == service
            and (track is None or server.track is track)
            and (version is None or same_version(server.version, version))
        )


def increase(series: Series, since: float) -> tuple[float, int]:
    """What a counter gained between its samples after `since` (Unix time), and their number."""
    after = sorted((s for s in series.samples if s.time >= since), key=lambda sample: sample.time)
    gained = 0.0
    for before, now in pairwise(after):
        gained += rise(before.value, now.value)
    return gained, len(after)


def served(
    found: Sequence[Series],
    labels: MetricLabels,
    since: float,
    scrape_interval: float,
    known: Known | None = None,
) -> Served:
    """Requests since a moment, by service, side and version; other series are left out.

    Where neither pod nor labels tell the version, it is that of the side's Deployment.
    """
    beside = known or Known()
    newest = max((series.samples[-1].time for series in found if series.samples), default=0.0)
    counters: dict[tuple[Server, str, SeriesId], list[Series]] = {}
    for series in found:
        its = whose(series.labels, labels, beside)
        if its is None:
            continue
        version = its.version
        if version is None:
            version = beside.pods.versions.get(its.key, "")
        one = (Server(*its.key, version), its.target, origin(series.labels))
        counters.setdefault(one, []).append(series)
    requests: dict[Server, float] = {}
    scrapes: dict[Server, int] = {}
    for (server, _, _), collected in counters.items():
        for once in _counted_once(collected):
            gained, samples = max(increase(series, since) for series in once)
            if not samples:
                continue
            requests[server] = requests.get(server, 0.0) + gained
            if once[-1].samples[-1].time >= newest - 1.5 * scrape_interval:
                scrapes[server] = min(scrapes.get(server, samples), samples)
    return Served(requests=requests, scrapes=scrapes)


def _counted_once(collected: Sequence[Series]) -> list[list[Series]]:
    """Series of one target and the same labels of its own: together, if they are one counter."""
    known = [series for series in collected if series.samples]
    if len(known) > 1 and not rise_together([series.samples for series in known]):
        return [[series] for series in known]
    newest = sorted(known, key=lambda series: series.samples[-1].time)
    return [newest] if newest else []
