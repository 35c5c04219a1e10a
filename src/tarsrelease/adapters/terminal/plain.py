"""Progress as plain lines: for logs, CI and pipes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TextIO

from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Check, Status, deciding
from tarsrelease.report.results import count_statuses, show_observed, show_samples, show_weight

_CALM = 5.0  # seconds between two lines in which nothing has changed


class PlainProgress:
    """The port `Progress` on a stream: a line when a check changes, else one every few seconds."""

    def __init__(
        self,
        stream: TextIO,
        *,
        verbose: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`verbose` prints every evaluation."""
        self._stream = stream
        self._verbose = verbose
        self._monotonic = monotonic
        self._said_at = float("-inf")
        self._statuses: dict[tuple[str, str | None], Status] = {}
        self._stage = ""

    def say(self, line: str) -> None:
        """Print one line with the time (UTC)."""
        stamp = datetime.now(UTC).strftime("%H:%M:%S")
        self._stream.write(f"{stamp} {line}\n")
        self._stream.flush()

    def evaluated(
        self,
        stage: str,
        weight: int | None,
        elapsed: float,
        planned: float,
        *,
        checks: Iterable[Check],
    ) -> None:
        """Print the evaluation if something changed, or a few seconds after the last line."""
        checks = tuple(checks)
        if stage != self._stage:
            self._stage, self._statuses, self._said_at = stage, {}, float("-inf")
        now = {(check.id, check.service): check.status for check in checks}
        changed = [check for check in checks if self._news(check)]
        self._statuses = now
        if changed or self._verbose or self._monotonic() - self._said_at >= _CALM:
            self._said_at = self._monotonic()
            self.say(_look_line(stage, weight, elapsed, planned, checks))
            for check in changed:
                self.say(f"  {_change_line(check)}")

    def _news(self, check: Check) -> bool:
        """Whether a result turned bad or unmeasurable, or recovered."""
        before = self._statuses.get((check.id, check.service), Status.PASS)
        worrying = (Status.FAIL, Status.ERROR)
        return before is not check.status and (before in worrying or check.status in worrying)

    def paused(self) -> AbstractContextManager[None]:
        """Lines need no pause: nothing is redrawn."""
        return nullcontext()

    def close(self) -> None:
        """Lines need no end."""


def _look_line(
    stage: str,
    weight: int | None,
    elapsed: float,
    planned: float,
    checks: tuple[Check, ...],
) -> str:
    made = deciding(checks)
    waiting = [check for check in made if check.status is Status.INCONCLUSIVE and check.needed]
    least = min(waiting, key=lambda check: (check.samples or 0) / (check.needed or 1), default=None)
    line = (
        f"{stage}: {show_weight(weight)}, {duration(elapsed)} of {duration(planned)}: "
        f"{count_statuses(checks)}"
    )
    if least is not None:
        whose = f" of {least.service}" if least.service else ""
        line += f" ({least.id}{whose} has {show_samples(least)} requests)"
    return line


def _change_line(check: Check) -> str:
    whose = f" of {check.service}" if check.service else ""
    line = (
        f"{check.label.upper()} {check.id}{whose}: {show_observed(check.observed)}, "
        f"limit {check.expected}"
    )
    # The verdict of a failed check says its reason.
    return line if check.status is Status.FAIL and not check.advisory else f"{line}: {check.reason}"
