"""From counters to the counts that checks judge: whose series is whose, and up to when.

The queries of one evaluation see slightly different moments: one may hold a scrape that another
does not have yet. With `good` requests subtracted from all of them that would invent bad ones. So
the counts of a target are cut at the newest scrape that all of an SLI's selectors have; a selector
without any series of the target cannot hold a scrape back for longer than one evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from tarsrelease.gates.measure.counting import Counter, Line, Owner, OwnerOf, gained, several
from tarsrelease.gates.measure.pod_owners import PodOwners, pod_owners
from tarsrelease.gates.measure.side_values import SideValues, side_values
from tarsrelease.model.format import names
from tarsrelease.model.measurement import Counts, Key, Track, Unmeasured
from tarsrelease.model.rollout import MetricLabels, Rollout
from tarsrelease.model.versions import same_version


@dataclass(frozen=True, slots=True)
class Known:
    """What tells whose a series is, beside its labels.

    `sides` says by metric which label's value stands for which side ("": of all other metrics).
    """

    pods: PodOwners = field(default_factory=PodOwners)
    sides: Mapping[str, SideValues] = field(default_factory=dict)

    def sides_of(self, labels: Mapping[str, str]) -> SideValues | None:
        """How the sides of a series are told by a label's value; None where they are not."""
        return self.sides.get(labels.get("__name__", "")) or self.sides.get("")


class Whose(NamedTuple):
    """A series' service and side, its version (None: nothing tells it) and its target."""

    key: Key
    version: str | None
    target: str


def known(rollout: Rollout, namespace: str) -> Known:
    """What rollout.yaml says, before any pod was seen."""
    return Known(pod_owners(rollout), side_values(rollout, namespace))


def whose(found: Mapping[str, str], labels: MetricLabels, known: Known) -> Whose | None:
    """Whose a series is: by `sides` where they are given, else by its pod, else by its labels."""
    target = found.get(labels.pod) or found.get("instance", "")
    sides = known.sides_of(found)
    if sides is not None:
        key = sides.key_of(found)
        return None if key is None else Whose(key, None, target)
    pod = known.pods.of(found.get(labels.pod, ""), found.get("instance", ""))
    if pod is not None:
        return Whose(pod.key, pod.version or found.get(labels.version) or None, pod.pod)
    try:
        track = Track(found.get(labels.track, ""))
    except ValueError:
        return None
    return Whose((found.get(labels.service, ""), track), found.get(labels.version, ""), target)


def owners(
    labels: MetricLabels, versions: Mapping[Track, str | None], known: Known | None = None
) -> OwnerOf:
    """Tells whose a series is; None for another version than its side's.

    `versions` gives each side's version; None takes any. A leading v is ignored. A series without
    a pod label is told apart by its `instance`.
    """
    beside = known or Known()

    def owner_of(found: Mapping[str, str]) -> Owner | None:
        its = whose(found, labels, beside)
        if its is None or not _runs(its.version, versions.get(its.key[1])):
            return None
        return Owner(its.key, its.target)

    return owner_of


def _runs(version: str | None, wanted: str | None) -> bool:
    if version is None or wanted is None:
        return True
    return same_version(version, wanted)


def reading_of(found: Mapping[str, str], labels: MetricLabels, known: Known) -> str:
    """Whose reading of a gauge a series is: a pod's name, or that of the Deployment of a whole side
    where `sides` tell it; "" for nobody's.

    `sides` of the SLI come before the pod, those of all metrics after it: a mesh's metrics have the
    pod that sent the request.
    """
    own = known.sides.get(found.get("__name__", ""))
    if own is not None:
        return own.deployment_of(found)
    pod = found.get(labels.pod, "")
    owner = known.pods.of(pod, found.get("instance", ""))
    if owner is not None:
        return owner.pod
    common = known.sides.get("")
    side = common.deployment_of(found) if common is not None else ""
    return side or pod


def why_nobody(found: Mapping[str, str], labels: MetricLabels, known: Known) -> str:
    """Why a series belongs to no side that is judged: which label is missing, or which version."""
    own = ",".join(f'{name}="{text}"' for name, text in sorted(found.items()) if name != "__name__")
    series = f"{found.get('__name__', '')}{{{own}}}"
    its, sides = whose(found, labels, known), known.sides_of(found)
    if its is not None and not its.version:
        return f"{series} has no label {labels.version}, and its pod is not known"
    if its is not None:
        return f"{series} is of version {its.version}, which is not judged"
    if sides is not None:
        has = f"has {sides.label}={found[sides.label]}" if sides.label in found else "has no label"
        return f"{series} {has}, where `sides` expects {sides.expected}"
    pod = found.get(labels.pod)
    if pod is None:
        return (
            f"{series} has no label {labels.pod}, and neither {labels.track}=canary|stable; name "
            "the label of the pod (labels.pod) or one that tells the sides apart (sides)"
        )
    deployments = names(sorted(known.pods.deployments))
    return f"{series} is of a pod of no Deployment of this release ({deployments})"


def requests(counter: Counter, key: Key) -> float:
    """All requests of one service and side since the shift."""
    return sum(gained(lines) for lines in several(counter) if lines[0].owner.key == key)


def proportion(
    of: Counter, part: Counter, *, part_is_good: bool, alive: frozenset[str] | None = None
) -> Callable[[Key], Counts | Unmeasured]:
    """Counts of bad requests among all, per (service, track).

    `alive` are the pods that should be scraped: `newest` is then the oldest among their newest
    samples, so that a pod which is not scraped any more makes the counts old. Without it (None),
    or where none of them was scraped yet, `newest` is the newest of all.
    """
    horizons = {target: _horizon(of, part, target) for target in of.newest}
    all_of_them, some = several(of), several(part)
    totals, others = _totals(all_of_them, horizons), _totals(some, horizons)
    targets = _targets(of)
    bad_unknown = part_is_good and part.empty and not of.empty
    troubles = _troubles((*all_of_them, *some))

    def of_key(key: Key) -> Counts | Unmeasured:
        if bad_unknown:
            return Unmeasured("the selector of good requests matches no series of either side")
        if key in troubles:
            return Unmeasured(troubles[key])
        total, other = totals.get(key, 0.0), others.get(key, 0.0)
        if (why := excess(total, other, part_is_good=part_is_good)) is not None:
            return Unmeasured(why)
        bad = total - other if part_is_good else other
        return Counts(
            bad=min(max(bad, 0.0), total),
            total=total,
            newest=_newest(targets.get(key, set()), horizons, alive),
        )

    return of_key


def excess(total: float, other: float, *, part_is_good: bool) -> str | None:
    """Why a part that is larger than the whole is none; a scrape that one of both lacks is none."""
    if other <= 1.05 * total + 10:
        return None
    kind = "good" if part_is_good else "bad"
    return (
        f"the selector of {kind} requests counts {other:.0f} and that of all requests {total:.0f}: "
        "it selects others, too, or requests several times"
    )


def _horizon(of: Counter, part: Counter, target: str) -> float:
    shared = min(of.newest[target], part.newest.get(target, -inf))
    return max(shared, of.settled.get(target, -inf))


def _totals(counters: Iterable[list[Line]], horizons: Mapping[str, float]) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for lines in counters:
        owner = lines[0].owner
        more = gained(lines, horizons.get(owner.target, -inf))
        found[owner.key] = found.get(owner.key, 0.0) + more
    return found


def _troubles(counters: Iterable[list[Line]]) -> dict[Key, str]:
    """By (service, side), why one of its series counts no requests."""
    found: dict[Key, str] = {}
    for lines in counters:
        for line in lines:
            if (trouble := line.trouble) is not None:
                which = f"of {line.owner.target} " if line.owner.target else ""
                found.setdefault(line.owner.key, f"a series {which}{trouble}")
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
