"""Time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time, so that steps can be played on a virtual clock."""

    def now(self) -> datetime:
        """The present, in UTC."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
