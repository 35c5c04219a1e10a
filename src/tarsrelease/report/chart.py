"""A stage's measurements over time as charts that GitHub renders (Mermaid's xychart)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tarsrelease.model.details import Point
from tarsrelease.model.outcome import Outcome

_MOST = 30
"""Points of a line; more only make labels overlap."""


def history_charts(outcome: Outcome) -> Iterator[str]:
    """One chart per check on a share, one line per service, in percent over seconds."""
    points = _thinned(outcome.details.history)
    shares: dict[str, list[str]] = {}
    advisory = {check.id for check in outcome.checks if check.advisory}
    for check in outcome.checks:
        if check.observed is not None and check.observed.unit == "share":
            key = f"{check.id}/{check.service}" if check.service else check.id
            shares.setdefault(check.id, []).append(key)
    for check_id, keys in shares.items():
        drawn = [key for key in keys if sum(key in point.values for point in points) > 1]
        if drawn:
            title = f"{check_id} (advisory)" if check_id in advisory else check_id
            yield _chart(title, drawn, points)


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """The points, thinned evenly; the last one is kept."""
    every = -(-len(points) // _MOST) or 1
    return points[::-1][::every][::-1]


def _chart(title: str, keys: Sequence[str], points: Sequence[Point]) -> str:
    drawn = [point for point in points if all(key in point.values for key in keys)]
    lines = [[100 * point.values[key] for point in drawn] for key in keys]
    services = ", ".join(key.partition("/")[2] or key for key in keys)
    top = max([value for line in lines for value in line], default=0.0) or 1.0
    seconds = ", ".join(f'"{point.elapsed:.0f}"' for point in drawn)
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta",
            f'  title "{title} in percent: {services}"',
            f'  x-axis "seconds since the shift" [{seconds}]',
            f'  y-axis "percent" 0 --> {top:.4g}',
            *(f"  line [{', '.join(f'{value:.4g}' for value in line)}]" for line in lines),
            "```",
            "",
        ]
    )
