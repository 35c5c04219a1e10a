"""The journal kept on the cluster: intent before each action, result after it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Self

from tarsrelease.model.base import Value
from tarsrelease.model.outcome import Check, Observed, Status


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


class Cause(Value):
    """The result that led to a verdict: what was measured, and what was expected."""

    check: str
    service: str | None = None
    observed: Observed | None = None
    expected: str
    reason: str

    @classmethod
    def of(cls, checks: Iterable[Check]) -> Self | None:
        """The first of the gravest results; None if all passed or were skipped."""
        gravest = max(checks, key=lambda check: _GRAVITY.get(check.status, 0), default=None)
        if gravest is None or gravest.status not in _GRAVITY:
            return None
        return cls(
            check=gravest.id,
            service=gravest.service,
            observed=gravest.observed,
            expected=gravest.expected,
            reason=gravest.reason,
        )


_GRAVITY = {Status.FAIL: 3, Status.ERROR: 2, Status.INCONCLUSIVE: 1}


class LockHolder(Value):
    """Who holds the lock, and until when it counts if it is not renewed."""

    run: str
    owner: str
    acquired_at: datetime
    expires_at: datetime
