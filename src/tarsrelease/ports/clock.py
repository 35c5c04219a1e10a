"""Time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time; tests use a virtual clock."""

    def now(self) -> datetime:
        """The current time, in UTC."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
