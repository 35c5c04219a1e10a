"""The evidence chain: each record carries the SHA-256 of the one before."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from tarsrelease.model.base import Value
from tarsrelease.model.outcome import Outcome


class Record(Value):
    """One line of ``evidence.jsonl``.

    `previous` is the SHA-256 (hex) of the line before, without its newline; for the first record
    of a segment it is None and `follows` holds the heads of the segments it comes after. Records
    of v1 do not name their format. `identity` is that of the bundle (the SHA-256 of its
    SHA256SUMS), if the step acted on one; since v2 each step's `details` have a published shape.
    """

    format: Literal["tarsrelease/evidence/v1", "tarsrelease/evidence/v2"] = Field(
        "tarsrelease/evidence/v1", alias="schema"
    )
    number: int
    at: datetime
    run: str
    segment: str
    previous: str | None
    follows: tuple[str, ...] = ()
    identity: str | None = Field(None, exclude_if=lambda value: value is None)
    outcome: Outcome
