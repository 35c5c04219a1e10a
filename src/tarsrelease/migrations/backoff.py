"""How long to wait before the next attempt to get a lock."""

from __future__ import annotations

_FIRST = 0.5
_LONGEST = 30.0


def pause(attempt: int, random: float) -> float:
    """Seconds before the next attempt; `attempt` counts from 1, `random` is in [0, 1).

    It doubles each time, up to 30 s, with a jitter of 50 % in both directions.
    """
    return min(_LONGEST, _FIRST * 2.0 ** (attempt - 1)) * (0.5 + random)
