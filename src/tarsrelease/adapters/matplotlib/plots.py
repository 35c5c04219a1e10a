"""Plots as SVG or PNG, by matplotlib (extra ``[plots]``), which is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tarsrelease.model.errors import UsageError

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of axes: lines by name, and a limit where there is one."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Points]
    limit: float | None = None
    logarithmic: bool = False


def draw(path: Path, title: str, panels: Sequence[Panel]) -> None:
    """Write the panels, one under the other, into a .svg or .png file.

    Raises UsageError for another ending, a file that cannot be written, or without matplotlib.
    """
    doing = f"drawing {path}"
    if path.suffix not in {".svg", ".png"} or not panels:
        raise UsageError(
            doing=doing,
            found=f"the ending {path.suffix or '(none)'}" if panels else "nothing to draw",
            expected="a file that ends in .svg or .png, and recorded evaluations",
            next_step="use a name that ends in .svg or .png",
        )
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            doing=doing,
            found=f"matplotlib is not installed ({error})",
            expected="the extra [plots]",
            next_step="pip install 'tarsrelease[plots]', or use --format markdown",
        ) from error
    figure = Figure(figsize=(9, 2.6 * len(panels) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for panel, axes in zip(panels, figure.subplots(len(panels), squeeze=False)[:, 0], strict=True):
        for name, points in panel.lines.items():
            axes.plot(
                [x for x, _ in points], [y for _, y in points], label=name, marker=".", markersize=3
            )
        if panel.limit is not None:
            axes.axhline(panel.limit, color="red", linestyle="--", linewidth=1, label="limit")
        if panel.logarithmic:
            axes.set_xscale("log")
        axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize="small")
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise UsageError(
            doing=doing,
            found=str(error),
            expected="a folder that can be written",
            next_step="choose another path",
        ) from error
