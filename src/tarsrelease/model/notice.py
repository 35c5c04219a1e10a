"""Notifications of a release."""

from __future__ import annotations

from enum import StrEnum

from tarsrelease.model.base import Value


class Event(StrEnum):
    """The kinds of events."""

    STARTED = "started"
    HOLD = "hold"
    ROLLBACK = "rollback"
    PROMOTED = "promoted"
    COMPLETE = "complete"
    INCIDENT = "incident"


class Notice(Value):
    """One event of one release in one run.

    `about` tells apart what may happen several times in a run (the stage that holds); `reason`
    and `link` are for people.
    """

    event: Event
    application: str
    release: str
    environment: str
    run: str
    about: str = ""
    reason: str = ""
    link: str = ""

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
