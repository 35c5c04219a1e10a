"""The rules of a stage's checks: one model a kind.

What the loop must know of a rule to gather its measurements stands in the class variables of
`Rule`; nothing else in the tree asks of which kind a rule is. A new kind is a model here, a pure
function in gates/checks/ and a heading in docs/checks.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from tarsrelease.model.base import Bytes, Name, Seconds, Share, Value

CheckId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$")]


def _refuse_extremes(name: str, share: float) -> None:
    """Odds and relative distances need a share that is neither nothing nor everything."""
    if not 0 < share < 1:
        raise ValueError(f"{name} must lie strictly between 0% and 100%")


class Scope(Enum):
    """For whom a rule is judged: each service, each of them and each worker, or once."""

    SERVICES = "services"
    WORKLOADS = "services and workers"
    RELEASE = "release"


class Rule(Value):
    """What all kinds share. `services` limits the rule to these services and workers.

    `spends` says that a false alarm of the rule comes out of the budget of the release. `slis`
    maps the fields that name an SLI to the kind it must be of. `beside` says that the rule needs
    traffic on the other side, too; `elsewhere` that neither metrics nor cluster answer it.
    `limit_unit` is the unit of the one limit that an environment may override, None where it has
    none.
    """

    id: CheckId
    services: tuple[Name, ...] = ()

    scope: ClassVar[Scope]
    spends: ClassVar[bool] = False
    beside: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = False
    slis: ClassVar[Mapping[str, str]] = {}
    limit_unit: ClassVar[Literal["bytes", "share"] | None] = None

    def named_slis(self) -> dict[str, str]:
        """The names of the SLIs that the rule reads, and the kind that each must be of."""
        named = {getattr(self, field): kind for field, kind in self.slis.items()}
        return {name: kind for name, kind in named.items() if name is not None}

    def limited_to(self, limit: float) -> Self:
        """The rule with another limit, in its `limit_unit`. Raises where it has none."""
        raise ValueError(f"check {self.id} has no limit that could be overridden with {limit:g}")


class ProportionCheck(Rule):
    """The share of bad requests stays below a limit (or of good ones at least at one).

    Passes at the end of its stage when the estimate is within the limit and there were enough
    requests; fails as soon as an always-valid bound proves the limit broken. With ``proof:
    strict`` it passes only when the bound proves the limit kept.
    """

    kind: Literal["proportion"]
    sli: str
    below: Share | None = None
    at_least: Share | None = None
    proof: Literal["failure", "strict"] = "failure"

    scope = Scope.SERVICES
    spends = True
    slis = {"sli": "proportion"}
    limit_unit = "share"

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.below is None) == (self.at_least is None):
            raise ValueError("give exactly one of below and at_least")
        _refuse_extremes("the limit", self.bad_limit)
        return self

    @property
    def bad_limit(self) -> float:
        """The limit as a share of bad requests, strictly between 0 and 1."""
        return self.below if self.below is not None else 1.0 - (self.at_least or 0.0)

    def limited_to(self, limit: float) -> Self:
        """The same with a limit on the share of bad requests."""
        return self.model_copy(update={"below": limit, "at_least": None})


class GaugeCheck(Rule):
    """Every pod's reading stays below a limit in bytes; `sustained` above it is a failure."""

    kind: Literal["gauge"]
    sli: str
    below: Bytes
    sustained: Seconds = 15.0

    scope = Scope.WORKLOADS
    slis = {"sli": "gauge"}
    limit_unit = "bytes"

    def limited_to(self, limit: float) -> Self:
        """The same with a limit in bytes."""
        return self.model_copy(update={"below": limit})


class ReadyCheck(Rule):
    """All wanted pods are ready, none in CrashLoopBackOff; `within` bounds the wait for them."""

    kind: Literal["ready"]
    within: Seconds = 60.0

    scope = Scope.WORKLOADS


class RestartsCheck(Rule):
    """Containers, init containers too, that restarted since the stage began."""

    kind: Literal["restarts"]
    at_most: int = Field(default=0, ge=0)

    scope = Scope.WORKLOADS


class CompareCheck(Rule):
    """The canary's share of bad requests is not worse than stable's by more than `worse_by`.

    `worse_by` is relative to stable's share. What stays below `tolerated` is nobody's concern,
    however it compares.
    """

    kind: Literal["compare"]
    sli: str
    worse_by: Share = 0.2
    tolerated: Share = 0.001

    scope = Scope.SERVICES
    spends = True
    beside = True
    slis = {"sli": "proportion"}
    limit_unit = "share"

    @model_validator(mode="after")
    def _something_is_tolerated(self) -> Self:
        _refuse_extremes("tolerated", self.tolerated)
        return self

    def limited_to(self, limit: float) -> Self:
        """The same with another share that is tolerated."""
        return self.model_copy(update={"tolerated": limit})


class DriftCheck(Rule):
    """The share of good requests lies within a distance of the other side's, relative to it.

    Only a canary that is worse drifts: one that is better is what a release is for.
    """

    kind: Literal["drift"]
    sli: str
    within: Share

    scope = Scope.SERVICES
    spends = True
    beside = True
    slis = {"sli": "proportion"}
    limit_unit = "share"

    @model_validator(mode="after")
    def _a_distance(self) -> Self:
        _refuse_extremes("within", self.within)
        return self

    def limited_to(self, limit: float) -> Self:
        """The same with another distance."""
        return self.model_copy(update={"within": limit})


class StagingDriftCheck(Rule):
    """The same against the requests that staging has answered since the traffic was shifted.

    There the release runs as what is stable, in the environment that the environment's `staging`
    names. Staging is asked `every` so often. It can be compared at 100 % of the traffic, too,
    when nothing else runs beside.
    """

    kind: Literal["drift_from_staging"]
    sli: str
    within: Share
    every: Seconds = 15.0

    scope = Scope.SERVICES
    spends = True
    elsewhere = True
    slis = {"sli": "proportion"}
    limit_unit = "share"

    @model_validator(mode="after")
    def _a_distance(self) -> Self:
        _refuse_extremes("within", self.within)
        return self

    def limited_to(self, limit: float) -> Self:
        """The same with another distance."""
        return self.model_copy(update={"within": limit})


class LikeStableCheck(Rule):
    """Readings of the canary's pods are like those of stable's: not more than `worse_by` higher.

    `readings` is how many each side must have before anything can be told.
    """

    kind: Literal["like_stable"]
    sli: str
    worse_by: Share = 0.5
    readings: int = Field(default=12, ge=4)

    scope = Scope.WORKLOADS
    beside = True
    slis = {"sli": "gauge"}


class AbsentCheck(Rule):
    """No container is in one of these states: waiting for it, or terminated with it."""

    kind: Literal["absent"]
    states: tuple[str, ...] = Field(
        default=(
            "CrashLoopBackOff",
            "ImagePullBackOff",
            "ErrImagePull",
            "InvalidImageName",
            "CreateContainerConfigError",
            "CreateContainerError",
            "OOMKilled",
        ),
        min_length=1,
    )

    scope = Scope.WORKLOADS


class ReconnectsCheck(Rule):
    """Clients that lost their WebSocket get their session back: a share of the attempts.

    `sli` counts attempts, `open` reads the connections that are open (they stay where they are
    when a weight changes, so the traffic's share says nothing of them). With `needed` 0 a side
    that nobody came back to is `skipped`; with more it is waited for.
    """

    kind: Literal["reconnects"]
    sli: str
    open: str | None = None
    at_least: Share = 0.999
    needed: int = Field(default=1, ge=0)

    scope = Scope.SERVICES
    spends = True
    slis = {"sli": "proportion", "open": "gauge"}
    limit_unit = "share"

    @model_validator(mode="after")
    def _a_limit(self) -> Self:
        _refuse_extremes("at_least", self.at_least)
        return self

    def limited_to(self, limit: float) -> Self:
        """The same with a limit on the share of failed attempts."""
        return self.model_copy(update={"at_least": 1.0 - limit})


class CapacityCheck(Rule):
    """Nothing that has an end is exhausted: used over limit, for each node, quota or pool."""

    kind: Literal["capacity"]
    sli: str
    below: Share = 0.8
    sustained: Seconds = 30.0

    scope = Scope.RELEASE
    slis = {"sli": "usage"}
    limit_unit = "share"

    def limited_to(self, limit: float) -> Self:
        """The same with a limit on the share in use."""
        return self.model_copy(update={"below": limit})


def parse_number(text: Any) -> float:
    """A number from YAML's text or whole number; a ``float`` passes. Raises ValueError."""
    if isinstance(text, bool) or not isinstance(text, (int, float, str)):
        raise ValueError(f"{text!r} is no number")  # noqa: TRY004 - pydantic wants ValueError
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no number") from error


Number = Annotated[
    float,
    BeforeValidator(parse_number),
    WithJsonSchema(
        {"type": ["string", "integer"], "pattern": r"^-?\d+(\.\d+)?$", "examples": ["0.5"]},
        mode="validation",
    ),
]
"""A plain number."""


class NumberSource(Value):
    """Where a number comes from: a command's standard output, or an HTTP endpoint's answer.

    `command` is a program and its arguments, run without a shell. With `pointer` (RFC 6901) the
    answer is JSON and the number stands there; without it the answer is the number. `token_env`
    names the variable with a bearer token.
    """

    command: tuple[str, ...] = ()
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$")] | None = None
    pointer: Annotated[str, StringConstraints(pattern=r"^(/.*)?$")] | None = None
    token_env: Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.command) == (self.url is not None):
            raise ValueError("give exactly one of command and url")
        if self.command and self.token_env is not None:
            raise ValueError("token_env goes with a url; a command reads the environment itself")
        return self


class ExternalCheck(Rule):
    """A number from elsewhere lies within its limits, asked for again `every` so often."""

    kind: Literal["external"]
    source: NumberSource
    at_most: Number | None = None
    at_least: Number | None = None
    unit: Literal["count", "share", "seconds", "bytes"] = "count"
    every: Seconds = 30.0
    timeout: Seconds = 5.0

    scope = Scope.RELEASE
    elsewhere = True

    @model_validator(mode="after")
    def _a_limit(self) -> Self:
        if self.at_most is None and self.at_least is None:
            raise ValueError("give at_most, at_least or both")
        return self


class SuiteCheck(Rule):
    """The tests of the release's suite with one of these marks pass, run against this side only.

    Fewer than `at_least` tests that ran to their end are no answer.
    """

    kind: Literal["suite"]
    marks: tuple[str, ...] = Field(min_length=1)
    at_least: int = Field(default=1, ge=1)

    scope = Scope.RELEASE
    elsewhere = True


class ManualCheck(Rule):
    """What only a person can tell. Unanswered it is inconclusive."""

    kind: Literal["manual"]
    question: str = Field(min_length=1)

    scope = Scope.RELEASE
    elsewhere = True


CheckRule = Annotated[
    ProportionCheck
    | CompareCheck
    | DriftCheck
    | StagingDriftCheck
    | GaugeCheck
    | LikeStableCheck
    | ReadyCheck
    | RestartsCheck
    | AbsentCheck
    | ReconnectsCheck
    | CapacityCheck
    | ExternalCheck
    | SuiteCheck
    | ManualCheck,
    Field(discriminator="kind"),
]
