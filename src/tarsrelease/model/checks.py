"""The rules of a stage's checks: one model a kind.

What the loop must know of a rule to gather its measurements stands in the class variables of
`Rule`; nothing else in the tree asks of which kind a rule is. A new kind is a model here, a pure
function in gates/checks/ and a heading in docs/checks.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tarsrelease.model.base import Bytes, Name, Seconds, Share, Value

CheckId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$")]


class Scope(Enum):
    """For whom a rule is judged: each service, each of them and each worker, or once."""

    SERVICES = "services"
    WORKLOADS = "services and workers"
    RELEASE = "release"


class Rule(Value):
    """What all kinds share. `services` limits the rule to these services and workers.

    `spends` says that a false alarm of the rule comes out of the budget of the release. `slis`
    maps the fields that name an SLI to the kind it must be of. `limit_unit` is the unit of the
    one limit that an environment may override, None where it has none.
    """

    id: CheckId
    services: tuple[Name, ...] = ()

    scope: ClassVar[Scope]
    spends: ClassVar[bool] = False
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
        if not 0 < self.bad_limit < 1:
            raise ValueError("the limit must lie strictly between 0% and 100%")
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


CheckRule = Annotated[
    ProportionCheck | GaugeCheck | ReadyCheck | RestartsCheck, Field(discriminator="kind")
]
