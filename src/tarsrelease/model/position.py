"""The position of a release, shown by `status`."""

from __future__ import annotations

from datetime import datetime

from tarsrelease.model.base import Value


class Position(Value):
    """`at` is a word for where the release is, `says` a sentence, `next` the next command.

    `waits_for` and `until` tell what is waited for; `since` is when the traffic was moved there.
    """

    at: str
    says: str
    next: str
    weight: int = 0
    stage: str | None = None
    since: datetime | None = None
    waits_for: str | None = None
    until: datetime | None = None
