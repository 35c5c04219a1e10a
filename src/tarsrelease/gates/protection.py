"""When all traffic moves to stable at once, before a rollback is proven.

A rollback is final, so it requires proof that also holds against stable's own bursts. Moving
traffic is reversible and costs a healthy canary a few minutes, so it requires less: at least LARGE
times the acceptable share of bad requests, too many for chance, while stable is well. An earlier
incident of stable does not shield a canary: the worst EPISODE of stable's past is left out before
its usual bursts are counted in the canary's favor.

With m bad requests expected at the acceptable share, P(Poisson(m) >= k) is the chance that the k-th
bad request comes so early. Protection requires it to be at most chance / 2^(k-1), for a k of at
least FEW. These parts add up to less than `chance` over the whole stage, however often it is
evaluated.

A side without any ready pod cannot answer at all, so it loses its traffic at once while the other
side has ready pods (`without_pods`).

Bad requests of a healthy canary may come in packs (a client's retries) that are rarer than
anything known of stable, so those that all came at once are not enough (`growth.FIRST`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, log

from tarsrelease.gates.checks.evaluate import subjects
from tarsrelease.gates.checks.inputs import ClusterState, Inputs, Subject
from tarsrelease.gates.stats.bursts import Burstiness, Ticks, burstiness
from tarsrelease.gates.stats.pass_side import log_tail
from tarsrelease.gates.stats.sequential_test import ODDS_ABOVE
from tarsrelease.model.checks import CompareCheck, ProportionCheck
from tarsrelease.model.format import count, percent
from tarsrelease.model.measurement import Counts, Track, Unmeasured
from tarsrelease.model.rollout import Rollout, Stage

LARGE = 10.0
"""Times the acceptable share."""

MOST = 0.5
"""A share that is large in any case."""

FEW = 2
FEW_LATELY = 10
"""The fewest bad requests: since the shift, and in the last evaluations alone."""

WELL = 0.2
"""Stable is well while its share of bad requests is at most this part of the canary's."""

EPISODE = 330.0
"""Seconds of stable's past that are left out, those with the most bad requests: one incident."""

_SPARE = 4.0
"""The chances are upper bounds. Measured (docs/detection.md), a healthy canary is protected a
quarter as often, so the budget is that many times larger."""

_COMPARED = 0.8
"""Comparisons have this part of the budget, because they find smaller regressions than limits."""


@dataclass(frozen=True, slots=True)
class Protection:
    """Why traffic must leave a side now: the check that found it, and for which service.

    `proves`: a second time in one stage is a rollback. Lost pods may have been evicted.
    """

    check: str
    service: str
    reason: str
    expected: str = f"less than {LARGE:g} times the acceptable share of bad requests"
    proves: bool = True


def chances(rollout: Rollout) -> dict[str, float]:
    """By kind, the chance that one check of one service protects needlessly in one stage.

    `statistics.needless_protection` divided over stages, services and checks (see `alpha_budget`).
    """
    stages = [*rollout.stages, *(rollout.stages[-1] for _ in rollout.promotion.weights)]
    numbers = dict.fromkeys(("compare", "proportion"), 0)
    for stage in stages:
        for rule in stage.checks:
            if rule.kind in numbers:
                numbers[rule.kind] += len(subjects(rule, rollout, Track.CANARY))
    parts = {"compare": _COMPARED, "proportion": 1 - _COMPARED}
    if not all(numbers.values()):
        parts = dict.fromkeys(parts, 1.0)
    budget = _SPARE * rollout.statistics.needless_protection
    return {kind: budget * parts[kind] / max(1, number) for kind, number in numbers.items()}


def without_pods(
    rollout: Rollout, cluster: ClusterState | Unmeasured, track: Track
) -> Protection | None:
    """Why traffic must leave the track: a service has no ready pod there, but on the other one."""
    if isinstance(cluster, Unmeasured):
        return None
    for service in rollout.services:
        sides = {Track.STABLE: service.stable.deployment, Track.CANARY: service.canary.deployment}
        ready = {side: _ready(cluster, name) for side, name in sides.items()}
        if ready[track] == 0 and ready[track.other] > 0:
            return Protection(
                "ready pods",
                service.name,
                f"deployment/{sides[track]} has no ready pod, deployment/{sides[track.other]} has "
                f"{ready[track.other]}",
                f"a ready pod of every service on {track}",
                proves=False,
            )
    return None


def _ready(cluster: ClusterState, deployment: str) -> int:
    return sum(pod.ready for pod in cluster.pods_of(deployment))


def protections(
    stage: Stage, rollout: Rollout, inputs: Inputs, chance: Mapping[str, float]
) -> tuple[Protection, ...]:
    """Every reason to move traffic off the canary at once; `chance` is by kind (see `chances`)."""
    found = []
    for rule in stage.checks:
        if not isinstance(rule, (ProportionCheck, CompareCheck)):
            continue
        for subject in subjects(rule, rollout, Track.CANARY):
            reason = protection(rule, subject, inputs, chance[rule.kind])
            if reason is not None:
                found.append(Protection(rule.id, subject.name or "", reason))
    return tuple(found)


def protection(
    rule: ProportionCheck | CompareCheck, subject: Subject, inputs: Inputs, chance: float
) -> str | None:
    """Why this check protects; None if it does not."""
    ours = inputs.counted(rule.sli, subject, subject.track)
    theirs = inputs.counted(rule.sli, subject, subject.other)
    if not isinstance(ours, Counts) or ours.total <= 0 or chance <= 0:
        return None
    if inputs.at_once(rule.sli, subject):
        return None
    if not isinstance(theirs, Counts):
        if isinstance(rule, CompareCheck):
            return None
        theirs = Counts(0.0, 0.0, ours.newest)  # such as at 100 %: stable has no requests
    whole = (ours, theirs)
    for (bad, other), few in (
        (whole, FEW),
        (_lately(rule.sli, subject, inputs, whole), FEW_LATELY),
    ):
        least = rule.tolerated if isinstance(rule, CompareCheck) else rule.bad_limit
        if not _large(bad, least, few, chance) or not _well(bad, other):
            continue
        usual = _usual(rule.sli, subject, inputs, theirs)
        if not _well(bad, usual.newest):
            continue
        acceptable = least
        if isinstance(rule, CompareCheck):
            acceptable = max(least, usual.share)
        if not _large(bad, acceptable, few, chance):
            continue
        packs = max(1.0, usual.packs(ours, inputs.elapsed))
        fewer = replace(bad, bad=bad.bad / packs, total=bad.total / packs)
        if _large(fewer, acceptable, few, chance):
            return (
                f"{bad.bad:.0f} of {count(bad.total, 'request')} bad "
                f"({percent(bad.bad / bad.total)}), at most {percent(acceptable)} expected"
            )
    return None


def _large(counts: Counts, acceptable: float, few: int, chance: float) -> bool:
    bad, total = int(counts.bad + 1e-9), counts.total
    if bad < few or counts.bad < min(LARGE * acceptable, MOST) * total:
        return False
    return log_tail(bad, total * acceptable) <= log(chance) - (bad - 1) * log(2)


def _well(ours: Counts, theirs: Counts) -> bool:
    return theirs.bad * ours.total <= WELL * ours.bad * theirs.total


def _lately(
    sli: str, subject: Subject, inputs: Inputs, whole: tuple[Counts, Counts]
) -> tuple[Counts, Counts]:
    """Both sides since the moment before the last one that is remembered."""
    sides = []
    for track, counts in zip((subject.track, subject.other), whole, strict=True):
        moments = inputs.starts.get((sli, subject.name or "", track), ())
        bad, total = moments[-2] if len(moments) > 1 else (counts.bad, counts.total)
        sides.append(replace(counts, bad=max(0.0, counts.bad - bad), total=counts.total - total))
    return sides[0], sides[1]


@dataclass(frozen=True, slots=True)
class _Usual:
    """Stable on most days: its share of bad requests, and how they come together.

    `newest` are the requests of each pod's newest tick, which may lie before the shift.
    """

    share: float
    calm: tuple[Burstiness, ...]
    newest: Counts

    def packs(self, ours: Counts, elapsed: float) -> float:
        """How many bad requests come at a time, about; `ours` are all since the shift."""
        rate = ours.total / max(elapsed, 1.0)
        return max((each.at(rate)(LARGE) for each in self.calm), default=1.0)


def _usual(sli: str, subject: Subject, inputs: Inputs, theirs: Counts) -> _Usual:
    bad, total, calm = theirs.bad, theirs.total, []
    newest = replace(theirs, bad=0.0, total=0.0)
    for known in inputs.bursts(sli, subject.name or ""):
        if known.ticks is None:
            continue
        if newest.total <= 0:  # the first one known is the latest
            last = [pod[-1] for pod in known.ticks.by_pod.values() if pod]
            newest = replace(newest, bad=sum(b for b, _ in last), total=sum(n for _, n in last))
        rest, its = _calm(known.ticks)
        kept = [each for pod in rest.by_pod.values() for each in pod]
        if (requests := sum(n for _, n in kept)) > total:
            bad, total = sum(b for b, _ in kept), requests
        if its is not None:
            calm.append(its)
    return _Usual(bad / total if total > 0 else 0.0, tuple(calm), newest)


@lru_cache(maxsize=256)
def _calm(ticks: Ticks) -> tuple[Ticks, Burstiness | None]:
    rest = without_worst(ticks)
    return rest, burstiness(rest)


def prepare(past: Burstiness) -> None:
    """Compute beforehand what evaluations need of a long past: some tenths of a second, in which a
    canary that fails would keep its traffic."""
    for odds in ODDS_ABOVE:
        past.at(1.0)(odds)
    if past.ticks is not None and (calm := _calm(past.ticks)[1]) is not None:
        calm.at(1.0)(LARGE)


def without_worst(ticks: Ticks) -> Ticks:
    """The ticks without the EPISODE that had the most bad requests. Pods end together."""
    length = max(1, round(EPISODE / ticks.interval))
    most = max(map(len, ticks.by_pod.values()), default=0)
    bad = [0.0] * most  # counted back from the newest
    for pod in ticks.by_pod.values():
        for back, (found, _) in enumerate(reversed(pod)):
            bad[back] += found
    worst, first, running = -inf, 0, 0.0
    for back, found in enumerate(bad):
        running += found - (bad[back - length] if back >= length else 0.0)
        if running > worst:
            worst, first = running, back - length + 1
    if worst <= 0:
        return ticks
    return Ticks(
        ticks.interval,
        {
            name: [
                each
                for back, each in zip(range(len(pod) - 1, -1, -1), pod, strict=True)
                if not first <= back < first + length
            ]
            for name, pod in ticks.by_pod.items()
        },
    )
