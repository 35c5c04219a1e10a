"""GitHub's environments and approvals, and people's votes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from tarsrelease.model.base import Value


class Rules(Value):
    """One GitHub environment. `reviewers` are logins, and teams as ``org/team``, in lower case.

    `branches` are the patterns of the branches that may use it; None: every branch may.
    `prevents_self_review` is None where nobody must review; `bypass` (administrators may go past
    the rules) is None where GitHub does not say.
    """

    name: str
    reviewers: tuple[str, ...] = ()
    branches: tuple[str, ...] | None = None
    prevents_self_review: bool | None = None
    bypass: bool | None = None


class BranchRules(Value):
    """The active rules of a branch: their types, and the approvals that a pull request needs.

    `problem` says why they cannot be read.
    """

    types: tuple[str, ...] = ()
    approvals: int = 0
    problem: str | None = None


class Approval(Value):
    """One review of a waiting run: whose, of which environments, and how it ended.

    `person` is None for an account that was deleted since.
    """

    person: str | None
    state: str
    environments: tuple[str, ...]
    comment: str = ""


class Answer(StrEnum):
    """What a person votes."""

    GO = "GO"
    NO_GO = "NO-GO"
    POSTPONE = "POSTPONE"


class Vote(Value):
    """The vote of a role; `by` names the person. With `postpone`, `go` is False.

    `source`: ``journal``, ``approval`` (GitHub) or ``--vote``.
    """

    role: str
    go: bool
    by: str = ""
    postpone: bool = False
    reason: str = ""
    at: datetime | None = None
    source: str = "--vote"

    @property
    def answer(self) -> Answer:
        """The vote in one word."""
        return Answer.GO if self.go else Answer.POSTPONE if self.postpone else Answer.NO_GO


class ActiveIncident(Value):
    """An incident or a maintenance that has not ended, in PagerDuty or on the status page."""

    title: str
    status: str
    link: str = ""


class OnCall(Value):
    """Who is on call. `until` is None for somebody who always is."""

    person: str
    policy: str
    level: int
    schedule: str = ""
    until: datetime | None = None


class AlertRule(Value):
    """An alert rule; `problem` is why its last evaluation failed."""

    name: str
    problem: str = ""
