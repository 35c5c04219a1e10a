"""Time."""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime
from typing import Protocol, TypeVar

T = TypeVar("T")
Task = Generator[float, None, T]
"""Does what is due, yields the seconds until it wants to go on, and returns its result."""


class Clock(Protocol):
    """Time; tests use a virtual clock."""

    def now(self) -> datetime:
        """The current time, in UTC."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
