"""How many requests a decision takes, and when the counts prove a limit broken (or kept).

The proof is an e-process: a bet against the null hypothesis whose expected capital never grows
while the null holds. By Ville's inequality the chance that it EVER reaches 1/alpha is at most
alpha, so a gate may evaluate after every scrape without spending more of its budget (Ville 1939;
Ramdas et al., "Game-theoretic statistics and safe anytime-valid inference", 2023).

The bet is a fixed mixture of likelihood ratios of alternatives q against the limit p0:
(q/p0)^bad ((1-q)/(1-p0))^good. For q > p0 its expected step is at most 1 for every p <= p0.
Alternatives are placed on the odds scale, so that one grid serves limits from 0.01 % to 50 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, exp, inf, log, log1p

from tarsrelease.gates.stats.bursts import Spread, binomial

ODDS_ABOVE = (1.001, 1.01, 1.05, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0)
"""Odds of the alternatives in multiples of the limit's odds. A bet on f grows where the true odds
are more than about (1 + f) / 2 times the limit's; so the grid begins just above 1, and any breach
is proven with enough requests. The large ones are for a canary that only fails."""

_ODDS_BELOW = (1 / 1.01, 1 / 1.05, 1 / 1.2, 1 / 1.5, 1 / 2, 1 / 3, 1 / 5, 1 / 10, 0.0)
"""The same below the limit; 0 is a canary that never fails."""


def required_requests(limit: float, confidence: float) -> int:
    """Requests after which an error-free result shows that the bad share is below `limit`.

    With the bad share at the limit, n requests without a bad one have the chance (1-limit)^n;
    this is the n that brings it to 1-confidence. Shares lie strictly between 0 and 1.
    """
    _strictly_inside("limit", limit)
    _strictly_inside("confidence", confidence)
    return ceil(log1p(-confidence) / log1p(-limit))


def log_evidence_above(bad: float, total: float, limit: float, spread: Spread = binomial) -> float:
    """Natural log of the evidence that the share of bad requests is above `limit`.

    Proof at chance `alpha` of a false alarm, over any number of evaluations: log(1/alpha) or more.
    `spread` tempers each alternative where bad requests do not come independently.
    """
    return log_mean(log_ratios_above(bad, total, limit, spread))


def log_ratios_above(
    bad: float, total: float, limit: float, spread: Spread = binomial
) -> tuple[float, ...]:
    """Natural log of the likelihood ratio of each alternative in ODDS_ABOVE against the limit."""
    return _log_ratios(bad, total, limit, ODDS_ABOVE, spread)


def log_evidence_below(bad: float, total: float, limit: float) -> float:
    """The mirror image: log of the evidence that the share of bad requests is below `limit`."""
    return log_mean(_log_ratios(bad, total, limit, _ODDS_BELOW, binomial))


def highest_share(bad: float, total: float, alpha: float) -> float:
    """An upper bound on the share of bad requests, at any number of evaluations, wrong with
    `alpha`.

    The smallest limit, to six digits, that the counts prove kept; 1 where they prove none.
    """
    needs, low, high = proof_needs(alpha), bad / total if total else 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if not low < middle < high or high - low < 1e-6 * high:
            break
        if log_evidence_below(bad, total, middle) >= needs:
            high = middle
        else:
            low = middle
    return high


def proof_needs(alpha: float) -> float:
    """The log evidence that is proof at chance `alpha` of a false alarm."""
    _strictly_inside("alpha", alpha)
    return -log(alpha)


def log_mean(ratios: Sequence[float]) -> float:
    """Natural log of the mean of what these are the logs of."""
    highest = max(ratios)
    return highest + log(sum(exp(each - highest) for each in ratios) / len(ratios))


def _log_ratios(
    bad: float, total: float, limit: float, odds: tuple[float, ...], spread: Spread
) -> tuple[float, ...]:
    _strictly_inside("limit", limit)
    if not 0 <= bad <= total < inf:
        raise ValueError(f"bad requests lie between 0 and their total, found {bad} of {total}")
    return tuple(_log_ratio(bad, total - bad, limit, factor) / spread(factor) for factor in odds)


def _log_ratio(bad: float, good: float, limit: float, factor: float) -> float:
    """log of (q/p0)^bad ((1-q)/(1-p0))^good, with odds(q) = factor x odds(p0).

    Then (1-q)/(1-p0) = 1/(1 + p0 (factor-1)) and q/p0 = factor times that.
    """
    shrink = log1p(limit * (factor - 1))
    if factor == 0:
        return -inf if bad else -good * shrink
    return bad * log(factor) - (bad + good) * shrink


def _strictly_inside(name: str, share: float) -> None:
    if not 0 < share < 1:
        raise ValueError(f"{name} lies strictly between 0 and 1, found {share}")
