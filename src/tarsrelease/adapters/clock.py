"""The machine's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from threading import Event


class SystemClock:
    """Real time, in UTC."""

    def now(self) -> datetime:
        """The current time, in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`, at once if not positive."""
        time.sleep(max(0.0, seconds))


class InterruptibleClock(SystemClock):
    """Real time in a thread that another thread may interrupt: Ctrl-C reaches only the main one."""

    def __init__(self, interrupted: Event) -> None:
        self._interrupted = interrupted
        self._raised = False

    def sleep(self, seconds: float) -> None:
        """As `SystemClock.sleep`; raises KeyboardInterrupt, once, as soon as the event is set."""
        if self._raised:
            super().sleep(seconds)  # what cleans up after the interrupt must be able to wait
        elif self._interrupted.wait(max(0.0, seconds)):
            self._raised = True
            raise KeyboardInterrupt
