"""Whole releases as counts alone: thousands of them, to count how often a law is wrong.

Three services, five checks, the example's five stages of ten minutes with a look at every scrape
(5 s); the canary is exactly as good as stable and both err at half of the limit. The checks are
judged by the real functions of gates.checks. As those are asked some ten thousand times a release,
looks at which even untempered evidence could not fail are told apart beforehand with numpy, by the
same formula; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tarsrelease.gates.checks import JUDGES, Inputs, Patience, Subject
from tarsrelease.gates.stats.bursts import Burstiness, Ticks, burstiness
from tarsrelease.gates.stats.growth import Growth
from tarsrelease.gates.stats.late_change import Starts, remember
from tarsrelease.gates.stats.sequential_test import ODDS_ABOVE
from tarsrelease.model.checks import CheckRule, CompareCheck, DriftCheck, ProportionCheck
from tarsrelease.model.measurement import Counts, Track, Unmeasured
from tarsrelease.model.outcome import Status

Array = NDArray[np.float64]

TICK = 5.0
WEIGHTS = (0.01, 0.10, 0.25, 0.50, 1.0)
SERVICES = 3
LOOKS = 120
HISTORY = 60
"""Ticks before the shift that a gate's first look sees."""
PAST = 1440
"""Ticks before those, which a gate reads before the shift."""
PODS = 2
PROMOTION = 2
CHECKS = 5
BUDGET = 0.01
ALPHA = BUDGET / ((len(WEIGHTS) + PROMOTION) * SERVICES * CHECKS)
PATIENCE = Patience(alpha=ALPHA, confidence=0.95, stale_after=15.0)
LONGEST = 1200.0
"""Seconds of a stage with its extension."""
OURS, THEIRS = ("s", Track.CANARY), ("s", Track.STABLE)


@dataclass(frozen=True)
class Bursts:
    """How errors come. `shared` incidents strike both sides, so often on average (in ticks);
    `clustered` errors come in geometric packs of that mean size, on whichever side; `uneven` is
    the intraclass correlation of each pod's ticks (beta-binomial)."""

    shared: float = 0.0
    clustered: float = 1.0
    uneven: float = 0.0


STEADY = Bursts()
KINDS: Mapping[str, Bursts] = {
    "independent errors": STEADY,
    "incidents on both sides, every two minutes": Bursts(shared=24.0),
    "incidents on both sides, every twenty minutes": Bursts(shared=240.0),
    "packs of 5 errors (geometric)": Bursts(clustered=5.0),
    "packs of 20 errors (geometric)": Bursts(clustered=20.0),
    "uneven pods (beta-binomial, correlation 0.5 %)": Bursts(uneven=0.005),
}


def rules(rate: float) -> dict[str, CheckRule]:
    """The five checks for a side that errs at `rate`: limits at twice that."""
    limit = 2 * rate
    return {
        "error_rate": ProportionCheck(kind="proportion", id="a.errors", sli="e", below=limit),
        "availability": ProportionCheck(kind="proportion", id="a.up", sli="e", at_least=1 - limit),
        "slow": ProportionCheck(kind="proportion", id="a.slow", sli="e", below=limit),
        "compare": CompareCheck(kind="compare", id="a.compare", sli="e"),
        "drift": DriftCheck(kind="drift", id="a.drift", sli="e", within=0.05),
    }


def incidents(rng: np.random.Generator, ticks: int, every: float, rate: float) -> Array:
    """The share of errors in each tick, `rate` on average: one half steady, the other in incidents.

    They begin every so many ticks on average, and last one to four.
    """
    begins = 1 / every
    found = np.full(ticks, 0.5 * rate)
    for at in np.flatnonzero(rng.random(ticks) < begins):
        found[at : at + rng.integers(1, 5)] += 0.5 * rate / (2.5 * begins)
    return np.minimum(found, 0.95)


def errors(rng: np.random.Generator, requests: Array, chance: Array, bursts: Bursts) -> Array:
    """Bad requests among these, pod by pod and tick by tick."""
    if bursts.uneven:
        spread = 1 / bursts.uneven - 1
        chance = rng.beta(chance * spread, (1 - chance) * spread)
    if bursts.clustered > 1:
        packs = rng.poisson(requests * chance / bursts.clustered)
        sizes = packs + rng.negative_binomial(np.maximum(packs, 1), 1 / bursts.clustered)
        return np.minimum(np.where(packs > 0, sizes, 0), requests).astype(float)
    return rng.binomial(requests.astype(int), chance).astype(float)


@dataclass
class Side:
    """Bad and all requests by pod and tick; the first are the past and what is before the shift."""

    bad: Array
    total: Array

    def ticks(self, since: int, until: int) -> Ticks:
        """As a gate gathers them."""
        pairs = (
            zip(bad[since:until].tolist(), total[since:until].tolist(), strict=True)
            for bad, total in zip(self.bad, self.total, strict=True)
        )
        return Ticks(TICK, {str(pod): list(found) for pod, found in enumerate(pairs)})

    @cached_property
    def past(self) -> Burstiness | None:
        """How bursty the errors of the past were."""
        return burstiness(self.ticks(0, PAST))

    def since_the_shift(self) -> tuple[Array, Array]:
        """Cumulative counts at each look."""
        shift = PAST + HISTORY
        return (
            self.bad[:, shift:].sum(axis=0).cumsum(),
            self.total[:, shift:].sum(axis=0).cumsum(),
        )


def sides(
    rng: np.random.Generator,
    per_tick: float,
    weight: float,
    before: float,
    rate: float,
    bursts: Bursts,
    worse: float = 1.0,
    looks: int = LOOKS,
) -> tuple[Side, Side]:
    """A service's canary (one pod) and stable in one stage; `before` was the weight before it."""
    ticks = PAST + HISTORY + looks
    chance = np.full(ticks, rate)
    if bursts.shared:
        chance = incidents(rng, ticks, bursts.shared, rate)
    share = np.concatenate([np.zeros(PAST), np.full(HISTORY, before), np.full(looks, weight)])
    ours = rng.poisson(per_tick * share, (1, ticks)).astype(float)
    theirs = rng.poisson(per_tick * (1 - share) / PODS, (PODS, ticks)).astype(float)
    canary = Side(errors(rng, ours, np.minimum(chance * worse, 1)[None, :], bursts), ours)
    stable = Side(errors(rng, theirs, np.broadcast_to(chance, theirs.shape), bursts), theirs)
    return canary, stable


def naive(bad: Array, total: Array, limit: Array | float) -> Array:
    """gates.statistics.log_evidence_above for many looks at once, untempered."""
    logs = np.stack([bad * np.log(f) - total * np.log1p(limit * (f - 1)) for f in ODDS_ABOVE])
    highest = logs.max(axis=0)
    return np.asarray(highest + np.log(np.exp(logs - highest).mean(axis=0)))


def late(bad: Array, total: Array, limit: float) -> Array:
    """The highest untempered log evidence of a bet placed after the shift, along the last axis."""
    found: Array = np.full(bad.shape, -np.inf)
    for moment in MOMENTS:
        if moment >= bad.shape[-1]:
            break
        fresh = bad[..., moment + 1 :] - bad[..., moment, None]
        of = total[..., moment + 1 :] - total[..., moment, None]
        part = found[..., moment + 1 :]
        for factor in ODDS_ABOVE:
            np.maximum(part, fresh * np.log(factor) - of * np.log1p(limit * (factor - 1)), out=part)
    return found


def moments() -> tuple[int, ...]:
    """The looks whose counts a gate remembers (late_change.remember)."""
    starts: Starts = {}
    found = []
    for look in range(LOOKS):
        counts = {"e": {OURS: Counts(0, look, None)}}
        more = remember(starts, counts, TICK * (look + 1), LONGEST)
        if more is not starts:
            found.append(look)
        starts = more
    return tuple(found)


MOMENTS = moments()


def beyond_a_limit(bad: Array, total: Array, limit: float) -> NDArray[np.bool_]:
    """Whether a proportion could fail at each look (the last axis), bets placed late included.

    The bet from the shift on has 0.9 of the capital, all the others 0.1.
    """
    needs = -np.log(ALPHA)
    found = (naive(bad, total, limit) >= needs - 0.6) | (late(bad, total, limit) >= needs + 1.6)
    return np.asarray(found)


def suspicious(
    rule: CheckRule, ours: tuple[Array, Array], theirs: tuple[Array, Array]
) -> NDArray[np.intp]:
    """Indices of the looks at which the rule could fail."""
    (bad, total), (other, others) = ours, theirs
    needs = -np.log(ALPHA)
    if isinstance(rule, ProportionCheck):
        return np.flatnonzero(beyond_a_limit(bad, total, rule.bad_limit))
    able = (total > 0) & (others > 0)
    if isinstance(rule, DriftCheck):
        limit = np.where(able, other / np.maximum(others, 1), 0.5)
        limit = np.clip(limit + rule.within * (1 - limit), 1e-9, 1 - 1e-9)
        return np.flatnonzero(able & (naive(bad, total, limit) >= needs))
    assert isinstance(rule, CompareCheck)
    weighed = (1 + rule.worse_by) * total
    exposed = np.where(able, weighed / np.maximum(weighed + others, 1e-9), 0.5)
    exposed = np.clip(exposed, 1e-9, 1 - 1e-9)
    both = np.minimum(naive(bad, bad + other, exposed), naive(bad, total, rule.tolerated))
    return np.flatnonzero(able & (both >= needs))


def inputs(canary: Side, stable: Side, look: int, *, tempered: bool) -> Inputs:
    """What the gate sees at a look (counted from 0, one tick after the shift)."""
    shift = PAST + HISTORY
    at = shift + look + 1

    def known(_sli: str, _service: str) -> list[Burstiness]:
        lately = burstiness(stable.ticks(PAST, at))
        return [each for each in (lately, stable.past) if each is not None]

    now = 1000.0 + TICK * look
    counts = {
        OURS: Counts(canary.bad[:, shift:at].sum(), canary.total[:, shift:at].sum(), now),
        THEIRS: Counts(stable.bad[:, shift:at].sum(), stable.total[:, shift:at].sum(), now),
    }
    before = [moment for moment in MOMENTS if moment < look]
    starts: dict[tuple[str, str, Track], list[tuple[float, float]]] = {}
    for key, side in ((OURS, canary), (THEIRS, stable)):
        bad, total = (part[:, shift:at].sum(axis=0).cumsum() for part in (side.bad, side.total))
        starts["e", *key] = [(bad[moment], total[moment]) for moment in before]
    ours = canary.bad[:, shift:at].sum(axis=0), canary.total[:, shift:at].sum(axis=0)
    growth = {("e", *OURS): Growth(int((ours[1] > 0).sum()), int((ours[0] > 0).sum()))}
    made = Inputs(
        {"e": counts},
        {},
        Unmeasured(""),
        {},
        now,
        TICK * (look + 1),
        starts=starts,
        growth=growth,
    )
    return replace(made, bursts=known) if tempered else made


SUBJECT = Subject("s", Track.CANARY)


def first_failure(
    rule: CheckRule,
    canary: Side,
    stable: Side,
    *,
    tempered: bool = True,
    every: int = 1,
    most: int = LOOKS,
) -> int | None:
    """The look at which the rule fails, None where it never does. To save time, only each n-th
    look at which it could (`every`), and at most about so many, evenly spread (`most`)."""
    candidates = suspicious(rule, canary.since_the_shift(), stable.since_the_shift())
    for look in candidates[:: max(every, -(-len(candidates) // most))]:
        seen = inputs(canary, stable, int(look), tempered=tempered)
        if JUDGES[rule.kind](rule, SUBJECT, seen, PATIENCE).status is Status.FAIL:
            return int(look)
    return None


def taken_back(
    rng: np.random.Generator,
    per_tick: float,
    rate: float,
    bursts: Bursts,
    *,
    tempered: bool = True,
    every: int = 1,
    most: int = LOOKS,
) -> str | None:
    """Play one healthy release; the check that took it back, if one did.

    Errors and slowness are independent of each other; availability and error rate are one
    indicator, and so are the comparisons' counts.
    """
    checks, before = rules(rate), 0.0
    for weight in WEIGHTS:
        for _ in range(SERVICES):
            canary, stable = sides(rng, per_tick, weight, before, rate, bursts)
            slow = sides(rng, per_tick, weight, before, rate, bursts)
            for name, rule in checks.items():
                if rule.beside and weight == 1.0:
                    continue
                pair = slow if name == "slow" else (canary, stable)
                at = first_failure(rule, *pair, tempered=tempered, every=every, most=most)
                if at is not None:
                    return f"{name} at {100 * weight:g} %"
        before = weight
    return None
