"""What a slower release would have done to recorded requests, from their histogram.

An SLI whose good requests are one bucket of a histogram (``le="0.12"``) counts those within T
seconds. Were every request `a` times as slow and `b` seconds slower, good would be those that had
taken at most (T - b) / a. How many that were is read from the two bounds around it, taking the
requests of a bucket as spread evenly over it: the assumption of Prometheus' histogram_quantile.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tarsrelease.model import promql

_LE = re.compile(r'\ble\s*=\s*"([^"]+)"')

Slots = Sequence[tuple[float, float]]
"""Requests slower than a bound, and all requests, one entry a slot."""


@dataclass(frozen=True, slots=True)
class Slowing:
    """Every request takes `times` as long, and `plus` seconds more."""

    name: str
    times: float = 1.0
    plus: float = 0.0

    def before(self, limit: float) -> float:
        """How long a request may have taken that now takes `limit` seconds; below 0: none."""
        return (limit - self.plus) / self.times


SLOWINGS = (Slowing("20 ms slower", plus=0.020), Slowing("half as slow again", times=1.5))


def bound_of(good: str) -> float | None:
    """The bound, in seconds, of a selector of one bucket; None for any other selector."""
    match = None if promql.native_bound(good) is not None else _LE.search(good)
    try:
        return None if match is None else float(match[1])
    except ValueError:
        return None


def every_bound(good: str) -> str:
    """The selector of all buckets of the same histogram."""
    return _LE.sub('le=~".+"', good)


def at_bound(good: str, le: str) -> str:
    """The selector of another bucket of the same histogram; `le` as its label has it."""
    return _LE.sub(lambda _match: f'le="{le}"', good)


def around(bounds: Iterable[str], at: float) -> tuple[str, ...]:
    """The labels of the bounds just below and above; one where `at` is a bound or none is below.

    None at all where no request can have been as fast as that, or the histogram has no bounds.
    """
    known = {float(le): le for le in bounds}
    ordered = sorted(known)
    if at <= 0 or not ordered:
        return ()
    place = min(bisect_left(ordered, at), len(ordered) - 1)
    if place == 0 or ordered[place] == at:
        return (known[ordered[place]],)
    return known[ordered[place - 1]], known[ordered[place]]


def kept(slots: Slots, by_bound: Mapping[str, Slots], at: float) -> list[float]:
    """Of each slot's good requests, the share that took at most `at` seconds.

    `slots` are at the SLI's own bound, `by_bound` at those `around` it; 0 is the lowest bound of
    all, where no request is. A slot without good requests keeps none.
    """
    points = sorted((float(le), found) for le, found in by_bound.items())
    shares = []
    for number, (slower, total) in enumerate(slots):
        good = total - slower
        within = [(0.0, 0.0)] + [(le, found[number][1] - found[number][0]) for le, found in points]
        fast = _between(within, at) if points else 0.0
        shares.append(min(1.0, max(0.0, fast / good)) if good > 0 else 0.0)
    return shares


def _between(within: Sequence[tuple[float, float]], at: float) -> float:
    (low, few), (high, many) = within[-2:]
    if at >= high or high == float("inf"):  # nothing is known beyond the last finite bound
        return many if at >= high else few
    return few + (many - few) * max(0.0, at - low) / (high - low)
