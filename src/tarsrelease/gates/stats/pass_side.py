"""When counts are good enough to pass, and how often a bad canary passes all the same.

A stage passes on the estimate: the share of bad requests is within the limit. A canary at twice the
limit (TWICE) sometimes has such an estimate, above all where it is asked again at every evaluation
of an extension. So the estimate must also be unlikely for it: the chance that it has so few bad
requests is at most a part of the error that is allowed. Then the chance that it passes at
any evaluation, from the first one with enough requests on, stays within the whole error: a random
walk with an upward drift seldom comes back. `passes` computes it exactly (Poisson counts; a
binomial varies less); a test compares it with simulated stages.
"""

from __future__ import annotations

from functools import cache
from math import ceil, erfc, exp, inf, lgamma, log, log1p, sqrt

TWICE = 2.0
"""The canary that the error is stated for: that many times the limit."""

_SURE = 25.0
"""Bad requests expected at the limit from which on a share within it rules out twice the limit."""
_STEP = 0.05
_UNTIL = 40.0


def _nominal(error: float) -> float:
    """What one evaluation may spend; over all of them it adds up to no more than `error`."""
    return error * (0.25 if error >= 0.05 else 0.18)


def requests_to_pass(bad: float, limit: float, error: float) -> int:
    """The smallest number of requests that passes with this many bad ones.

    `error` is the chance that a canary at twice the limit passes at all.
    """
    least = bad / limit
    if bad >= _SURE:
        return int(least) + 1
    mean = _highest_mean(bad, _nominal(error))
    return max(int(least) + 1, ceil(mean / (TWICE * limit) - 1e-9))


def allows(bad: float, total: float, limit: float, error: float) -> bool:
    """Whether twice the limit is unlikely enough after these counts (the estimate aside)."""
    return bad >= _SURE or TWICE * limit * total >= _highest_mean(bad, _nominal(error)) * (1 - 1e-9)


def required_at(share: float, limit: float, error: float, sure: float = 0.9) -> float:
    """Requests after which a canary with this share of bad ones passes with the chance `sure`.

    inf where it cannot: its share is not below the limit.
    """
    if share >= limit:
        return inf
    total = float(requests_to_pass(0, limit, error))
    while requests_to_pass(poisson_quantile(share * total, sure), limit, error) > total:
        total *= 1.02
        if total * limit > 1e6:
            return inf
    return ceil(total)


def passes(times: float, error: float, confidence: float = 0.95, until: float = _UNTIL) -> float:
    """The chance that a canary at `times` the limit passes at any of infinitely many evaluations.

    From the requests that an error-free canary needs (`required_requests` at `confidence`) until
    `until` bad requests are expected at the limit.
    """
    at = max(-log(1 - confidence), _highest_mean(0, _nominal(error)) / TWICE)
    chances = dict(_poisson(times * at))
    more = _poisson(times * _STEP)
    passed = 0.0
    while at < until:
        after: dict[int, float] = {}
        for bad, chance in chances.items():
            if bad < at and allows(bad, at, 1.0, error):
                passed += chance
                continue
            for fresh, likely in more:
                after[bad + fresh] = after.get(bad + fresh, 0.0) + chance * likely
        chances = {bad: chance for bad, chance in after.items() if chance > 1e-12}
        at += _STEP
    return passed


@cache
def _highest_mean(bad: float, chance: float) -> float:
    """The Poisson mean at which this few or fewer have that chance; more expected, less likely."""
    low, high = 0.0, 10.0 * (bad + 10.0)
    for _ in range(60):
        middle = (low + high) / 2
        if at_most(int(bad), middle) > chance:
            low = middle
        else:
            high = middle
    return high


def at_most(bad: int, mean: float) -> float:
    """The chance of at most `bad` events where `mean` are expected (Poisson)."""
    if mean <= 0:
        return 1.0
    return sum(exp(k * log(mean) - mean - lgamma(k + 1)) for k in range(bad + 1))


def poisson_quantile(mean: float, sure: float) -> int:
    """The fewest events that are not exceeded with the chance `sure`; at most 10 000."""
    reached, bad = exp(-mean), 0
    term = reached
    while reached < sure and bad < 10_000:
        bad += 1
        term *= mean / bad
        reached += term
    return bad


def _poisson(mean: float) -> list[tuple[int, float]]:
    return [
        (k, exp(k * log(mean) - mean - lgamma(k + 1)))
        for k in range(int(mean + 8 * mean**0.5 + 12))
    ]


def log_tail(least: int, mean: float) -> float:
    """The log of the chance that a Poisson number with this mean is at least `least`.

    Never below the exact one; 0 (certain) from a mean of `least` on.
    """
    if least <= 0 or mean >= least:
        return 0.0
    if mean <= 0:
        return -inf
    total = term = 1.0
    number = least
    while term > 1e-12 * total:
        number += 1
        term *= mean / number
        total += term
    return min(0.0, least * log(mean) - mean - lgamma(least + 1) + log(total))


_EXACT = 2000


def tail(bad: float, total: float, share: float) -> float:
    """The chance of at least `bad` among `total` requests, each bad with the chance `share`.

    Exact up to some thousand requests; beyond them by the normal approximation with a correction
    for continuity, or Poisson's where few are expected.
    """
    least, number = ceil(bad - 1e-9), round(total)
    if least <= 0:
        return 1.0
    mean = number * share
    if number > _EXACT and mean < 200:
        return max(0.0, 1.0 - at_most(least - 1, mean))
    if number > _EXACT:
        deviation = sqrt(mean * (1 - share))
        return 0.5 * erfc((least - 0.5 - mean) / (deviation * sqrt(2)))
    return min(1.0, sum(binomial_chance(k, number, share) for k in range(least, number + 1)))


def binomial_chance(k: int, number: int, share: float) -> float:
    """The chance of exactly `k` among `number`, each with the chance `share` (not 0 or 1)."""
    ways = lgamma(number + 1) - lgamma(k + 1) - lgamma(number - k + 1)
    return exp(ways + k * log(share) + (number - k) * log1p(-share))
