"""Progress on a terminal: a live panel of the stage, lines above it. The only file with rich."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import RLock
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Check, Observed, Status, deciding
from tarsrelease.report.results import (
    MARKS,
    count_statuses,
    show_observed,
    show_samples,
    show_weight,
)
from tarsrelease.report.rows import ordered
from tarsrelease.report.sparkline import sparkline

_LOOKS = 16  # bars in a sparkline
_STYLES = {
    Status.PASS: "green",
    Status.FAIL: "bold red",
    Status.INCONCLUSIVE: "yellow",
    Status.ERROR: "magenta",
    Status.SKIPPED: "dim",
}
_FRESH = 10.0  # seconds after an evaluation for which the panel's clock keeps running


class StagePanel:
    """What is known of the stage; drawn anew by rich several times a second."""

    def __init__(self, stage: str, weight: int | None, monotonic: Callable[[], float]) -> None:
        self.stage = stage
        self.weight = weight
        self.checks: tuple[Check, ...] = ()
        self.elapsed = 0.0
        self.planned = 0.0
        self._monotonic = monotonic
        self._at = monotonic()
        self._history: dict[tuple[str, str | None], deque[float | None]] = defaultdict(
            lambda: deque(maxlen=_LOOKS)
        )

    def evaluated(self, elapsed: float, planned: float, checks: tuple[Check, ...]) -> None:
        """Take over the results of an evaluation."""
        self.elapsed, self.planned, self.checks = elapsed, planned, checks
        self._at = self._monotonic()
        for check in checks:
            self._history[check.id, check.service].append(bar_height(check.observed))

    @property
    def decided(self) -> bool:
        """Whether the last evaluation may end the stage: time is over, or a check failed."""
        failed = any(check.status is Status.FAIL for check in deciding(self.checks))
        return failed or self.elapsed >= self.planned

    def summary(self) -> str:
        """The line that stays on the screen."""
        return (
            f"{self.stage}: {show_weight(self.weight)}, {duration(self.elapsed)}: "
            f"{count_statuses(self.checks)}"
        )

    def __rich__(self) -> Panel:
        """Panel of the time left and the checks, the most severe first."""
        since = min(self._monotonic() - self._at, _FRESH)
        now = self.elapsed + since
        left = round(self.planned - now)
        over = "extended: waiting for requests" if left < 0 else f"{duration(left)} left"
        clock = Table.grid(padding=(0, 2), expand=True)
        clock.add_column(ratio=1)
        clock.add_column(justify="right")
        clock.add_row(
            ProgressBar(total=max(self.planned, 0.1), completed=min(now, self.planned)),
            Text(f"{duration(round(now))} of {duration(self.planned)}, {over}"),
        )
        title = f"{self.stage} · {show_weight(self.weight)} on the canary"
        return Panel(Group(clock, self._table()), title=title, title_align="left")

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 1), expand=False)
        for heading in ("", "check", "of", "observed", "limit", "requests", "last looks"):
            table.add_column(heading, no_wrap=True, header_style="dim")
        for check in ordered(self.checks):
            table.add_row(
                Text(MARKS[check.status], style=_STYLES[check.status]),
                Text(
                    _name(check),
                    style=_STYLES[check.status],
                ),
                check.service or "",
                Text(show_observed(check.observed)),
                Text(check.expected),
                show_samples(check),
                sparkline(tuple(self._history[check.id, check.service])),
            )
        return table


def _name(check: Check) -> str:
    return f"{check.id} (advisory)" if check.advisory else check.id


def bar_height(observed: Observed | None) -> float | None:
    """What a bar shows: a share of bad requests (of the rest, where good ones are counted) or
    bytes; nothing else has a course worth a bar."""
    if observed is None or isinstance(observed.value, str) or observed.value is None:
        return None
    if observed.unit == "share":
        return 1 - observed.value if observed.value > 0.5 else observed.value
    return observed.value if observed.unit == "bytes" else None


class LiveProgress:
    """The port `Progress` on a terminal.

    While a person is asked, another thread keeps evaluating, and nothing is drawn.
    """

    def __init__(self, stream: TextIO, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.console = Console(file=stream, highlight=False)
        self._monotonic = monotonic
        self._live: Live | None = None
        self._panel: StagePanel | None = None
        self._asking = False
        self._lock = RLock()

    def say(self, line: str) -> None:
        """A line with the local time, above the panel; after a stage's end, instead of it."""
        with self._lock:
            if self._panel is not None and self._panel.decided:
                self._take_away()
            stamp = datetime.now().astimezone().strftime("%H:%M:%S")
            self.console.print(Text.assemble((f"{stamp} ", "dim"), line))

    def evaluated(
        self,
        stage: str,
        weight: int | None,
        elapsed: float,
        planned: float,
        *,
        checks: Iterable[Check],
    ) -> None:
        """Draw the evaluation; a new stage gets a new panel."""
        with self._lock:
            if self._panel is None or self._panel.stage != stage:
                self._take_away()
                self._panel = StagePanel(stage, weight, self._monotonic)
            self._panel.evaluated(elapsed, planned, tuple(checks))
            if not self._asking:
                self._draw(self._panel)

    def _draw(self, panel: StagePanel) -> None:
        if self._live is None:
            self._live = Live(
                panel,
                console=self.console,
                refresh_per_second=4,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._live.refresh()

    def _take_away(self) -> None:
        """Remove the panel, leaving a line; one that was never drawn leaves none."""
        panel, self._panel = self._panel, None
        if self._live is not None:
            self._live.stop()
            self._live = None
            if panel is not None:
                self.say(panel.summary())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the panel away while somebody is asked."""
        with self._lock:
            self._take_away()
            self._asking = True
        try:
            yield
        finally:
            self._asking = False

    def close(self) -> None:
        """Leave the terminal as it was found."""
        with self._lock:
            self._take_away()
