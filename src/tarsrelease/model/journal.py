"""The journal kept on the cluster: intent before each action, result after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from tarsrelease.model.base import Value
from tarsrelease.model.incident import Action, Severity
from tarsrelease.model.open_value import OpenValue, chosen_by
from tarsrelease.model.people import Answer
from tarsrelease.model.result import Check, Observed, Status, deciding
from tarsrelease.model.window import FixedWindow


class Phase(StrEnum):
    """Whether an entry announces an action or reports how it ended."""

    INTENT = "intent"
    RESULT = "result"


class Cause(Value):
    """The result that led to a verdict: what was measured, and what was expected."""

    check: str
    service: str | None = None
    observed: Observed | None = None
    expected: str
    reason: str

    @classmethod
    def of(cls, checks: Iterable[Check]) -> Self | None:
        """The first of the most severe results that decide; None if all passed or were skipped."""
        worst = max(deciding(checks), key=lambda check: _GRAVITY.get(check.status, 0), default=None)
        if worst is None or worst.status not in _GRAVITY:
            return None
        return cls(
            check=worst.id,
            service=worst.service,
            observed=worst.observed,
            expected=worst.expected,
            reason=worst.reason,
        )


_GRAVITY = {Status.FAIL: 3, Status.ERROR: 2, Status.INCONCLUSIVE: 1}


class Facts(OpenValue):
    """What undoing or judging an action needs. `weight`: the canary's percentage.

    `cause`: the result that led to the verdict, unless it passed.
    """

    weight: int | None = None
    verdict: str | None = None
    cause: Cause | None = None

    @model_serializer(mode="wrap")
    def _only_what_is_known(self, handler: SerializerFunctionWrapHandler) -> Any:
        written: Mapping[str, Any] = handler(self)
        known = {name: value for name, value in written.items() if value is not None}
        return {name: value for name, value in known.items() if name in self.model_fields_set}


class DeployFacts(Facts):
    """Of ``deploy``. The intent has what is pinned until the release is over, the result a verdict.

    `version` and `revision` are stable's before it; `replicas` by Deployment; `minimums` those of
    the autoscalers as they were; `feature_flags` says whether the canary has them on. The result
    has the `images` of the canary's Deployments by name, as they were installed, and a digest of
    the `settings` of their containers.
    """

    version: str | None = None
    revision: int | None = None
    replicas: dict[str, int] | None = None
    minimums: dict[str, int] | None = None
    feature_flags: bool = False
    images: dict[str, tuple[str, ...]] | None = None
    settings: dict[str, str] | None = None


class ShiftFacts(Facts):
    """Of ``shift``: the weights before it by service, and the seconds until it was accepted."""

    before: dict[str, int] | None = None
    seconds: float | None = None


class GateFacts(Facts):
    """Of ``gate``. The intent has the stages played, this one's duration in seconds, and before a
    shift the canary's restarts by pod and container; the result has the verdict.

    `waiting` and `why`: it was decided while a person was waited for.
    """

    stages: tuple[int, ...] | None = None
    duration: float | None = None
    restarts: dict[str, int] | None = None
    waiting: bool = False
    why: str = ""


class TakeOffFacts(Facts):
    """Of ``take-off``: all traffic went `to` stable or canary."""

    to: str | None = None
    reason: str = ""


class LiftFacts(Facts):
    """Of ``lift``: who lifted the hold."""

    by: str = ""
    reason: str = ""


class PersonFacts(Facts):
    """Of ``hold``, ``resume``, ``abort`` and ``skip``: which person stepped in, and why.

    Of ``restore``: which change of a route by hand was undone.

    `revision`: stable's Helm revision, which a resume accepts.
    """

    by: str = ""
    reason: str = ""
    revision: int | None = None


class ProtectFacts(Facts):
    """Of ``protect``: why all traffic moved to stable although a rollback was not proven."""

    reason: str = ""


class WaitFacts(Facts):
    """Of ``wait``: why it was given up."""

    why: str = ""


class RollbackFacts(Facts):
    """Of ``rollback``; the result has the version that serves."""

    reason: str | None = None
    version: str | None = None


class MigrateFacts(Facts):
    """Of ``migrate``; the result has the number of statements."""

    direction: str | None = None
    statements: int | None = None


class IncidentFacts(Facts):
    """Of ``incident`` and ``incident-closed``: who said so, and why.

    `must` is the answer of the decision tree, `until` the deadline after which to roll back.
    """

    severity: Severity | None = None
    must: Action | None = None
    until: datetime | None = None
    by: str = ""
    reason: str = ""


class VoteFacts(Facts):
    """Of ``vote``: what the person votes for the role."""

    role: str = ""
    vote: Answer = Answer.NO_GO
    by: str = ""
    reason: str = ""


class OverrideFacts(Facts):
    """Of ``override``: the criterion that may fail, who says so, and why."""

    criterion: str = ""
    by: str = ""
    reason: str = ""


class PostponeFacts(Facts):
    """Of ``postpone``: the new window. It replaces that of rollout.yaml."""

    window: FixedWindow | None = None
    by: str = ""
    reason: str = ""


class TickFacts(Facts):
    """Of ``tick``: the item of a checklist that `by` confirms. `done`: False takes it back."""

    item: str = ""
    by: str = ""
    note: str = ""
    done: bool = True


class FollowUpFacts(Facts):
    """Of ``follow-up``: a task after the release, its owner, and the day by which it is due."""

    item: str = ""
    text: str = ""
    owner: str = ""
    due: date | None = None


class ValidateFacts(Facts):
    """Of ``validate``: the side that the suite ran against, and the number of its tests."""

    target: str = ""
    tests: int = 0


class UnpinFacts(Facts):
    """Of ``unpin``: the autoscalers' minimums, as they were given back."""

    minimums: dict[str, int] = {}


FACTS: Mapping[str, type[Facts]] = {
    "deploy": DeployFacts,
    "shift": ShiftFacts,
    "gate": GateFacts,
    "take-off": TakeOffFacts,
    "lift": LiftFacts,
    "hold": PersonFacts,
    "resume": PersonFacts,
    "abort": PersonFacts,
    "skip": PersonFacts,
    "restore": PersonFacts,
    "protect": ProtectFacts,
    "wait": WaitFacts,
    "rollback": RollbackFacts,
    "migrate": MigrateFacts,
    "unpin": UnpinFacts,
    "incident": IncidentFacts,
    "incident-closed": IncidentFacts,
    "vote": VoteFacts,
    "override": OverrideFacts,
    "postpone": PostponeFacts,
    "tick": TickFacts,
    "follow-up": FollowUpFacts,
    "validate": ValidateFacts,
}
"""The kind of facts by the action; the others have no facts of their own."""


class Entry(Value):
    """One line of the journal.

    `action` is a word such as ``deploy``, ``shift``, ``promote``, ``rollback``; each has its own
    kind of `facts`, which is chosen by `action` when an entry is read. `identity` is that of the
    bundle (the SHA-256 of its SHA256SUMS). `evidence` holds the heads of the run's evidence at that
    time, if they have changed since the run's entry before.
    """

    at: datetime
    run: str
    release: str
    step: str
    action: str
    phase: Phase
    facts: SerializeAsAny[Facts] = Facts()
    identity: str | None = Field(None, exclude_if=lambda value: value is None)
    evidence: tuple[str, ...] = Field((), exclude_if=lambda value: not value)

    @field_validator("facts", mode="before")
    @classmethod
    def _of_its_action(cls, given: Any, info: ValidationInfo) -> Facts:
        kind = FACTS.get(info.data.get("action", ""), Facts)
        return given if isinstance(given, Facts) else kind.model_validate(given)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return chosen_by(handler, core_schema, "action", "facts", FACTS)


class LockHolder(Value):
    """Who holds the lock, and until when it counts if it is not renewed."""

    run: str
    owner: str
    acquired_at: datetime
    expires_at: datetime
