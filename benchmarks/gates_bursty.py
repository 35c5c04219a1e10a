"""Healthy releases whose errors come in bursts, many at once: rolled back, or protected needlessly.

What stable had in the longer past comes from a pool of HISTORIES for each kind, rate and traffic,
which the releases share, because measuring its bursts takes most of the time. The stages are drawn
with numpy. A first pass applies the checks' formulas with the correction of that past alone; the
real functions, which correct by the stage's own bursts too, decide where it could fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

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
    STEADY,
    SUBJECT,
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
from world import rollout

from gates_field import Run
from tarsrelease.gates.checks import JUDGES
from tarsrelease.gates.protection import (
    FEW,
    FEW_LATELY,
    LARGE,
    MOST,
    WELL,
    chances,
    protection,
    without_worst,
)
from tarsrelease.gates.stats.bursts import Burstiness, burstiness
from tarsrelease.gates.stats.growth import FIRST
from tarsrelease.gates.stats.late_change import STARTS
from tarsrelease.gates.stats.sequential_test import ODDS_ABOVE
from tarsrelease.model.checks import CheckRule, CompareCheck, DriftCheck, ProportionCheck
from tarsrelease.model.outcome import Status
from tarsrelease.model.rollout import Rollout

HISTORIES = 12
"""Pasts of stable for each kind, rate and traffic."""
AT_ONCE = 200
"""Releases that are drawn together."""
UNCORRECTED = 50
"""Releases that are judged without the correction, too."""
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

    @cached_property
    def table(self) -> tuple[float, ...]:
        """A pod's requests per tick; then `together`, then `alone` of each alternative."""
        return _spreads(self.known, ODDS_ABOVE)

    @cached_property
    def usual_share(self) -> float:
        """Stable's share of bad requests without the worst episode; 0 if none is known."""
        if self.known is None:
            return 0.0
        rest = without_worst(Side(self.bad, self.total).ticks(0, PAST))
        kept = [each for pod in rest.by_pod.values() for each in pod]
        return sum(bad for bad, _ in kept) / sum(total for _, total in kept)

    @cached_property
    def usual_packs(self) -> tuple[float, ...]:
        """The same for LARGE, without the worst episode."""
        return _spreads(self.usual, (LARGE,))


def _spreads(known: Burstiness | None, factors: tuple[float, ...]) -> tuple[float, ...]:
    if known is None:
        return (1.0, *(1.0 for _ in factors), *(1.0 for _ in factors))
    together, alone = (map(each, factors) for each in (known.together, known.alone))
    return (known.per_tick, *together, *alone)


def plan_of(checks: dict[str, CheckRule]) -> Rollout:
    """The example's five stages and three services, with these checks."""
    made = rollout()
    stages = [
        stage.model_copy(
            update={
                "checks": tuple(c for c in checks.values() if stage.weight < 100 or not c.beside)
            }
        )
        for stage in made.stages
    ]
    return made.model_copy(update={"stages": tuple(stages)})


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

    def spread(self, rows: NDArray[np.intp], *, usual: bool = False) -> list[Array]:
        """The spread of each alternative by the past, of these services: rows x LOOKS each."""
        of = [self.pool[at].usual_packs if usual else self.pool[at].table for at in self.past[rows]]
        table, number = np.array(of), (len(of[0]) - 1) // 2
        per_pod, together, alone = table[:, :1], table[:, 1 : 1 + number], table[:, 1 + number :]
        ratio = self.counted[1][rows] / np.arange(1, LOOKS + 1) / per_pod
        return [
            1.0
            + np.maximum(
                ratio * (together[:, at, None] - 1.0),
                np.maximum(1.0, ratio) * (alone[:, at, None] - 1.0),
            )
            for at in range(number)
        ]

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


def beyond(rule: CheckRule, stage: Stage, *, tempered: bool) -> NDArray[np.bool_]:
    """Whether the rule could fail, tempered by the past or not at all: services x LOOKS."""
    found = np.zeros((len(stage.past), LOOKS), dtype=bool)
    bad, total, _, _ = stage.counted
    rows = np.arange(len(stage.past))
    if isinstance(rule, ProportionCheck):
        rows = np.flatnonzero(_promising(bad, total, rule.bad_limit, 1.0))
    if tempered and len(rows):
        spreads = stage.spread(rows)
        if isinstance(rule, ProportionCheck):
            least = np.minimum.reduce(spreads)
            kept = _promising(bad[rows], total[rows], rule.bad_limit, least)
            rows, spreads = rows[kept], [phi[kept] for phi in spreads]
    else:
        spreads = [np.ones((1, LOOKS))] * len(ODDS_ABOVE)
    if len(rows):
        counted = [part[rows] for part in stage.counted]
        found[rows] = _beyond(rule, counted, spreads)
    return found


def _beyond(rule: CheckRule, counted: list[Array], spreads: list[Array]) -> NDArray[np.bool_]:
    bad, total, other, others = counted
    if isinstance(rule, ProportionCheck):
        return _beyond_a_limit(bad, total, rule.bad_limit, spreads)
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


def _promising(bad: Array, total: Array, limit: float, least: Array | float) -> NDArray[np.bool_]:
    """The services in which some bet could win enough, were all of them tempered by `least`."""
    least = np.broadcast_to(least, bad.shape)
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


def fails(
    rule: CheckRule, stage: Stage, row: int, looks: NDArray[np.intp], *, tempered: bool
) -> bool:
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
    rule: ProportionCheck | CompareCheck, stage: Stage, chance: float
) -> NDArray[np.bool_]:
    """Whether the rule could protect: by the counts since the shift, the last ones, and the past.

    Every condition is one of `gates.protection.protection`; it has more.
    """
    least = rule.tolerated if isinstance(rule, CompareCheck) else rule.bad_limit
    acceptable = np.full((len(stage.past), 1), least)
    if isinstance(rule, CompareCheck):
        usual = np.array([past.usual_share for past in stage.pool])[stage.past]
        acceptable = np.maximum(acceptable, usual[:, None])
    own_bad, own = (part[:, 0, HISTORY:] for part in stage.ours)
    readings, with_bad = (own > 0).cumsum(axis=1), (own_bad > 0).cumsum(axis=1)
    fresh = (with_bad >= 2) | (readings <= FIRST)
    found = np.zeros(fresh.shape, dtype=bool)
    lately = [_since_the_last_moment(part) for part in stage.counted]
    for (bad, total, other, others), few in ((stage.counted, FEW), (lately, FEW_LATELY)):
        could = fresh & (bad >= few) & (bad >= np.minimum(LARGE * acceptable, MOST) * total)
        could &= other * total <= WELL * bad * others
        for packed in (False, True):
            rows = np.flatnonzero(could.any(axis=1))
            if not len(rows):
                break
            packs = stage.spread(rows, usual=True)[0] if packed else 1.0
            fewer = np.floor(bad[rows] / packs + 1e-9)
            early = poisson.logsf(fewer - 1, total[rows] / packs * acceptable[rows])
            needs = np.log(chance) - (fewer - 1) * np.log(2)
            could[rows] &= (fewer >= few) & (early <= needs + 1e-9)
        found |= could
    return found


_BACK = np.array([([-1, -1] + [m for m in MOMENTS if m < look])[-2] for look in range(LOOKS)])
"""By look, the moment before the last one that a gate remembers; -1 if it does not know two."""


def _since_the_last_moment(counted: Array) -> Array:
    return counted - np.where(_BACK >= 0, counted[:, np.maximum(_BACK, 0)], 0.0)


def protects(
    rule: ProportionCheck | CompareCheck,
    stage: Stage,
    chance: float,
    row: int,
    looks: NDArray[np.intp],
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


def played(cell: tuple[str, float, float, int]) -> Found:
    """Play so many healthy releases: `cell` is the kind, requests per scrape, rate, releases."""
    kind, per_tick, rate, releases = cell
    rng, bursts = np.random.default_rng(12), KINDS[kind]
    pool = pasts(rng, per_tick, rate, bursts)
    chance = chances(plan_of(rules(rate)))
    found = Found()
    while found.releases < releases:
        uncorrected = found.releases == 0
        number = min(UNCORRECTED if uncorrected else AT_ONCE, releases - found.releases)
        found += _some(rng, pool, (per_tick, rate, bursts), (number, uncorrected), chance)
    return found


def _some(
    rng: np.random.Generator,
    pool: list[Past],
    traffic: tuple[float, float, Bursts],
    size: tuple[int, bool],
    chance: Mapping[str, float],
) -> Found:
    (per_tick, rate, bursts), (releases, uncorrected) = traffic, size
    back, naive, protected = (np.zeros(releases, dtype=bool) for _ in range(3))
    past = rng.integers(0, HISTORIES, SERVICES * releases)
    before = 0.0
    for weight in WEIGHTS:
        pair = [
            Stage.drawn(rng, pool, past, (per_tick, before, weight), rate, bursts) for _ in range(2)
        ]
        for name, rule in rules(rate).items():
            # Availability has the counts and the limit of the error rate.
            if name == "availability" or (rule.beside and weight == 1.0):
                continue
            stage = pair[1 if name == "slow" else 0]
            for tempered, lost in (
                ((True, back), (False, naive)) if uncorrected else ((True, back),)
            ):
                looks = beyond(rule, stage, tempered=tempered)
                _count(lost, looks, partial(fails, rule, stage, tempered=tempered))
            if isinstance(rule, (ProportionCheck, CompareCheck)):
                looks = could_protect(rule, stage, chance[rule.kind])
                _count(protected, looks, partial(protects, rule, stage, chance[rule.kind]))
        before = weight
    tried = releases if uncorrected else 0
    return Found(releases, int(back.sum()), int(naive.sum()), tried, int(protected.sum()))


def _count(
    lost: NDArray[np.bool_],
    looks: NDArray[np.bool_],
    decides: Callable[[int, NDArray[np.intp]], bool],
) -> None:
    """Mark the releases of the services for which the real function decides so."""
    for row in np.flatnonzero(looks.any(axis=1)):
        release = row // SERVICES
        if not lost[release]:
            lost[release] = decides(int(row), np.flatnonzero(looks[row]))


TRAFFIC = (1, 20, 300, 5000)
"""Requests per scrape and service, canary and stable together; with bursts the last three."""
RATES = (0.0001, 0.001, 0.005, 0.05)
RELEASES = 2000
"""Of each row, at least."""


def traffic_of(kind: str) -> tuple[int, ...]:
    """The amounts of traffic of a row."""
    return TRAFFIC if KINDS[kind] == STEADY else TRAFFIC[1:]


def rows() -> list[tuple[str, float]]:
    """The rows: how errors occur, and their rate."""
    return [
        (kind, rate)
        for kind, bursts in KINDS.items()
        for rate in (RATES if bursts == STEADY else RATES[1:])
    ]


def all_played(run: Run, releases: int = RELEASES) -> dict[tuple[str, float], list[Found]]:
    """What became of the healthy releases of each row, by amount of traffic."""
    cells = [
        (kind, per_tick, rate, -(-releases // len(traffic_of(kind))))
        for kind, rate in rows()
        for per_tick in traffic_of(kind)
    ]
    found: dict[tuple[str, float], list[Found]] = {}
    for (kind, _, rate, _), each in zip(cells, run(played, cells), strict=True):
        found.setdefault((kind, rate), []).append(each)
    return found
