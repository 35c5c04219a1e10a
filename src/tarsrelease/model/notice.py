"""Notifications of a release."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from tarsrelease.model.base import Value


class Event(StrEnum):
    """The kinds of events."""

    SCHEDULED = "scheduled"
    STARTED = "started"
    STAGE = "stage"
    HOLD = "hold"
    PROTECTED = "protected"
    ROLLBACK_STARTED = "rollback-started"
    ROLLBACK = "rollback"
    ROLLBACK_FAILED = "rollback-failed"
    PROMOTED = "promoted"
    COMPLETE = "complete"
    INCIDENT = "incident"
    RESOLVED = "resolved"
    CUSTOMERS = "customers"
    OVERRIDDEN = "overridden"


class Notice(Value):
    """One event of one release in one run.

    `about` tells apart what may happen several times in a run (the stage that holds); `reason`
    and `link` are for people. `headline` replaces the usual one; `starts_at` and `ends_at` are the
    window of a scheduled release.
    """

    event: Event
    application: str
    release: str
    environment: str
    run: str
    about: str = ""
    reason: str = ""
    link: str = ""
    headline: str = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    @property
    def key(self) -> str:
        """The same for the same event in the same run, so that it is sent once."""
        parts = (self.application, self.environment, self.release, self.run, self.event, self.about)
        return "/".join(filter(None, map(str, parts)))


class Message(Value):
    """The message for one receiver: `path` below the receiver's address, and the JSON body."""

    receiver: str
    path: str
    body: dict[str, object]
