"""The chance that a stage proves a regression with its traffic, by evaluation.

Requests are taken as a Poisson process, so the bad ones of an evaluation are Poisson distributed
(rate times share); the total is taken at its mean. Given the totals, a proof is a boundary: the
smallest number of bad requests that proves the limit broken at each evaluation. The chance to be
below it at every evaluation so far follows exactly, by adding the evaluations' distributions one
after the other and dropping what crosses (as for group-sequential designs: Armitage, McPherson and
Rowe, 1969).
"""

from __future__ import annotations

from itertools import accumulate
from math import exp, inf, lgamma, log, sqrt

from tarsrelease.gates.stats.sequential_test import log_evidence_above, proof_needs

_NEGLIGIBLE = 1e-10
_MOST_EVALUATIONS = 40
"""More evaluations than this are taken together: the result is then a little too careful."""


def fewest_bad(total: float, limit: float, alpha: float, least: int = 0) -> float:
    """The smallest number of bad requests among `total` that proves `limit` broken.

    At least `least` (a number known to be too small, or 0); inf where not even all of them do.
    """
    needs, high = proof_needs(alpha), int(total)
    if high < 1 or log_evidence_above(high, total, limit) < needs:
        return inf
    low = min(least, high)
    while low < high:
        middle = (low + high) // 2
        if log_evidence_above(middle, total, limit) >= needs:
            high = middle
        else:
            low = middle + 1
    return high


def detection(
    rate: float, share: float, limit: float, alpha: float, *, seconds: float, interval: float
) -> tuple[tuple[float, float], ...]:
    """(seconds, chance that the limit is proven broken by then), rising, one entry an evaluation.

    `rate` is in requests a second, `share` the share of them that is bad, `interval` seconds lie
    between evaluations. No evaluations or no requests: the chance is 0 at `seconds`.
    """
    looks = min(int(seconds // interval), _MOST_EVALUATIONS)
    if looks < 1 or rate <= 0:
        return ((seconds, 0.0),)
    each = seconds / looks
    fresh = _poisson(rate * each * share)
    below: dict[int, float] = {0: 1.0}
    bound, found = 0.0, []
    for look in range(1, looks + 1):
        total = rate * each * look
        bound = fewest_bad(total, limit, alpha, int(bound) if bound < inf else 0)
        after: dict[int, float] = {}
        for bad, chance in below.items():
            if chance < _NEGLIGIBLE:
                continue
            for more, likely in fresh:
                if bad + more >= bound:
                    break
                after[bad + more] = after.get(bad + more, 0.0) + chance * likely
        below = after
        found.append((each * look, 1.0 - min(1.0, sum(below.values()))))
    rising = accumulate((chance for _, chance in found), max)
    return tuple((at, chance) for (at, _), chance in zip(found, rising, strict=True))


def time_to(curve: tuple[tuple[float, float], ...], chance: float) -> float | None:
    """The first time at which the curve reaches `chance`; None where it never does."""
    return next((at for at, reached in curve if reached >= chance), None)


def _poisson(mean: float) -> list[tuple[int, float]]:
    """Numbers and their chances, ascending, without the negligible ones."""
    if mean <= 0:
        return [(0, 1.0)]
    width = 8 * sqrt(mean) + 12
    span = range(max(0, int(mean - width)), int(mean + width) + 1)
    return [(k, exp(k * log(mean) - mean - lgamma(k + 1))) for k in span]
