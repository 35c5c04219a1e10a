"""The people's side of a release in rollout.yaml: roles, links, timeline, checklists, criteria."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tarsrelease.model.base import Name, Seconds, Share, Value
from tarsrelease.model.quantities import parse_seconds

_MOMENT = r"(start|end)(?:([+-])((?:\d+d)?(?:\d+h)?(?:\d+m)?))?"
Moment = Annotated[str, StringConstraints(pattern=rf"^{_MOMENT}$")]
"""A time relative to the release: ``start-60m``, ``start``, ``end+2h``."""
Link = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$")]


def offset(moment: Moment) -> tuple[Literal["start", "end"], float]:
    """What the moment is relative to, and the seconds after it (negative: before it)."""
    anchor: Literal["start", "end"] = "start" if moment.startswith("start") else "end"
    written = moment.removeprefix(anchor)
    seconds = parse_seconds(written[1:]) if written[1:] else 0.0
    return anchor, -seconds if written.startswith("-") else seconds


class Role(Value):
    """A role in the release, by its id: who has it, and how to reach them.

    `votes`: go or no-go needs this role's vote. `question` is what the role answers with it.
    """

    title: str = Field(min_length=1)
    name: str = ""
    phone: str = ""
    slack: str = ""
    schedule: str = ""
    votes: bool = False
    question: str = ""

    @property
    def contact(self) -> str:
        """The name and every way to reach the person."""
        ways = (self.name, self.slack, self.phone, self.schedule and f"PagerDuty {self.schedule}")
        return ", ".join(filter(None, ways))


class NamedLink(Value):
    """A page that people need during the release.

    Links of kind ``dashboards`` and ``tracing`` must answer with status 200 in `check readiness`.
    """

    name: str = Field(min_length=1)
    url: Link
    kind: Literal["war-room", "dashboards", "alerts", "tracing", "other"] = "other"


class TimelinePhase(Value):
    """A part of the release day. Without `duration`, it lasts as long as the planned stages."""

    title: str = Field(min_length=1)
    at: Moment = "start"
    duration: Seconds | None = None
    participants: tuple[Name, ...] = ()
    actions: tuple[str, ...] = ()


class MachineCheck(StrEnum):
    """What `check readiness` measures itself."""

    ARTIFACTS = "artifacts"
    STAGING = "staging"
    SUITE = "suite"
    DASHBOARDS = "dashboards"
    ALERT_RULES = "alert-rules"
    TRACING = "tracing"
    PAGERDUTY = "pagerduty"
    ON_CALL = "on-call"
    ROLLBACK = "rollback"
    MIGRATIONS = "migrations"
    FEATURE_FLAGS = "feature-flags"
    CANARY_VALUES = "canary-values"
    STATUS_PAGE = "status-page"
    APPROVERS = "approvers"


class ChecklistItem(Value):
    """One line of a checklist, by its id.

    With `check`, the machine measures it. With `step`, it is done when that step of this release
    proceeded (``gate`` with the stage's `weight`). Otherwise a person confirms it.
    """

    text: str = Field(min_length=1)
    role: Name | None = None
    check: MachineCheck | None = None
    step: str | None = None
    weight: int | None = Field(default=None, ge=1, le=100)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.check is not None and self.step is not None:
            raise ValueError("give check or step, not both")
        if self.weight is not None and self.step is None:
            raise ValueError("weight needs step: gate")
        return self


Part = Literal["before", "during", "hours", "days"]


class Checklist(Value):
    """A checklist: the part of the release that it belongs to, and when it is due."""

    title: str = Field(min_length=1)
    part: Part = "before"
    due: Moment = "start-24h"
    items: dict[Name, ChecklistItem] = {}


DEFAULT_ROLES = {
    "release-manager": Role(
        title="Release manager", votes=True, question="Are all artifacts verified?"
    ),
    "sre": Role(title="SRE lead", votes=True, question="Is the monitoring ready?"),
    "qa": Role(title="QA lead", votes=True, question="Is the validation suite ready?"),
    "engineering": Role(
        title="Engineering lead", votes=True, question="Is the rollback plan confirmed?"
    ),
    "product": Role(title="Product manager"),
    "support": Role(title="Support lead"),
}


class Readiness(Value):
    """rollout.yaml's `readiness`.

    `checklists` replace the built-in ones of the same id (without items, they remove them) and add
    others. `timeline` replaces the built-in one.
    """

    roles: dict[Name, Role] = DEFAULT_ROLES
    links: tuple[NamedLink, ...] = ()
    timeline: tuple[TimelinePhase, ...] = ()
    checklists: dict[Name, Checklist] = {}

    @property
    def voters(self) -> tuple[str, ...]:
        """The roles whose votes go or no-go needs."""
        return tuple(name for name, role in self.roles.items() if role.votes)

    def title(self, role: str | None) -> str:
        """The role's title, or its id if it is not listed; "" for None."""
        found = self.roles.get(role or "")
        return found.title if found else role or ""

    @model_validator(mode="after")
    def _known(self) -> Self:
        items = [name for each in self.checklists.values() for name in each.items]
        if twice := {each for each in items if items.count(each) > 1}:
            raise ValueError(f"checklists: item {min(twice)} is listed twice")
        used = {each for phase in self.timeline for each in phase.participants}
        used |= {
            item.role
            for each in self.checklists.values()
            for item in each.items.values()
            if item.role
        }
        if unknown := used - set(self.roles):
            known = ", ".join(self.roles)
            raise ValueError(f"{min(unknown)!r} is none of roles; there are {known}")
        return self


class Criterion(Value):
    """A limit for stable before the release, by its id: an SLI of requests over the last `over`.

    The share of bad requests must be `below` the limit, or that of good ones `at_least` it.
    """

    sli: str
    below: Share | None = None
    at_least: Share | None = None
    over: Seconds = 86400.0

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.below is None) == (self.at_least is None):
            raise ValueError("give exactly one of below and at_least")
        return self
