"""How long to stay away from a lock that somebody else needs."""

from __future__ import annotations

_FIRST = 0.5
_LONGEST = 30.0


def pause(attempt: int, random: float) -> float:
    """Seconds before the next attempt; `attempt` counts from 1, `random` is in [0, 1).

    Twice as long each time, up to 30 s, and then between half and one and a half of it, so that
    several that gave way at once do not come back at once.
    """
    return min(_LONGEST, _FIRST * 2.0 ** (attempt - 1)) * (0.5 + random)
