"""A connection whose every wait for the server ends, also if the server sends a byte at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import psycopg

from tarsrelease.model.format import duration

GRACE = 10.0
"""Seconds beyond the server's own statement_timeout until the connection is given up."""


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """`patience` is the longest wait for one answer in seconds; after it the connection is closed.

    The server's statement_timeout ends what a server in order does; this ends a wait for one that
    is not, or for a proxy before it.
    """

    patience = GRACE

    def wait(
        self,
        gen: Generator[Any, Any, Any],
        interval: float = 0.1,
        timeout: float | None = None,
    ) -> Any:
        """Wait for an answer. Raises psycopg.OperationalError without SQLSTATE after `patience`."""
        longest = self.patience if timeout is None else min(timeout, self.patience)
        began = monotonic()
        try:
            return super().wait(gen, interval, longest)
        except psycopg.OperationalError as problem:
            if problem.sqlstate is not None or monotonic() - began < longest:
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(
                f"the server did not complete its answer within {duration(longest)}"
            ) from None

    @contextmanager
    def patient_for(self, seconds: float) -> Iterator[None]:
        """Wait for answers that may take this long, in the block."""
        before, self.patience = self.patience, seconds + GRACE
        try:
            yield
        finally:
            self.patience = before
