"""From counters to the counts that checks judge: whose series is whose, and up to when.

The queries of one look see slightly different moments: one may hold a scrape that another does
not have yet. With `good` requests subtracted from all of them that would invent bad ones. So the
counts of a target are cut at the newest scrape that all of an SLI's selectors have; a selector
without any series of the target cannot hold a scrape back for longer than one look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf

from tarsrelease.gates.measure.counting import Counter, Owner, OwnerOf
from tarsrelease.model.measurement import Counts, Key, Track, Unmeasured
from tarsrelease.model.rollout import MetricLabels


def owners(labels: MetricLabels, versions: Mapping[Track, str | None]) -> OwnerOf:
    """Tells whose a series is by its labels; None for another version than its side's.

    `versions` gives each side's version; None takes any. A leading v is ignored. A series without
    a pod label is told apart by its `instance`.
    """

    def owner_of(found: Mapping[str, str]) -> Owner | None:
        try:
            track = Track(found.get(labels.track, ""))
        except ValueError:
            return None
        wanted = versions.get(track)
        version = found.get(labels.version, "")
        if wanted is not None and version.removeprefix("v") != wanted.removeprefix("v"):
            return None
        target = found.get(labels.pod) or found.get("instance", "")
        return Owner((found.get(labels.service, ""), track), target)

    return owner_of


def requests(counter: Counter, key: Key) -> float:
    """All requests of one service and side since the shift."""
    return sum(line.increase() for line in counter.lines.values() if line.owner.key == key)


def proportion(
    of: Counter, part: Counter, *, part_is_good: bool, alive: frozenset[str] | None = None
) -> Callable[[Key], Counts | Unmeasured]:
    """Counts of bad requests among all, per (service, track).

    `alive` are the pods that should be scraped: `newest` is then the oldest among their newest
    samples, so that a pod which is not scraped any more makes the counts old. Without it (None),
    or where none of them was scraped yet, `newest` is the newest of all.
    """
    horizons = {target: _horizon(of, part, target) for target in of.newest}
    totals, others = _totals(of, horizons), _totals(part, horizons)
    targets = _targets(of)
    bad_unknown = part_is_good and part.empty and not of.empty

    def of_key(key: Key) -> Counts | Unmeasured:
        if bad_unknown:
            return Unmeasured("the selector of good requests matches no series of either side")
        total, other = totals.get(key, 0.0), others.get(key, 0.0)
        bad = total - other if part_is_good else other
        return Counts(
            bad=min(max(bad, 0.0), total),
            total=total,
            newest=_newest(targets.get(key, set()), horizons, alive),
        )

    return of_key


def _horizon(of: Counter, part: Counter, target: str) -> float:
    shared = min(of.newest[target], part.newest.get(target, -inf))
    return max(shared, of.settled.get(target, -inf))


def _totals(counter: Counter, horizons: Mapping[str, float]) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for line in counter.lines.values():
        gained = line.increase(horizons.get(line.owner.target, -inf))
        found[line.owner.key] = found.get(line.owner.key, 0.0) + gained
    return found


def _targets(counter: Counter) -> dict[Key, set[str]]:
    found: dict[Key, set[str]] = {}
    for line in counter.lines.values():
        found.setdefault(line.owner.key, set()).add(line.owner.target)
    return found


def _newest(
    targets: set[str], horizons: Mapping[str, float], alive: frozenset[str] | None
) -> float | None:
    times = {target: horizons[target] for target in targets if horizons[target] > -inf}
    if alive is not None and (living := targets & alive & times.keys()):
        return min(times[target] for target in living)
    return max(times.values(), default=None)


def targets_of(counters: Iterable[Counter], track: Track) -> dict[str, float]:
    """The newest sample time of each target of a side, over all counters."""
    found: dict[str, float] = {}
    for counter in counters:
        for line in counter.lines.values():
            if line.owner.key[1] is track:
                target = line.owner.target
                found[target] = max(counter.newest[target], found.get(target, -inf))
    return found
