"""The rules of a stage's checks: one model a kind.

What the loop must know of a rule to gather its measurements stands in the class variables of
`Rule`; nothing else in the tree asks of which kind a rule is. A new kind is a model here, a pure
function in gates/checks/ and a heading in docs/checks.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from math import inf
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from tarsrelease.model.base import Amount, AnyAmount, Name, Seconds, Share, Value
from tarsrelease.model.quantities import complement

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

    An `advisory` rule is judged, shown and recorded, but decides nothing: it is how a team
    introduces a new check.

    `spends` says that a false alarm of the rule comes out of the budget of the release. `slis`
    maps the fields that name an SLI to the kind it must be of. `beside` says that the rule needs
    traffic on the other side, too; `elsewhere` that neither metrics nor cluster answer it.
    `limits` names the overrides of an environment that may replace the rule's one limit, None where
    it has none.
    """

    id: CheckId
    services: tuple[Name, ...] = ()
    advisory: bool = False

    scope: ClassVar[Scope]
    spends: ClassVar[bool] = False
    beside: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = False
    slis: ClassVar[Mapping[str, str]] = {}
    limits: ClassVar[Literal["gauge_limits", "bad_share_limits"] | None] = None

    def named_slis(self) -> dict[str, str]:
        """The names of the SLIs that the rule reads, and the kind that each must be of."""
        named = {getattr(self, field): kind for field, kind in self.slis.items()}
        return {name: kind for name, kind in named.items() if name is not None}

    def limited_to(self, _limit: Amount) -> Self:
        """The rule with another limit. Raises where it has none."""
        raise ValueError(f"check {self.id} has no limit that could be overridden")


class ProportionCheck(Rule):
    """The share of bad requests is below a limit (or the share of good ones at least at one).

    Passes at the end of the stage if the estimate is within the limit and there were enough
    requests. Fails as soon as an always-valid bound proves that the limit is exceeded. With
    ``proof: strict``, it passes only if the bound proves that the limit is kept.
    """

    kind: Literal["proportion"]
    sli: str
    below: Share | None = None
    at_least: Share | None = None
    proof: Literal["failure", "strict"] = "failure"

    scope = Scope.SERVICES
    spends = True
    slis = {"sli": "proportion"}
    limits = "bad_share_limits"

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.below is None) == (self.at_least is None):
            raise ValueError("give exactly one of below and at_least")
        _refuse_extremes("the limit", self.bad_limit)
        return self

    @property
    def bad_limit(self) -> float:
        """The limit as a share of bad requests, strictly between 0 and 1."""
        return self.below if self.below is not None else complement(self.at_least or 0.0)

    def limited_to(self, limit: Amount) -> Self:
        """The same with a limit on the share of bad requests."""
        return self.model_copy(update={"below": limit.value, "at_least": None})


class GaugeCheck(Rule):
    """Every pod's reading is `below` a limit, or `at_least` one; fails if it stays beyond it.

    The limit has the unit of the SLI: ``2.5GB``, ``30s``, ``80%`` or a plain number. It fails
    after `sustained`.
    """

    kind: Literal["gauge"]
    sli: str
    below: AnyAmount | None = None
    at_least: AnyAmount | None = None
    sustained: Seconds = 15.0

    scope = Scope.WORKLOADS
    slis = {"sli": "gauge"}
    limits = "gauge_limits"

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.below is None) == (self.at_least is None):
            raise ValueError("give exactly one of below and at_least")
        return self

    @property
    def limit(self) -> Amount:
        """The limit, whichever side it is on."""
        return self.below or self.at_least or Amount(value=0.0, unit="count")

    def limited_to(self, limit: Amount) -> Self:
        """The same with another limit."""
        return self.model_copy(update={"below" if self.below is not None else "at_least": limit})


class ReadyCheck(Rule):
    """All desired pods are ready `within` this time, and none is in CrashLoopBackOff."""

    kind: Literal["ready"]
    within: Seconds = 60.0

    scope = Scope.WORKLOADS


class RestartsCheck(Rule):
    """Restarts of containers since the stage began, including init containers."""

    kind: Literal["restarts"]
    at_most: int = Field(default=0, ge=0)

    scope = Scope.WORKLOADS


class CompareCheck(Rule):
    """The canary's share of bad requests is not worse than stable's by more than `worse_by`.

    `worse_by` is relative to stable's share. A share below `tolerated` never fails.
    """

    kind: Literal["compare"]
    sli: str
    worse_by: Share = 0.2
    tolerated: Share = 0.001

    scope = Scope.SERVICES
    spends = True
    beside = True
    slis = {"sli": "proportion"}
    limits = "bad_share_limits"

    @model_validator(mode="after")
    def _something_is_tolerated(self) -> Self:
        _refuse_extremes("tolerated", self.tolerated)
        return self

    def limited_to(self, limit: Amount) -> Self:
        """The same with another share that is tolerated."""
        return self.model_copy(update={"tolerated": limit.value})


class DriftCheck(Rule):
    """The share of good requests is within a distance of stable's, relative to it.

    Only a canary that is worse than stable drifts.
    """

    kind: Literal["drift"]
    sli: str
    within: Share

    scope = Scope.SERVICES
    spends = True
    beside = True
    slis = {"sli": "proportion"}
    limits = "bad_share_limits"

    @model_validator(mode="after")
    def _a_distance(self) -> Self:
        _refuse_extremes("within", self.within)
        return self

    def limited_to(self, limit: Amount) -> Self:
        """The same with another distance."""
        return self.model_copy(update={"within": limit.value})


class StagingDriftCheck(Rule):
    """As `drift`, against the requests that staging answered since the traffic shift.

    The release runs as stable in the environment that `staging` names, which is read `every` 15 s
    by default. This comparison also works at 100 %.
    """

    kind: Literal["drift_from_staging"]
    sli: str
    within: Share
    every: Seconds = 15.0

    scope = Scope.SERVICES
    spends = True
    elsewhere = True
    slis = {"sli": "proportion"}
    limits = "bad_share_limits"

    @model_validator(mode="after")
    def _a_distance(self) -> Self:
        _refuse_extremes("within", self.within)
        return self

    def limited_to(self, limit: Amount) -> Self:
        """The same with another distance."""
        return self.model_copy(update={"within": limit.value})


class LikeStableCheck(Rule):
    """Readings of the canary's pods are not more than `worse_by` higher than those of stable's.

    With `direction: decrease`, stable's are not more than `worse_by` higher than the canary's;
    `either` refuses both. `readings` is how many each side requires.
    """

    kind: Literal["like_stable"]
    sli: str
    direction: Literal["increase", "decrease", "either"] = "increase"
    worse_by: Share = 0.5
    readings: int = Field(default=12, ge=4)

    scope = Scope.WORKLOADS
    beside = True
    slis = {"sli": "gauge"}


class AbsentCheck(Rule):
    """No container is waiting for or terminated with one of these states."""

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
    """The share of WebSocket clients that lost their connection and got their session back.

    `sli` counts attempts, `open` reads the open connections, which do not follow the weight. With
    `needed: 0`, a side that no client came back to is `skipped`; with more, the check waits for
    that many attempts.
    """

    kind: Literal["reconnects"]
    sli: str
    open: str | None = None
    at_least: Share = 0.999
    needed: int = Field(default=1, ge=0)

    scope = Scope.SERVICES
    spends = True
    slis = {"sli": "proportion", "open": "gauge"}
    limits = "bad_share_limits"

    @model_validator(mode="after")
    def _a_limit(self) -> Self:
        _refuse_extremes("at_least", self.at_least)
        return self

    def limited_to(self, limit: Amount) -> Self:
        """The same with a limit on the share of failed attempts."""
        return self.model_copy(update={"at_least": complement(limit.value)})


class CapacityCheck(Rule):
    """Usage divided by the limit is below `below`, for each node, quota or pool."""

    kind: Literal["capacity"]
    sli: str
    below: Share = 0.8
    sustained: Seconds = 30.0

    scope = Scope.RELEASE
    slis = {"sli": "usage"}
    limits = "bad_share_limits"

    def limited_to(self, limit: Amount) -> Self:
        """The same with a limit on the share in use."""
        return self.model_copy(update={"below": limit.value})


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
    """The source of a number: a command's standard output, or an HTTP endpoint's answer.

    `command` is a program and its arguments, run without a shell. With `pointer` (RFC 6901), the
    answer is JSON and the pointer leads to the number; without it, the answer is the number.
    `token_env` names the variable with a bearer token. A command gets that variable and no other
    secret.
    """

    command: tuple[str, ...] = ()
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$")] | None = None
    pointer: Annotated[str, StringConstraints(pattern=r"^(/.*)?$")] | None = None
    token_env: Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.command) == (self.url is not None):
            raise ValueError("give exactly one of command and url")
        return self


class ExternalCheck(Rule):
    """A number from an outside source is within its limits, polled `every` 30 s by default.

    It fails after `failures` answers in a row outside of them; until then it is inconclusive.
    """

    kind: Literal["external"]
    source: NumberSource
    at_most: Number | None = None
    at_least: Number | None = None
    unit: Literal["count", "share", "seconds", "bytes"] = "count"
    every: Seconds = 30.0
    timeout: Seconds = 5.0
    failures: int = Field(default=1, ge=1)

    scope = Scope.RELEASE
    elsewhere = True

    @model_validator(mode="after")
    def _a_limit(self) -> Self:
        if self.at_most is None and self.at_least is None:
            raise ValueError("give at_most, at_least or both")
        return self

    def accepts(self, value: float) -> bool:
        """Whether the number is within the limits."""
        low = -inf if self.at_least is None else self.at_least
        return low <= value <= (inf if self.at_most is None else self.at_most)


class SuiteCheck(Rule):
    """The tests of the release's suite with one of these marks pass, run once against this side.

    Fewer than `at_least` completed tests are an error.
    """

    kind: Literal["suite"]
    marks: tuple[str, ...] = Field(min_length=1)
    at_least: int = Field(default=1, ge=1)

    scope = Scope.RELEASE
    elsewhere = True


class ManualCheck(Rule):
    """A question that only a person can answer. Without an answer it is inconclusive."""

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
