"""Notifications of a release."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum

from pydantic import field_validator

from tarsrelease.model.base import Value


class Event(StrEnum):
    """The kinds of events."""

    SCHEDULED = "scheduled"
    STARTED = "started"
    STAGE = "stage"
    HOLD = "hold"
    WAITING = "waiting"
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


_FOR_A_PERSON = frozenset({Event.HOLD, Event.WAITING, Event.PROTECTED, Event.INCIDENT})
"""Events after which a person decides: a job that runs again asks again."""
_ATTEMPT = re.compile(r"^(\d+)-\d+$")
_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    r"\ud800-\udfff]"
)
"""Control characters, and those that change the direction of the text after them."""


class Notice(Value):
    """One event of one release in one run.

    `about` tells apart what may happen several times in a run (the stage that holds); `reason`
    and `link` are for people. `headline` replaces the usual one; `starts_at` and `ends_at` are the
    window of a scheduled release. `approval` is the environment whose approval is waited for; the
    page to approve it is at `link`.
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
    approval: str = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    @field_validator("reason", mode="after")
    @classmethod
    def _readable(cls, text: str) -> str:
        return "\n".join(_visible(text).splitlines()).strip()

    @field_validator(
        *("application", "release", "environment", "run", "about", "headline", "approval"),
        mode="after",
    )
    @classmethod
    def _one_line(cls, text: str) -> str:
        return " ".join(_visible(text).split())

    @property
    def key(self) -> str:
        """The same for the same event in the same run, so that it is sent once.

        The attempts of a run on GitHub are one run, except for events that ask for a decision.
        """
        attempt = _ATTEMPT.match(self.run)
        run = attempt[1] if attempt and self.event not in _FOR_A_PERSON else self.run
        parts = (self.application, self.environment, self.release, run, self.event, self.about)
        return "/".join(filter(None, map(str, parts)))

    @property
    def thread(self) -> str:
        """The same for all notices of a release in an environment."""
        return f"{self.application}/{self.environment}/{self.release}"


def event_in(key: str) -> str:
    """The event of a notice's key, with what it is about: ``hold canary-10``."""
    return " ".join(key.split("/", 5)[4:])


def _visible(text: str) -> str:
    """Without unsafe characters; "" if nothing is left to see, which providers refuse."""
    safe = _UNSAFE.sub("", text)
    return safe if any(sign.isprintable() and not sign.isspace() for sign in safe) else ""


class Message(Value):
    """The message for one receiver: `path` below the receiver's address, and the JSON body.

    `thread`: messages with the same one belong to one conversation, if the receiver has any.
    """

    receiver: str
    path: str
    body: dict[str, object]
    thread: str = ""

    @property
    def name(self) -> str:
        """For people: ``pagerduty/v2/enqueue``, ``statuspage incident``."""
        kind = self.path if self.path.startswith("/") else f" {self.path}"
        return f"{self.receiver}{kind}".rstrip()


class Told(Value):
    """A notice in the outbox: the messages that were delivered, and those that still wait.

    Messages go by `message_names`. `refused` has the receiver's reason by message. `sender` is the
    process that delivers the waiting ones until `claimed_until`; "" if none does.
    """

    notice: Notice
    at: datetime
    delivered: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    refused: dict[str, str] = {}
    sender: str = ""
    claimed_until: datetime | None = None


class Outgoing(Value):
    """The outbox of an application as it is stored: notices, oldest first, and threads by name."""

    told: tuple[Told, ...] = ()
    threads: dict[str, str] = {}

    def of(self, key: str) -> Told | None:
        """The notice with this key; None if it was never posted."""
        return next((each for each in self.told if each.notice.key == key), None)


def message_names(messages: list[Message]) -> list[str]:
    """A name for each message of one notice: ``slack``, and with `` (2)`` for a second one.

    The same notice always has the same names.
    """
    names: list[str] = []
    for message in messages:
        name = message.name
        seen = sum(1 for each in names if each.partition(" (")[0] == name)
        names.append(name if not seen else f"{name} ({seen + 1})")
    return names
