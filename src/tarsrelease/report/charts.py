"""Charts that GitHub and a terminal can show: Mermaid's xychart, and bars of text."""

from __future__ import annotations

from collections.abc import Sequence

Points = Sequence[tuple[float, float]]
"""(seconds, value), in order."""

_BARS = "▁▂▃▄▅▆▇█"
_MOST = 40


def thinned(points: Points, most: int = _MOST) -> list[tuple[float, float]]:
    """At most `most` of the points, the last one among them."""
    every = -(-len(points) // most) if points else 1
    return list(points[::-1][::every][::-1])


def text_chart(points: Points) -> str:
    """One bar a point, from 0 to the highest value."""
    shown = thinned(points)
    top = max((value for _, value in shown), default=0.0)
    if top <= 0:
        return _BARS[0] * len(shown)
    last = len(_BARS) - 1
    return "".join(_BARS[min(last, max(0, round(value / top * last)))] for _, value in shown)


def mermaid_chart(title: str, unit: str, points: Points, limit: float | None) -> list[str]:
    """A fenced ``xychart-beta`` of the points, with a line at the limit if there is one."""
    shown = thinned(points)
    top = max([value for _, value in shown] + ([limit] if limit is not None else [])) or 1.0
    lines = [
        "```mermaid",
        "xychart-beta",
        f'  title "{title.replace(chr(34), "")}"',
        f'  x-axis "seconds since the shift" {shown[0][0]:.0f} --> {max(shown[-1][0], 1):.0f}',
        f'  y-axis "{unit}" 0 --> {top * 1.1:.6g}',
        f"  line [{', '.join(f'{value:.6g}' for _, value in shown)}]",
    ]
    if limit is not None:
        lines.append(f"  line [{', '.join([f'{limit:.6g}'] * len(shown))}]")
    return [*lines, "```"]
