"""rollout.yaml: how this release is rolled out. It is part of the checksummed bundle."""

from __future__ import annotations

import re
from string import Template
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from tarsrelease.model.base import Bytes, FileName, Name, Seconds, Share, Value, Version

TEMPLATE_NAMES = frozenset({"namespace", "service", "track", "version", "window"})


def _known_placeholders(selector: str) -> str:
    template = Template(selector)
    if not template.is_valid():
        raise ValueError("a lone $ in a selector; write $$ for a dollar sign")
    unknown = set(template.get_identifiers()) - TEMPLATE_NAMES
    if unknown:
        known = ", ".join(f"${name}" for name in sorted(TEMPLATE_NAMES))
        raise ValueError(f"${min(unknown)} is not known; a selector may use {known}")
    return selector


def _matches_many(selector: str) -> str:
    _known_placeholders(selector)
    if not re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*\{.*\}", selector.strip(), re.DOTALL):
        raise ValueError(
            'give the series themselves, such as http_requests_total{service=~"$service"}: '
            "counts are made from raw samples, so no rate(), sum() or window"
        )
    if re.search(r'=\s*"[^"]*\$\{?(service|track|version)', selector):
        raise ValueError(
            "match $service, $track and $version with =~ (one query asks for all of them at once)"
        )
    return selector


Selector = Annotated[str, AfterValidator(_matches_many)]
CheckId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$")]


class MetricLabels(Value):
    """The names of the metric labels that tell whose a series is."""

    service: str = "service"
    track: str = "deployment"
    version: str = "version"
    pod: str = "pod"


class ProportionSli(Value):
    """Bad (or good) requests among all requests; every field selects counters."""

    kind: Literal["proportion"]
    of: Selector
    bad: Selector | None = None
    good: Selector | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.bad is None) == (self.good is None):
            raise ValueError("give exactly one of bad and good")
        return self


class GaugeSli(Value):
    """A reading per pod, such as resident memory."""

    kind: Literal["gauge"]
    value: Selector
    unit: Literal["bytes", "seconds", "count", "share"]


Sli = Annotated[ProportionSli | GaugeSli, Field(discriminator="kind")]


class ProportionCheck(Value):
    """The share of bad requests stays below a limit (or of good ones at least at one).

    Passes at the end of its stage when the estimate is within the limit and there were enough
    requests; fails as soon as an always-valid bound proves the limit broken. With ``proof:
    strict`` it passes only when the bound proves the limit kept.
    """

    kind: Literal["proportion"]
    id: CheckId
    sli: str
    below: Share | None = None
    at_least: Share | None = None
    proof: Literal["failure", "strict"] = "failure"

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


class GaugeCheck(Value):
    """Every pod's reading stays below a limit in bytes; `sustained` above it is a failure."""

    kind: Literal["gauge"]
    id: CheckId
    sli: str
    below: Bytes
    sustained: Seconds = 15.0


class ReadyCheck(Value):
    """All wanted pods are ready, none in CrashLoopBackOff; `within` bounds the wait for them."""

    kind: Literal["ready"]
    id: CheckId
    within: Seconds = 60.0


class RestartsCheck(Value):
    """Containers, init containers too, that restarted since the stage began."""

    kind: Literal["restarts"]
    id: CheckId
    at_most: int = Field(default=0, ge=0)


CheckRule = Annotated[
    ProportionCheck | GaugeCheck | ReadyCheck | RestartsCheck, Field(discriminator="kind")
]


class Stage(Value):
    """One canary stage: traffic to `weight` percent, looked at for `duration`.

    While a check is inconclusive the stage is extended, up to `max_extension` longer.
    `approval` asks a person before the stage begins.
    """

    weight: int = Field(ge=1, le=100)
    duration: Seconds
    max_extension: Seconds = 600.0
    approval: bool = False
    checks: tuple[CheckRule, ...] = Field(min_length=1)

    @property
    def name(self) -> str:
        """The stage's name in journals, annotations and reports."""
        return f"canary-{self.weight}"


class Side(Value):
    """One side's Deployment and Kubernetes Service."""

    deployment: Name
    service: Name


class SmokeRequest(Value):
    """A request sent to the canary by header before it gets traffic."""

    path: str = Field(pattern=r"^/")
    status: int = 200
    contains: str | None = None


class Service(Value):
    """One service of the application: both sides, its route, and how it is smoke-tested.

    `name` is what `$service` stands for in selectors. `hostnames` are keys into the
    environment's `gateway.hostnames`.
    """

    name: Name
    port: int = Field(ge=1, le=65535)
    stable: Side
    canary: Side
    route: Name
    hosts: tuple[str, ...] = Field(min_length=1)
    paths: tuple[str, ...] = Field(min_length=1)
    smoke: tuple[SmokeRequest, ...] = Field(min_length=1)


class Worker(Value):
    """A Deployment without traffic of its own that is canaried along (queue workers, agents)."""

    name: Name
    stable: Name
    canary: Name


class Statistics(Value):
    """How sure the gates must be.

    `confidence` sets how many requests an error-free stage needs before it can pass;
    `false_rollback_budget` is the chance, over the whole release, that a healthy one is taken
    back, divided over stages, services and checks.
    """

    confidence: Share = 0.95
    false_rollback_budget: Share = 0.01


class Promotion(Value):
    """How traffic comes back to the upgraded stable: canary weights, with a look at each."""

    weights: tuple[int, ...] = (50, 0)
    look: Seconds = 30.0

    @model_validator(mode="after")
    def _falls_to_zero(self) -> Self:
        if list(self.weights) != sorted(set(self.weights), reverse=True) or self.weights[-1:] != (
            0,
        ):
            raise ValueError("promotion weights must fall and end in 0, such as [50, 0]")
        return self


class Rollout(Value):
    """rollout.yaml."""

    schema_: Literal["tarsrelease/rollout/v1"] = Field(alias="schema")
    application: Name
    version: Version
    chart: FileName
    canary_values: FileName
    labels: MetricLabels = MetricLabels()
    services: tuple[Service, ...] = Field(min_length=1)
    workers: tuple[Worker, ...] = ()
    slis: dict[str, Sli] = Field(min_length=1)
    stages: tuple[Stage, ...] = Field(min_length=1)
    statistics: Statistics = Statistics()
    promotion: Promotion = Promotion()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        weights = [stage.weight for stage in self.stages]
        if weights != sorted(set(weights)):
            raise ValueError(f"stages: weights must rise, found {weights}")
        if weights[-1] != 100:
            raise ValueError(f"stages: the last weight must be 100, found {weights[-1]}")
        for what, names in (
            ("services", [service.name for service in self.services]),
            ("workers", [worker.name for worker in self.workers]),
            ("routes", [service.route for service in self.services]),
            *(
                (f"checks of the {stage.weight}% stage", [check.id for check in stage.checks])
                for stage in self.stages
            ),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{what}: {min(twice)} stands twice")
        for stage in self.stages:
            for check in stage.checks:
                if isinstance(check, (ProportionCheck, GaugeCheck)):
                    self._sli_for(check)
        return self

    def _sli_for(self, check: ProportionCheck | GaugeCheck) -> None:
        sli = self.slis.get(check.sli)
        if sli is None:
            known = ", ".join(sorted(self.slis))
            raise ValueError(f"check {check.id}: there is no sli {check.sli!r}; known are {known}")
        if sli.kind != check.kind:
            raise ValueError(
                f"check {check.id}: sli {check.sli!r} is a {sli.kind}, the check is a {check.kind}"
            )

    def stage(self, weight: int) -> Stage:
        """The stage of this weight. Raises KeyError with the known weights."""
        for stage in self.stages:
            if stage.weight == weight:
                return stage
        known = ", ".join(str(stage.weight) for stage in self.stages)
        raise KeyError(f"there is no stage of {weight}%; the stages are {known}")

    @property
    def canary_release(self) -> str:
        """The name of the canary's Helm release; the stable's is `application`."""
        return f"{self.application}-canary"
