"""The journal kept on the cluster: intent before each action, result after it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from tarsrelease.model.base import Value


class Phase(StrEnum):
    """Whether an entry announces an action or reports how it ended."""

    INTENT = "intent"
    RESULT = "result"


class Entry(Value):
    """One line of the journal.

    `action` is a word such as ``deploy``, ``shift``, ``approve``, ``promote``, ``rollback``,
    ``pin``; `facts` holds what undoing or judging it needs (weights, replica counts, revisions).
    """

    at: datetime
    run: str
    release: str
    step: str
    action: str
    phase: Phase
    facts: dict[str, object] = {}


class LockHolder(Value):
    """Who holds the lock, and until when it counts if it is not renewed."""

    run: str
    owner: str
    acquired_at: datetime
    expires_at: datetime
