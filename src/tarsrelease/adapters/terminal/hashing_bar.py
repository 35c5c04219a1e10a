"""A progress bar for hashing, shown only if it takes longer than a second."""

from __future__ import annotations

import threading
import time
from typing import TextIO

_PATIENCE = 1.0
_OFTEN = 0.2
_WIDTH = 24
_SELDOM = 10.0
"""Seconds between two lines without a terminal."""


class HashingBar:
    """A bar with bytes and rate on one line; without a terminal, a new line now and then."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._quiet = quiet
        self._lock = threading.Lock()
        self._began: float | None = None
        self._next = 0.0
        self._bytes = self._total = 0
        self._drawn = False

    def __enter__(self) -> HashingBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def expect(self, count: int) -> None:
        """`count` bytes more will be hashed."""
        with self._lock:
            self._total += count

    def hashed(self, count: int) -> None:
        """`count` bytes more; called by several threads, and never the one to fail."""
        if self._quiet:
            return
        with self._lock:
            now = time.monotonic()
            if self._began is None:
                self._began, self._next = now, now + _PATIENCE
            self._bytes += count
            if now >= self._next:
                self._next = now + (_OFTEN if self._live else _SELDOM)
                self._show(now - self._began)

    def _show(self, seconds: float) -> None:
        rate = self._bytes / seconds / 1e9
        share = min(1.0, self._bytes / max(1, self._total))
        bar = "█" * round(share * _WIDTH) + "░" * (_WIDTH - round(share * _WIDTH))
        done = f"{self._bytes / 1e9:.1f} of {self._total / 1e9:.1f} GB"
        line = f"SHA-256 {bar} {share:4.0%}  {done}, {rate:.2f} GB/s"
        self._drawn = True
        try:
            self._stream.write(f"\r{line}\033[K" if self._live else line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # the reader has closed the stream
            self._quiet = True

    def close(self) -> None:
        """Clear the line."""
        if self._drawn and self._live and not self._quiet:
            self._stream.write("\r\033[K")
            self._stream.flush()
