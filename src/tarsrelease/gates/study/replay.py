"""Playing a stage's checks on recorded traffic: stable's own requests as the canary's.

Of each slot's recorded requests a random part, as large as the stage's weight, goes to a canary
(bad and good ones alike, so bursts stay where they were), the rest to stable. A regression makes
its bad requests k times as many, or its good ones slow (slower_canary.py). Every look is judged by
the very checks and the very verdict that a release would meet; what of a stage looks at pods,
gauges, staging or people is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from random import Random

from tarsrelease.gates.checks.evaluate import evaluate
from tarsrelease.gates.checks.inputs import Inputs, Patience
from tarsrelease.gates.stats.bursts import Burstiness, Ticks, burstiness
from tarsrelease.gates.verdict import decide
from tarsrelease.model.checks import CompareCheck, DriftCheck, ProportionCheck
from tarsrelease.model.measurement import Counts, Key, Track, Unmeasured
from tarsrelease.model.outcome import Verdict
from tarsrelease.model.rollout import Rollout, Stage

Slots = Sequence[tuple[float, float]]
"""Bad requests and all requests, one entry a slot."""

Past = Mapping[tuple[str, str], Slots]
"""By (SLI, service); all of the same length."""

Harm = Callable[[tuple[str, str], int, float, float, Random], float]
"""From an (SLI, service), a slot, and the canary's bad and good requests in it, to how many of
them are bad in a release that is worse."""

BEFORE = 300.0
"""Seconds before the shift from which a gate's looks tell how bursty errors are."""
LONGER = 1440
"""Slots before those, from which a gate tells it once."""


Replayable = ProportionCheck | CompareCheck | DriftCheck
"""The rules that a recording of stable's requests can answer."""


def replayed(stage: Stage) -> Stage | None:
    """The stage with its checks on requests only; None where it has none."""
    rules = tuple(rule for rule in stage.checks if isinstance(rule, Replayable))
    return stage.model_copy(update={"checks": rules}) if rules else None


def not_replayed(rollout: Rollout) -> tuple[str, ...]:
    """Ids of the checks that are left out."""
    rules = (rule for stage in rollout.stages for rule in stage.checks)
    return tuple(sorted({rule.id for rule in rules if not isinstance(rule, Replayable)}))


@dataclass(frozen=True, slots=True)
class Played:
    """How one replay ended, and after how many seconds."""

    verdict: Verdict
    seconds: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """A rollout's recorded requests, in slots of `slot` seconds."""

    rollout: Rollout
    past: Past
    slot: float


def play(
    stage: Stage,
    recorded: Recorded,
    shift: int,
    patience: Patience,
    random: Random,
    *,
    harm: Harm,
) -> Played:
    """One stage (see `replayed`) from slot number `shift` on, looked at after every slot.

    `harm` says what the canary makes of its requests. The recording must reach to the end of the
    stage and its extension.
    """
    rollout, past, slot = recorded.rollout, recorded.past, recorded.slot
    weight = stage.weight / 100
    canary = dict.fromkeys(past, (0.0, 0.0))
    stable = dict.fromkeys(past, (0.0, 0.0))
    beside: dict[tuple[str, str], list[tuple[float, float]]] = {
        key: list(slots[max(0, shift - round(BEFORE / slot)) : shift])
        for key, slots in past.items()
    }

    @cache
    def long_before(sli: str, service: str) -> Burstiness | None:
        until = max(0, shift - round(BEFORE / slot))
        slots = past[sli, service][max(0, until - LONGER) : until]
        return burstiness(Ticks(slot, {"all": slots}))

    def known(sli: str, service: str) -> list[Burstiness]:
        lately = burstiness(Ticks(slot, {"all": beside[sli, service]}))
        return [each for each in (lately, long_before(sli, service)) if each is not None]

    last = round((stage.duration + stage.max_extension) / slot)
    for look in range(1, last + 2):
        for key, slots in past.items():
            slot_number = min(shift + look - 1, len(slots) - 1)
            bad, total = slots[slot_number]
            ours_bad, ours_good = thinned(bad, total, weight, random)
            theirs = (bad - ours_bad, total - ours_bad - ours_good)
            harmed = harm(key, slot_number, ours_bad, ours_good, random)
            canary[key] = _add(canary[key], (harmed, ours_bad + ours_good))
            stable[key] = _add(stable[key], theirs)
            beside[key].append(theirs)
        elapsed = look * slot
        inputs = Inputs(
            counts=_counts(canary, stable, elapsed),
            gauges={},
            cluster=Unmeasured("pods are not replayed"),
            sources={},
            now=elapsed,
            elapsed=elapsed,
            bursts=known,
        )
        checks = evaluate(stage, rollout, Track.CANARY, inputs, patience)
        verdict = decide(checks, stage, elapsed, outage_limit=float("inf"))
        if verdict is not None:
            return Played(verdict, elapsed)
    return Played(Verdict.HOLD, last * slot)


def _add(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return one[0] + other[0], one[1] + other[1]


def _counts(
    canary: Mapping[tuple[str, str], tuple[float, float]],
    stable: Mapping[tuple[str, str], tuple[float, float]],
    now: float,
) -> dict[str, dict[Key, Counts | Unmeasured]]:
    found: dict[str, dict[Key, Counts | Unmeasured]] = {}
    for track, side in ((Track.CANARY, canary), (Track.STABLE, stable)):
        for (sli, service), (bad, total) in side.items():
            found.setdefault(sli, {})[service, track] = Counts(bad, total, now)
    return found


def thinned(bad: float, total: float, share: float, random: Random) -> tuple[float, float]:
    """Bad and good requests of a random part of a slot's."""
    return (
        binomial(random, round(bad), share),
        binomial(random, max(0, round(total) - round(bad)), share),
    )


def unharmed(_key: tuple[str, str], _slot: int, bad: float, _good: float, _random: Random) -> float:
    """A canary just like stable."""
    return bad


def more_errors(times: float, of: Collection[str]) -> Harm:
    """`times` as many bad requests in each of these SLIs; the total stays."""
    whole, rest = divmod(times, 1.0)

    def harm(key: tuple[str, str], _slot: int, bad: float, good: float, random: Random) -> float:
        if key[0] not in of:
            return bad
        return min(whole * bad + binomial(random, round(bad), rest), bad + good)

    return harm


def fewer_fast(kept: Mapping[tuple[str, str], Sequence[float]]) -> Harm:
    """Of the good requests of each slot only this share stays good (see `latency.kept`)."""

    def harm(key: tuple[str, str], slot: int, bad: float, good: float, random: Random) -> float:
        if key not in kept:
            return bad
        return bad + good - binomial(random, round(good), kept[key][slot])

    return harm


def binomial(random: Random, number: int, chance: float) -> int:
    """How many of `number` independent trials with this chance succeed.

    Large numbers are halved at the median order statistic, which is beta distributed (Relles,
    "A simple algorithm for generating binomial random variables when N is large", 1972).
    """
    found = 0
    while number > 40 and 0 < chance < 1:
        at = number // 2 + 1
        cut = random.betavariate(at, number + 1 - at)
        if cut <= chance:
            found, number, chance = found + at, number - at, (chance - cut) / (1 - cut)
        else:
            number, chance = at - 1, chance / cut
    if chance >= 1:
        return found + number
    return found + (sum(random.random() < chance for _ in range(number)) if chance > 0 else 0)


def interval(found: int, among: int, z: float = 1.96) -> tuple[float, float]:
    """A 95 % interval for the chance behind `found` of `among` (Wilson's score, 1927)."""
    if among <= 0:
        return 0.0, 1.0
    share, square = found / among, z * z / among
    middle = (share + square / 2) / (1 + square)
    half = z * sqrt(share * (1 - share) / among + square / (4 * among)) / (1 + square)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return (0.0 if found == 0 else low), (1.0 if found == among else high)
