"""How the reset of a counter is handled, wherever counters are read."""

from __future__ import annotations


def rise(before: float, now: float) -> float:
    """What a counter gained from one sample to the next. A drop is a reset: `now` counts whole."""
    return now if now < before else now - before
