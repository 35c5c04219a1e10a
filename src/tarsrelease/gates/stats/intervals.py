"""Confidence intervals for people. The gates decide by e-processes, not by these."""

from __future__ import annotations

from math import sqrt

from tarsrelease.gates.study.replay import interval


def difference_of_shares(
    ours: tuple[float, float], theirs: tuple[float, float]
) -> tuple[float, float]:
    """A 95 % interval for our share less theirs; each is (bad, total), with a total above 0.

    From Wilson's intervals of both (Newcombe 1998, method 10).
    """
    first, second = ours[0] / ours[1], theirs[0] / theirs[1]
    low1, high1 = interval(round(ours[0]), round(ours[1]))
    low2, high2 = interval(round(theirs[0]), round(theirs[1]))
    return (
        first - second - sqrt((first - low1) ** 2 + (high2 - second) ** 2),
        first - second + sqrt((high1 - first) ** 2 + (second - low2) ** 2),
    )
