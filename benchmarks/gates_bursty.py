"""Healthy releases whose errors come in bursts, many at once: rolled back, or protected needlessly.

What stable had in the longer past comes from a pool of HISTORIES for each kind, rate and traffic,
which the releases share, because measuring its bursts takes most of the time. The stages are drawn
with numpy. A first pass applies the checks' formulas with the correction of that past alone; the
real functions, which correct by the stage's own bursts too, decide where it could fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from law_world import (
    ALPHA,
    HISTORY,
    KINDS,
    LOOKS,
    MOMENTS,
    PAST,
    PATIENCE,
    PODS,
    SERVICES,
    SUBJECT,
    TICK,
    WEIGHTS,
    Array,
    Bursts,
    Side,
    errors,
    incidents,
    inputs,
    rules,
)
from numpy.typing import NDArray
from scipy.stats import poisson

from tarsrelease.gates.checks import JUDGES
from tarsrelease.gates.protection import (
    FEW,
    LARGE,
    MOST,
    protection,
    without_worst,
)
from tarsrelease.gates.stats.bursts import Burstiness, burstiness
from tarsrelease.gates.stats.growth import FIRST
from tarsrelease.gates.stats.late_change import STARTS
from tarsrelease.gates.stats.sequential_test import ODDS_ABOVE
from tarsrelease.model.checks import CheckRule, CompareCheck, DriftCheck, ProportionCheck
from tarsrelease.model.outcome import Status

HISTORIES = 24
"""Pasts of stable for each kind, rate and traffic."""
AT_ONCE = 250
"""Releases that are drawn together."""
_LATE = 0.1
_NEEDS = -np.log(ALPHA)


@dataclass(frozen=True)
class Past:
    """One past of stable, how bursty it was, and how bursty without its worst episode."""

    bad: Array
    total: Array

    @cached_property
    def known(self) -> Burstiness | None:
        return burstiness(Side(self.bad, self.total).ticks(0, PAST))

    @cached_property
    def usual(self) -> Burstiness | None:
        return burstiness(without_worst(Side(self.bad, self.total).ticks(0, PAST)))

    def spreads(self, known: Burstiness | None, factors: tuple[float, ...]) -> tuple[float, ...]:
        """A pod's requests per tick; then `together`, then `alone` of each factor."""
        if known is None:
            return (1.0, *(1.0 for _ in factors), *(1.0 for _ in factors))
        together, alone = (map(each, factors) for each in (known.together, known.alone))
        return (known.per_tick, *together, *alone)


def shares(rng: np.random.Generator, rows: int, ticks: int, rate: float, bursts: Bursts) -> Array:
    """The share of errors in each tick of each service."""
    if not bursts.shared:
        return np.full((rows, ticks), rate)
    return np.stack([incidents(rng, ticks, bursts.shared, rate) for _ in range(rows)])


def pasts(rng: np.random.Generator, per_tick: float, rate: float, bursts: Bursts) -> list[Past]:
    """The pool."""
    chance = shares(rng, HISTORIES, PAST, rate, bursts)[:, None, :]
    shape = (HISTORIES, PODS, PAST)
    total = rng.poisson(per_tick / PODS, shape).astype(float)
    bad = errors(rng, total, np.broadcast_to(chance, shape), bursts)
    return [Past(*pair) for pair in zip(bad, total, strict=True)]


@dataclass(frozen=True)
class Stage:
    """One stage of many services: bad and all requests, services x pods x ticks of both sides.

    The first HISTORY ticks are before the shift. `past` says which one each service has.
    """

    pool: list[Past]
    past: NDArray[np.intp]
    ours: tuple[Array, Array]
    theirs: tuple[Array, Array]

    @classmethod
    def drawn(
        cls,
        rng: np.random.Generator,
        pool: list[Past],
        past: NDArray[np.intp],
        traffic: tuple[float, float, float],
        rate: float,
        bursts: Bursts,
    ) -> Stage:
        """`traffic`: requests per tick of both sides, the weight before, and the weight."""
        per_tick, before, weight = traffic
        rows, ticks = len(past), HISTORY + LOOKS
        chance = shares(rng, rows, ticks, rate, bursts)[:, None, :]
        share = np.concatenate([np.full(HISTORY, before), np.full(LOOKS, weight)])
        ours = rng.poisson(np.broadcast_to(per_tick * share, (rows, 1, ticks))).astype(float)
        less = np.broadcast_to(per_tick * (1 - share) / PODS, (rows, PODS, ticks))
        theirs = rng.poisson(less).astype(float)
        return cls(
            pool,
            past,
            (errors(rng, ours, chance, bursts), ours),
            (errors(rng, theirs, np.broadcast_to(chance, theirs.shape), bursts), theirs),
        )

    @cached_property
    def counted(self) -> tuple[Array, Array, Array, Array]:
        """Ours (bad, all) and theirs since the shift, services x LOOKS."""
        found = [
            part[:, :, HISTORY:].sum(axis=1).cumsum(axis=1) for part in (*self.ours, *self.theirs)
        ]
        return found[0], found[1], found[2], found[3]

    def spread(self, table: Array, number: int) -> Iterator[Array]:
        """Of `number` factors, the spread by the past: services x LOOKS each."""
        total = self.counted[1]
        per_pod, together, alone = (
            table[self.past, :1],
            table[self.past, 1 : 1 + number],
            table[self.past, 1 + number :],
        )
        rate = total / np.maximum(TICK * np.arange(1, LOOKS + 1), 1.0)
        ratio = rate * TICK / per_pod
        for at in range(number):
            all_pods = ratio * (together[:, at, None] - 1.0)
            one_pod = np.maximum(1.0, ratio) * (alone[:, at, None] - 1.0)
            yield 1.0 + np.maximum(all_pods, one_pod)

    def sides(self, row: int) -> tuple[Side, Side]:
        """One service, with its past."""
        past = self.pool[self.past[row]]
        nothing = np.zeros((1, PAST))
        ours = Side(*(np.hstack([nothing, part[row]]) for part in self.ours))
        earlier = (past.bad, past.total)
        theirs = Side(*(np.hstack([a, b[row]]) for a, b in zip(earlier, self.theirs, strict=True)))
        theirs.__dict__["past"] = past.known
        return ours, theirs


def _mixture(logs: Iterator[Array] | list[Array]) -> Array:
    each = np.stack(list(logs))
    highest = each.max(axis=0)
    return np.asarray(highest + np.log(np.exp(each - highest).mean(axis=0)))


def _above(bad: Array, total: Array, limit: Array | float, spreads: list[Array]) -> Array:
    return _mixture(
        (bad * np.log(f) - total * np.log1p(limit * (f - 1))) / phi
        for f, phi in zip(ODDS_ABOVE, spreads, strict=True)
    )


def beyond(rule: CheckRule, stage: Stage, spreads: list[Array]) -> NDArray[np.bool_]:
    """Whether the rule could fail with these spreads: services x LOOKS."""
    bad, total, other, others = stage.counted
    if isinstance(rule, ProportionCheck):
        limit = rule.bad_limit
        least = np.minimum.reduce([np.broadcast_to(phi, bad.shape) for phi in spreads])
        rows = _promising(bad, total, limit, least)
        none = np.zeros(bad.shape, dtype=bool)
        if not rows.any():
            return none
        none[rows] = _beyond_a_limit(
            bad[rows],
            total[rows],
            limit,
            [np.broadcast_to(phi, bad.shape)[rows] for phi in spreads],
        )
        return none
    able = (total > 0) & (others > 0)
    if isinstance(rule, DriftCheck):
        limit = np.where(able, other / np.maximum(others, 1), 0.5)
        limit = np.clip(limit + rule.within * (1 - limit), 1e-9, 1 - 1e-9)
        return np.asarray(able & (_above(bad, total, limit, spreads) >= _NEEDS))
    assert isinstance(rule, CompareCheck)
    weighed = (1 + rule.worse_by) * total
    exposed = np.where(able, weighed / np.maximum(weighed + others, 1e-9), 0.5)
    exposed = np.clip(exposed, 1e-9, 1 - 1e-9)
    widest = [np.maximum.reduce(spreads)] * len(ODDS_ABOVE)
    worse = _above(bad, bad + other, exposed, widest)
    tolerated = _above(bad, total, rule.tolerated, spreads)
    return np.asarray(able & (worse >= _NEEDS) & (tolerated >= _NEEDS))


def _largest_ratio(bad: Array, total: Array, limit: float) -> Array:
    """The log likelihood ratio of the best alternative above the limit: what any bet wins at most.

    Poisson's, which is the larger one.
    """
    expected = np.maximum(total * limit, 1e-12)
    ratio = bad * np.log(np.maximum(bad, 1e-12) / expected) - bad + expected
    return np.where(bad > expected, ratio, 0.0)


def _promising(bad: Array, total: Array, limit: float, least: Array) -> NDArray[np.bool_]:
    """The services in which some bet could win enough, were all of them tempered by `least`."""
    found = (_largest_ratio(bad, total, limit) >= (_NEEDS - 1.0) * least).any(axis=1)
    late_needs = _NEEDS - np.log(_LATE) - 1.0
    for moment in MOMENTS:
        later = slice(moment + 1, LOOKS)
        fresh, of = bad[:, later] - bad[:, moment, None], total[:, later] - total[:, moment, None]
        found |= (_largest_ratio(fresh, of, limit) >= late_needs * least[:, later]).any(axis=1)
    return np.asarray(found)


def _beyond_a_limit(
    bad: Array, total: Array, limit: float, spreads: list[Array]
) -> NDArray[np.bool_]:
    found = np.log(1 - _LATE) + _above(bad, total, limit, spreads)
    for moment in MOMENTS:
        later = slice(moment + 1, LOOKS)
        fresh, of = bad[:, later] - bad[:, moment, None], total[:, later] - total[:, moment, None]
        if (fresh > limit * of).any():
            late = _above(fresh, of, limit, [phi[:, later] for phi in spreads])
            late = np.where(fresh > limit * of, late + np.log(_LATE / STARTS), -np.inf)
            found[:, later] = np.logaddexp(found[:, later], late)
    return np.asarray(found >= _NEEDS)


def fails(rule: CheckRule, stage: Stage, row: int, looks: Array, *, tempered: bool) -> bool:
    """Whether the real check fails at one of these looks, to five percent of the time."""
    canary, stable = stage.sides(row)
    tried = -1.0
    for look in looks:
        if look >= tried * 1.05:
            tried = look
            seen = inputs(canary, stable, int(look), tempered=tempered)
            if JUDGES[rule.kind](rule, SUBJECT, seen, PATIENCE).status is Status.FAIL:
                return True
    return False


def could_protect(
    rule: ProportionCheck | CompareCheck, stage: Stage, chance: float, packs: Array
) -> NDArray[np.bool_]:
    """Whether the rule could protect, judged by the counts since the shift and the past."""
    bad, total, _, _ = stage.counted
    least = rule.bad_limit if isinstance(rule, ProportionCheck) else rule.tolerated
    fewer = np.floor(bad / packs + 1e-9)
    early = poisson.logsf(fewer - 1, total / packs * least) <= np.log(chance) - (
        fewer - 1
    ) * np.log(2)
    own_bad, own = (part[:, 0, HISTORY:] for part in stage.ours)
    readings, with_bad = (own > 0).cumsum(axis=1), (own_bad > 0).cumsum(axis=1)
    at_once = (with_bad < 2) & (readings > FIRST)
    large = bad >= min(LARGE * least, MOST) * total
    return np.asarray(early & (fewer >= FEW) & large & ~at_once)


def protects(
    rule: ProportionCheck | CompareCheck, stage: Stage, row: int, looks: Array, chance: float
) -> bool:
    """Whether the real function protects at one of these looks."""
    canary, stable = stage.sides(row)
    return any(
        protection(rule, SUBJECT, inputs(canary, stable, int(look), tempered=True), chance)
        for look in looks
    )


@dataclass
class Found:
    """Of so many healthy releases, those rolled back, and those protected.

    `naive`: of the first `tried_naive`, those rolled back without the correction for bursts.
    """

    releases: int = 0
    back: int = 0
    naive: int = 0
    tried_naive: int = 0
    protected: int = 0

    def __add__(self, other: Found) -> Found:
        return Found(
            self.releases + other.releases,
            self.back + other.back,
            self.naive + other.naive,
            self.tried_naive + other.tried_naive,
            self.protected + other.protected,
        )


def played(
    kind: str, per_tick: float, rate: float, releases: int, chance: Mapping[str, float] | None
) -> Found:
    """Play healthy releases. `chance`: those of protection by kind of check; None: not asked."""
    rng, bursts = np.random.default_rng(12), KINDS[kind]
    pool = pasts(rng, per_tick, rate, bursts)
    table = np.array([past.spreads(past.known, ODDS_ABOVE) for past in pool])
    usual = np.array([past.spreads(past.usual, (LARGE,)) for past in pool])
    found = Found()
    while found.releases < releases:
        number = min(AT_ONCE, releases - found.releases)
        uncorrected = found.releases == 0
        found += _some(
            rng,
            (pool, table, usual),
            (per_tick, rate, bursts),
            number,
            chance,
            uncorrected=uncorrected,
        )
    return found


def _some(
    rng: np.random.Generator,
    known: tuple[list[Past], Array, Array],
    traffic: tuple[float, float, Bursts],
    releases: int,
    chance: Mapping[str, float] | None,
    *,
    uncorrected: bool,
) -> Found:
    (pool, table, usual), (per_tick, rate, bursts) = known, traffic
    back, naive, protected = (np.zeros(releases, dtype=bool) for _ in range(3))
    past = rng.integers(0, HISTORIES, SERVICES * releases)
    before = 0.0
    for weight in WEIGHTS:
        pair = [
            Stage.drawn(rng, pool, past, (per_tick, before, weight), rate, bursts) for _ in range(2)
        ]
        ones = [np.ones((1, LOOKS))] * len(ODDS_ABOVE)
        spreads = [list(stage.spread(table, len(ODDS_ABOVE))) for stage in pair]
        for name, rule in rules(rate).items():
            # Availability has the counts and the limit of the error rate.
            if name == "availability" or (rule.beside and weight == 1.0):
                continue
            which = 1 if name == "slow" else 0
            stage = pair[which]
            if chance is None:
                for tempered, lost, phi in ((True, back, spreads[which]), (False, naive, ones)):
                    if not tempered and not uncorrected:
                        continue
                    looks = beyond(rule, stage, phi)
                    for row in np.flatnonzero(looks.any(axis=1)):
                        release = row // SERVICES
                        if not lost[release]:
                            at = np.flatnonzero(looks[row])
                            lost[release] = fails(rule, stage, row, at, tempered=tempered)
            elif isinstance(rule, (ProportionCheck, CompareCheck)):
                packs = next(stage.spread(usual, 1))
                looks = could_protect(rule, stage, chance[rule.kind], packs)
                for row in np.flatnonzero(looks.any(axis=1)):
                    release = row // SERVICES
                    if not protected[release]:
                        at = np.flatnonzero(looks[row])
                        protected[release] = protects(rule, stage, row, at, chance[rule.kind])
        before = weight
    tried = releases if uncorrected else 0
    return Found(releases, int(back.sum()), int(naive.sum()), tried, int(protected.sum()))
