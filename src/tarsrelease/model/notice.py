"""What people are told of a release day."""

from __future__ import annotations

from enum import StrEnum

from tarsrelease.model.base import Value


class Event(StrEnum):
    """What has happened."""

    STARTED = "started"
    HOLD = "hold"
    ROLLBACK = "rollback"
    PROMOTED = "promoted"
    COMPLETE = "complete"


class Notice(Value):
    """One thing that has happened to one release in one run.

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
        """The same for the same thing in the same run, so that it is told once."""
        parts = (self.application, self.environment, self.release, self.run, self.event, self.about)
        return "/".join(filter(None, map(str, parts)))


class Message(Value):
    """What one receiver is sent: `path` below the receiver's address, and the JSON body."""

    receiver: str
    path: str
    body: dict[str, object]
