"""Line plots as one SVG file, readable in dark mode and on paper; no library needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from math import ceil, floor, log10

Points = Sequence[tuple[float, float | None]]
"""(Unix time, value) in order; None leaves a gap."""

WIDTH, HEIGHT = 900, 190
"""Of one panel, in pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 16, 42, 26
_LABEL = 60
"""Half the width of a mark's label."""
_CHARACTER = 6.5
"""The width of a character of a label, in pixels."""
_COLOURS = ("#1f77b4", "#d95f02", "#2ca02c", "#9467bd", "#8c564b", "#17becf")
_STYLE = """
svg { background: #ffffff; color: #222222; font: 12px system-ui, sans-serif }
text { fill: currentColor } .title { font-weight: 600; font-size: 13px }
.grid { stroke: currentColor; opacity: .15 } .limit { stroke: #c0392b; stroke-dasharray: 6 4 }
.limit-text { fill: #c0392b } .line { fill: none; stroke-width: 1.6 }
@media (prefers-color-scheme: dark) {
 svg { background: #16181d; color: #e4e4e4 }
 .limit { stroke: #ff7b6b } .limit-text { fill: #ff7b6b } }
@media print { svg { background: #ffffff; color: #000000 } }
"""


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: lines by name, and a limit where there is one."""

    title: str
    unit: str
    lines: dict[str, Points]
    limit: float | None = None


def svg(title: str, panels: Sequence[Panel], marks: Sequence[tuple[float, str]] = ()) -> str:
    """The panels below each other over a common time axis; `marks` are labelled moments."""
    times = [time for panel in panels for points in panel.lines.values() for time, _ in points]
    begin, end = min(times, default=0.0), max(times, default=1.0)
    end = end if end > begin else begin + 1
    height = 40 + HEIGHT * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<text class="title" x="{_LEFT}" y="22">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate(0 {34 + number * HEIGHT})">')
        parts += _panel(panel, begin, end, marks)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    panel: Panel, begin: float, end: float, marks: Sequence[tuple[float, str]]
) -> Iterator[str]:
    values = [value for points in panel.lines.values() for _, value in points if value is not None]
    low, high = _range([*values, *([] if panel.limit is None else [panel.limit])])
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def x(time: float) -> str:
        return f"{_LEFT + width * (time - begin) / (end - begin):.1f}"

    def y(value: float) -> str:
        return f"{_TOP + height * (1 - (value - low) / (high - low)):.1f}"

    yield f'<text class="title" x="{_LEFT}" y="20">{escape(panel.title)}</text>'
    for value in _ticks(low, high):
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value)}" '
        yield f'y2="{y(value)}"/><text x="{_LEFT - 6}" y="{float(y(value)) + 4:.1f}" '
        yield f'text-anchor="end">{value:.6g} {escape(panel.unit)}</text>'
    for part in range(5):
        time = begin + (end - begin) * part / 4
        shown = datetime.fromtimestamp(time, UTC)
        form = "%H:%M:%S" if end - begin < 1800 else "%H:%M" if end - begin < 2e5 else "%d %b"
        anchor = ("start", "middle", "middle", "middle", "end")[part]
        yield f'<text x="{x(time)}" y="{HEIGHT - 8}" text-anchor="{anchor}">{shown:{form}}</text>'
    left = float(WIDTH)
    for time, label in sorted(marks, reverse=True):
        if not begin <= time <= end:
            continue
        yield f'<line class="grid" style="opacity:.5" x1="{x(time)}" x2="{x(time)}" '
        yield f'y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
        anchor, long = _anchor(float(x(time))), _CHARACTER * len(label)
        begins = float(x(time)) - {"start": 0, "middle": long / 2, "end": long}[anchor]
        if begins + long > left:
            continue  # its label would cover that of a later mark
        left = begins - _CHARACTER
        yield f'<text x="{x(time)}" y="{_TOP - 5}" text-anchor="{anchor}">{escape(label)}</text>'
    if panel.limit is not None:
        at = y(panel.limit)
        yield f'<line class="limit" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>'
        yield f'<text class="limit-text" x="{WIDTH - _RIGHT}" y="{float(at) - 4:.1f}" '
        yield f'text-anchor="end">target {panel.limit:g} {escape(panel.unit)}</text>'
    for number, (name, points) in enumerate(panel.lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        for piece in _pieces(points):
            path = " ".join(f"{x(time)},{y(value)}" for time, value in piece)
            yield f'<polyline class="line" stroke="{colour}" points="{path}"/>'
            if len(piece) == 1:
                time, value = piece[0]
                yield f'<circle cx="{x(time)}" cy="{y(value)}" r="2.5" fill="{colour}"/>'
        if len(panel.lines) > 1:
            right = WIDTH - _RIGHT - 150 * (len(panel.lines) - number - 1)
            yield f'<text x="{right}" y="20" text-anchor="end" style="fill:{colour}">'
            yield f"{escape(name)}</text>"
    if not values:
        yield f'<text x="{WIDTH // 2}" y="{HEIGHT // 2}" text-anchor="middle">not measured</text>'


def _anchor(x: float) -> str:
    """Keeps a label within the plot."""
    if x < _LEFT + _LABEL:
        return "start"
    return "end" if x > WIDTH - _RIGHT - _LABEL else "middle"


def _pieces(points: Points) -> Iterator[list[tuple[float, float]]]:
    """The points without gaps between them."""
    piece: list[tuple[float, float]] = []
    for time, value in points:
        if value is not None:
            piece.append((time, value))
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The axis: all values with some space; from 0 where that is not far below them."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if 0 <= low <= 0.7 * high:
        low = 0.0
    space = 0.1 * (high - low) or abs(high) * 0.01 or 1.0
    return (low if low == 0 else low - space), high + space


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round values within the axis."""
    rough = (high - low) / 4
    unit = 10.0 ** floor(log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [step * number for number in range(ceil(low / step), floor(high / step) + 1)]
