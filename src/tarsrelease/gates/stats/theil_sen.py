"""A slope that outliers do not move: the median of all pairs' slopes (Theil 1950, Sen 1968)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

_MOST = 300
"""Points; more are thinned evenly, as the pairs grow with their square."""


def theil_sen(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """(slope, value at x = 0) of the points (x, y); None with fewer than two different x.

    Up to 29 % of the points may be anywhere.
    """
    every = -(-len(points) // _MOST) or 1
    kept = points[::every]
    slopes = [
        (y - before) / (x - at)
        for number, (x, y) in enumerate(kept)
        for at, before in kept[:number]
        if x != at
    ]
    if not slopes:
        return None
    slope = median(slopes)
    return slope, median(y - slope * x for x, y in kept)
