"""The evidence chain: each record carries the SHA-256 of the one before."""

from __future__ import annotations

from datetime import datetime

from tarsrelease.model.base import Value
from tarsrelease.model.outcome import Outcome


class Record(Value):
    """One line of ``evidence.jsonl``.

    `previous` is the SHA-256 (hex) of the line before, without its newline; for the first record
    of a segment it is None and `follows` holds the heads of the segments it comes after.
    """

    number: int
    at: datetime
    run: str
    segment: str
    previous: str | None
    follows: tuple[str, ...] = ()
    outcome: Outcome
