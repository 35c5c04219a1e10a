"""A line of small bars."""

from __future__ import annotations

from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], top: float | None = None) -> str:
    """One bar a value, from 0 to the largest (or `top`, where that is larger); gaps are spaces."""
    known = [value for value in values if value is not None]
    highest = max([*known, top or 0.0], default=0.0)
    if highest <= 0:
        return "".join(" " if value is None else _BARS[0] for value in values)
    return "".join(
        " " if value is None else _BARS[round(max(0.0, value) / highest * (len(_BARS) - 1))]
        for value in values
    )
