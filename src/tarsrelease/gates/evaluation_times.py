"""When to evaluate next: evaluations follow the scrapes."""

from __future__ import annotations

from collections.abc import Iterable

LAG = 0.1
"""Seconds from a scrape's time until its samples can be read: the scrape and its commit."""

TICK = 1.0
"""The longest time between two readings of the pods, in seconds."""


def shortest(scrape_interval: float) -> float:
    """The shortest time between two queries: a quarter second at a scrape every 5 s."""
    return max(0.2, scrape_interval / 20)


SOON = 10.0
"""Seconds after a shift in which the pods' own pages are read twice as often: when a release that
fails altogether costs most."""


def due_directly(interval: float, asked_at: float, shift: float) -> float:
    """When to read the pods' own pages again (Unix time), which were read at `asked_at`."""
    return asked_at + (interval / 2 if asked_at < shift + SOON else interval)


def due(newest: Iterable[float], scrape_interval: float, asked_at: float) -> float:
    """When to ask the metrics server again (Unix time, its clock).

    `newest` are the newest sample times of the judged side's targets, `asked_at` the time of the
    last query. The next scrape of a target comes an interval after its newest one; one that is
    overdue is polled in short steps. The server is queried at least every tenth of an interval,
    because the first scrape of a new pod cannot be predicted.
    """
    soonest = asked_at + shortest(scrape_interval)
    latest = asked_at + max(2 * shortest(scrape_interval), scrape_interval / 10)
    expected = [time + scrape_interval + LAG for time in newest]
    if any(0 <= asked_at - time <= TICK for time in expected):
        return soonest
    upcoming = [time for time in expected if time > asked_at]
    return min(max(min(upcoming, default=latest), soonest), latest)
