"""When a comparison with another side is good enough to pass.

As for limits (see `pass_side`), the counts must be unlikely for a canary at twice the margin:

- `compare`: at twice the larger of (1 + `worse_by`) times the other side's share and `tolerated`.
  Such a canary is beyond both, so ruling out either one is enough; each gets half of the error.
- `drift`: at twice the distance `within` from the other side's share of good requests.

The nominal chances of one evaluation (below) come from simulated stages with 240 evaluations, with
shares from 0 to 50 times `tolerated`, weights from 1 to 50 %, and distances from 0.5 to 20 %
(docs/detection.md; tests repeat a part of them).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import ceil, inf, sqrt
from statistics import NormalDist

from tarsrelease.gates.stats.pass_side import (
    TWICE,
    allows,
    at_most,
    binomial_chance,
    poisson_quantile,
    tail,
)
from tarsrelease.model.measurement import Counts

_OF_A_RATIO = 0.06
_OF_A_DRIFT = 0.08
"""What one evaluation may spend of the whole error."""

_MANY_TIMES = 64
_LARGEST = 1e9
"""Requests beyond which nobody waits."""


def allows_worse_by(
    ours: Counts, theirs: Counts, worse_by: float, tolerated: float, error: float
) -> bool:
    """Whether a canary at twice the margins is unlikely after these counts.

    `error` is the chance that such a canary passes at any evaluation of its stage.
    """
    if ours.bad <= tolerated * ours.total and allows(ours.bad, ours.total, tolerated, error / 2):
        return True
    weighed = TWICE * (1.0 + worse_by) * ours.total
    exposed = weighed / (weighed + theirs.total)
    return _few(ours.bad, ours.bad + theirs.bad, exposed) <= _OF_A_RATIO * error


def allows_drift(ours: Counts, theirs: Counts, within: float, error: float) -> bool:
    """Whether a canary that drifted twice as far as `within` is unlikely after these counts.

    A score test of the difference of two shares: its variance is taken at twice the distance.
    """
    far = twice_as_far(within)
    other = theirs.bad / theirs.total
    share = other + far * (1.0 - other)
    variance = share * (1.0 - share) / ours.total
    variance += (1.0 - far) ** 2 * other * (1.0 - other) / theirs.total
    return share - ours.bad / ours.total >= _deviations(error) * sqrt(variance)


def twice_as_far(within: float) -> float:
    """Twice a distance, or half of the way to no good request if that is nearer."""
    return min(TWICE * within, (1.0 + within) / 2)


def requests_to_allow(ours: Counts, allowed: Callable[[float], bool]) -> int | None:
    """How many requests such counts need to pass; None where 64 times as many are not enough.

    `allowed(times)` decides for so many times the counts of both sides.
    """
    high = 1.0
    while not allowed(high):
        high *= 2
        if high > _MANY_TIMES:
            return None
    low = high / 2
    while high - low > 0.02 * high:
        middle = (low + high) / 2
        if allowed(middle):
            high = middle
        else:
            low = middle
    return ceil(high * ours.total)


def scaled(counts: Counts, times: float) -> Counts:
    """The same shares of so many times the requests."""
    return Counts(times * counts.bad, times * counts.total, counts.newest)


def required_at(
    share: float,
    others: float,
    allowed: Callable[[Counts, Counts], bool],
    least: int,
    sure: float = 0.9,
) -> float:
    """Requests after which a canary with the other side's share passes with the chance `sure`.

    `others` are the other side's requests for each of the canary's, `least` the fewest requests
    of either side that decide; inf where no realistic number is enough.
    """
    total = least * max(1.0, 1.0 / others)
    while total < _LARGEST:
        ours = Counts(min(total, poisson_quantile(share * total, sure)), total, None)
        if allowed(ours, Counts(share * others * total, others * total, None)):
            return ceil(total)
        total *= 1.02
    return inf


@cache
def _deviations(error: float) -> float:
    return -NormalDist().inv_cdf(_OF_A_DRIFT * error)


def _few(bad: float, total: float, share: float) -> float:
    """The chance of at most `bad` among `total`, each with the chance `share`."""
    number, most = round(total), int(bad)
    if most >= number:
        return 1.0
    if number > 2000 and number * share < 200:
        return at_most(most, number * share)
    if number > 2000:
        return tail(number - most, number, 1.0 - share)
    return sum(binomial_chance(k, number, share) for k in range(most + 1))
