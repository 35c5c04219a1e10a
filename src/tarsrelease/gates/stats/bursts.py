"""Errors that come in bursts: how much more they vary than independent ones, and what of it.

The bets in statistics.py win at most what they stake while bad requests come independently. A
database that hiccups, a retrying client or a dying pod makes them come together; then a burst of
a healthy canary looks like proof. What bursts are usual is seen on the other side, which serves
the same requests at the same time.

The method. A bet on the alternative f (odds f times the limit's) is tempered: its log is divided by
a spread phi(f) >= 1. phi(f) is the smallest for which the same bet, placed against the other side
at that side's own mean share p, does not grow: with blocks of b_t bad among n_t requests,

    mean over t of exp((b_t log f - n_t log(1 + p (f-1))) / phi) <= 1,

the empirical adjustment coefficient (1/phi) of a risk process (Grandell, "Empirical bounds for
ruin probabilities", 1979; Duffield et al., "Entropy of ATM traffic streams", 1995, estimate it
from blocks as done here). For independent errors it is 1; for small f it is the index of
dispersion, variance over mean, of quasi-likelihood (Wedderburn 1974; McCullagh and Nelder 1989);
for large f the largest burst decides, as it must. Blocks of 1, 2, 4, 8 and 16 ticks are tried, as
a burst may last, and the worst counts.

From the other side's pods to ours: a burst that strikes everybody for a while is larger where there
is more traffic, and smaller where there is less, so what is beyond 1 goes with the requests a
second (the intraclass correlation model: variance 1 + (n-1) rho times the binomial's; Williams
1982). A client's pack of retries does not shrink with the traffic, so what struck one pod while the
others were well is never taken to be less. Where a tick holds many packs their sum hides the large
ones; so their size comes from the index of dispersion, and their distribution (geometric sizes: the
Polya-Aeppli distribution; Johnson, Kemp and Kotz, "Univariate discrete distributions") says what a
side with little traffic meets.

It is estimated twice, and the worse estimate counts: from the five minutes before the shift and all
since, in which a burst that strikes both sides shows at the same time, and from a longer past of
stable, which has the rare ones. It is an estimate: a burst larger than any of those is still taken
for what it looks like. The simulation says how often (docs/detection.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from math import exp, log, log1p, sqrt
from operator import mul

Spread = Callable[[float], float]
"""From an alternative (odds in multiples of the limit's) to what its log evidence is divided by."""

BLOCKS = (1, 2, 4, 8, 16)
"""Lengths of blocks, in ticks."""

FEWEST = 8
"""Blocks that a length needs to count."""

_STEPS = 50
_HALVINGS = 30
_FLAT = 1e-9
"""A bet that grows by less does not grow: rounding."""
_CLOSE = 1e-3
"""Relative precision of a spread."""


def binomial(_factor: float) -> float:
    """No spread: bad requests come independently."""
    return 1.0


def largest(spreads: Sequence[Spread]) -> Spread:
    """For each alternative the largest of these; of none of them, no spread."""
    return lambda factor: max((spread(factor) for spread in spreads), default=1.0)


def widest(spread: Spread, factors: Iterable[float]) -> Spread:
    """The largest spread of all these alternatives, for each of them.

    For a bet that is not on a share of requests but on whose the bad requests are: what a burst
    wins there does not depend on how it compares with the requests.
    """
    largest = max(map(spread, factors))
    return lambda _factor: largest


@dataclass(frozen=True, slots=True, eq=False)
class Ticks:
    """Bad requests and all requests of each pod of one side, tick by tick, oldest first.

    A tick is `interval` seconds, the time between two scrapes. Compared by identity, so that what
    is computed from a long past can be kept.
    """

    interval: float
    by_pod: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Burstiness:
    """How bursty one side's errors were, by its ticks; see `burstiness`.

    `per_tick` are a pod's requests in a tick, `interval` seconds a tick. `together` is the spread
    of what every pod had, `alone` that of what struck one pod and not the others at that time
    (with one pod both are the same). `ticks` are those it comes from.
    """

    interval: float
    per_tick: float
    together: Spread
    alone: Spread
    ticks: Ticks | None = None

    def at(self, rate: float) -> Spread:
        """The spread for a side with `rate` requests a second."""
        ratio = rate * self.interval / self.per_tick

        def spread(factor: float) -> float:
            struck_all = ratio * (self.together(factor) - 1.0)
            struck_one = max(1.0, ratio) * (self.alone(factor) - 1.0)
            return 1.0 + max(struck_all, struck_one)

        return cache(spread)


def burstiness(ticks: Ticks) -> Burstiness | None:
    """How bursty the errors in the ticks are; None without bad requests or without good ones."""
    pods = [list(pod) for pod in ticks.by_pod.values() if pod]
    bad = sum(b for pod in pods for b, _ in pod)
    total = sum(n for pod in pods for _, n in pod)
    if not 0 < bad < total:
        return None
    share = bad / total
    together = _spread([[(*block, share) for block in blocks] for blocks in _by_length(pods)])
    alone = together
    if len(pods) > 1:
        beside = _beside_the_others(pods, share)
        alone = largest([_spread(beside), of_packs(pack_size(pods), share)])
    return Burstiness(
        interval=ticks.interval,
        per_tick=total / sum(map(len, pods)),
        together=together,
        alone=alone,
        ticks=ticks,
    )


def pack_size(pods: Sequence[Sequence[tuple[float, float]]]) -> float:
    """The mean size of the packs in which bad requests come to one pod, at least 1.

    From the index of dispersion of a pod's bad requests about what the other pods had at that
    time: 2 size - 1 for geometric sizes. Three standard errors of a variance are taken off,
    so that independent errors are never taken for packs by chance. Pods end together.
    """
    surplus = expected = 0.0
    number = 0
    for at in zip_longest(*(pod[::-1] for pod in pods), fillvalue=(0.0, 0.0)):
        bad, total = sum(b for b, _ in at), sum(n for _, n in at)
        for b, n in at:
            if 0 < n < total:
                others = n / (total - n)
                surplus += (b - (bad - b) * others) ** 2 / (1 + others)
                expected += b
                number += 1
    if not expected:
        return 1.0
    index = surplus / expected * (1 - 3 * sqrt(2 / number))
    return max(1.0, (index + 1) / 2)


def of_packs(size: float, share: float) -> Spread:
    """The spread of bad requests in packs of geometric sizes, `size` on average.

    Where a tick holds many packs, their sum hides the large ones, which a side with little
    traffic meets one by one. So their distribution is used: with M the moment generating
    function of a pack, log(1 + (share/size) (M(x log f) - 1)) = x log(1 + share (f-1)) at the
    adjustment coefficient x = 1/phi. At size 1 that is 1.
    """
    more = 1.0 - 1.0 / size

    @cache
    def spread(factor: float) -> float:
        if more <= 0 or factor <= 1:
            return 1.0
        gain, cost = log(factor), log1p(share * (factor - 1))
        low, high = 0.0, min(1.0, -log(more) / gain)
        for _ in range(_HALVINGS):
            x = (low + high) / 2
            grown = exp(x * gain)
            room = 1.0 - more * grown
            if room > 0 and log1p(share / size * (grown - 1.0) / room) <= x * cost:
                low = x
            else:
                high = x
        return 1.0 / high

    return spread


def _spread(by_length: Sequence[Sequence[tuple[float, float, float]]]) -> Spread:
    """From blocks of bad and all requests, and the share of bad ones expected of each."""

    @cache
    def spread(factor: float) -> float:
        phi = 1.0
        if factor > 1:
            gain = log(factor)
            for blocks in by_length:
                bets = [b * gain - n * log1p(share * (factor - 1)) for b, n, share in blocks]
                phi = _widened(phi, bets)
        return phi

    return spread


def _by_length(pods: Sequence[Sequence[tuple[float, float]]]) -> list[list[tuple[float, float]]]:
    return [
        blocks
        for length in BLOCKS
        if len(blocks := [block for pod in pods for block in _blocks(pod, length)]) >= FEWEST
    ]


def _beside_the_others(
    pods: Sequence[Sequence[tuple[float, float]]], share: float
) -> list[list[tuple[float, float, float]]]:
    """Each pod's blocks, with the share that the other pods had at the same time.

    At least the mean share: that others had no bad request makes one here no burst. Pods end
    together.
    """
    found = []
    for length in BLOCKS:
        by_pod = [_blocks(pod, length)[::-1] for pod in pods]
        sums = [
            (sum(b for b, _ in at), sum(n for _, n in at))
            for at in zip_longest(*by_pod, fillvalue=(0.0, 0.0))
        ]
        blocks = [
            (b, n, max(share, (bad - b) / (total - n)) if total > n else share)
            for pod in by_pod
            for (b, n), (bad, total) in zip(pod, sums, strict=False)
        ]
        if len(blocks) >= FEWEST:
            found.append(blocks)
    return found


def _blocks(pod: Sequence[tuple[float, float]], length: int) -> list[tuple[float, float]]:
    """Sums of `length` ticks in a row, the newest whole; what does not fill one is left out."""
    first = len(pod) % length
    return [
        (sum(b for b, _ in pod[at : at + length]), sum(n for _, n in pod[at : at + length]))
        for at in range(first, len(pod), length)
    ]


def _widened(phi: float, bets: Sequence[float]) -> float:
    """The smallest number >= phi at which the bets, divided by it, do not grow on average.

    With x = 1/phi, h(x) = log mean exp(x bet) is convex, h(0) = 0 and falls there (Jensen), so
    there is at most one root beside 0. Newton's method from a point where the bet grows comes down
    to it without ever passing it.
    """
    highest = max(bets)
    power = 1.0 / phi
    for _ in range(_STEPS):
        weights = [exp(power * (bet - highest)) for bet in bets]
        total = sum(weights)
        height = power * highest + log(total / len(bets))
        slope = sum(map(mul, weights, bets)) / total
        if height <= _FLAT or slope <= 0:
            break
        lower = power - height / slope
        if lower <= 0:
            break
        done = power - lower < _CLOSE * lower
        power = lower
        if done:
            break
    return 1.0 / power
