"""rollout.yaml: how this release is rolled out. It is part of the checksummed bundle."""

from __future__ import annotations

import re
from string import Template
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from tarsrelease.model import presets, promql
from tarsrelease.model.base import (
    Application,
    FileName,
    Label,
    Name,
    ObjectName,
    Seconds,
    Share,
    Value,
    Version,
    repeated,
)
from tarsrelease.model.checks import CheckRule, GaugeCheck, ManualCheck, Scope
from tarsrelease.model.incident import IncidentRules
from tarsrelease.model.objectives import Objectives
from tarsrelease.model.readiness import Criterion, Readiness
from tarsrelease.model.window import Window

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
    if not re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*\s*\{.*\}", selector.strip(), re.DOTALL):
        raise ValueError(
            'give the series themselves, such as http_requests_total{service=~"$service"}: '
            "counts are made from raw samples, so no rate(), sum() or window"
        )

    def sample(inside: str, literal: promql.Literal) -> str:
        template = Template(inside)
        used = set(template.get_identifiers())
        if "~" not in literal.operator and used & {"service", "track", "version"}:
            raise ValueError(
                "match $service, $track and $version with =~ or !~ (one query asks for all of them "
                "at once)"
            )
        return template.substitute(dict.fromkeys(used, "x"))

    promql.check_expressions(promql.parse(promql.with_strings(selector, sample)).matchers)
    return selector


Selector = Annotated[str, AfterValidator(_matches_many)]


class MetricLabels(Value):
    """The names of the metric labels that identify service, side, version and pod.

    The pod is enough: the cluster says which service, side and version it belongs to. The others
    decide for series whose pod is unknown.
    """

    service: str = "service"
    track: str = "deployment"
    version: str = "version"
    pod: str = "pod"


SIDE_NAMES = frozenset({"namespace", "service", "deployment", "backend", "port", "route"})
PresetName = Literal[
    "opentelemetry",
    "opentelemetry-old",
    "go",
    "python",
    "node",
    "spring",
    "aspnetcore",
    "grpc",
    "istio",
    "linkerd",
    "envoy-gateway",
    "traefik",
    "nginx-gateway-fabric",
    "cilium",
]


def _side_value(value: str) -> str:
    template = Template(value)
    unknown = set(template.get_identifiers()) - SIDE_NAMES
    if not template.is_valid() or unknown:
        known = ", ".join(f"${name}" for name in sorted(SIDE_NAMES))
        raise ValueError(f"{value!r}: the value of a side may use {known}; write $$ for a $")
    try:
        re.compile(template.substitute(dict.fromkeys(SIDE_NAMES, "x")))
    except re.error as error:
        raise ValueError(f"{value!r} is no regular expression: {error}") from error
    return value


SideValue = Annotated[str, AfterValidator(_side_value)]


class Sides(Value):
    """The label that tells the sides apart where a metric has no pod label (meshes, gateways).

    `canary` and `stable` are its values, as regular expressions for the whole value. `$namespace`,
    `$service` (the name in rollout.yaml), `$deployment`, `$backend` (the Kubernetes Service),
    `$port` and `$route` stand for those of each service and side.
    """

    label: Annotated[str, Field(pattern=r"^[a-zA-Z_]\w*$")]
    canary: SideValue = "$deployment"
    stable: SideValue = "$deployment"

    @model_validator(mode="after")
    def _tell_apart(self) -> Self:
        used = set(Template(self.canary).get_identifiers())
        if self.canary == self.stable and not used & {"deployment", "backend"}:
            raise ValueError(
                "canary and stable have the same value; give different ones, or use $deployment "
                "or $backend"
            )
        return self


_SUMS = re.compile(r".*_(?:sum|(?:bytes|(?:micro|milli|nano)?seconds)_total)")
"""Metrics that add up something else than requests, by the conventions of Prometheus."""
_FACTS = re.compile(r".*_(?:info|bytes|(?:micro|milli|nano)?seconds)")
"""Metrics that are facts, sizes or times, unless a native histogram has that name."""


class ProportionSli(Value):
    """Bad (or good) requests among all requests; every field selects counters.

    `sides` tells the sides apart for the metrics of this SLI, as `sides` of the rollout does for
    all metrics.

    `absent`: what it means that no series has the label or the metric that `bad` asks for.
    ``unmeasured`` (a misspelled selector looks like that) or ``zero`` (the application creates it
    with the first bad request).
    """

    kind: Literal["proportion"]
    of: Selector
    bad: Selector | None = None
    good: Selector | None = None
    sides: Sides | None = None
    absent: Literal["unmeasured", "zero"] = "unmeasured"

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.bad is None) == (self.good is None):
            raise ValueError("give exactly one of bad and good")
        for selector in filter(None, (self.of, self.bad, self.good)):
            if not promql.has_one_bound(selector):
                metric = promql.parse(selector).metric
                raise ValueError(
                    f'{metric} has each request in several buckets; choose one, such as le="0.25"'
                )
            if any(matcher.label == "quantile" for matcher in promql.parse(selector).matchers):
                raise ValueError(
                    f"{selector}: the quantiles of a summary are seconds and no requests; count "
                    "with a histogram (_bucket), or judge a quantile with a sli of kind gauge"
                )
            if _SUMS.fullmatch(metric := promql.parse(selector).metric):
                raise ValueError(
                    f"{metric} adds up seconds or bytes and counts no requests; choose a counter "
                    "of requests, such as the histogram's _count"
                )
            if _FACTS.fullmatch(metric) and promql.native_bound(selector) is None:
                raise ValueError(
                    f"{metric} is no counter of requests by its name; choose one, such as the "
                    "histogram's _count"
                )
        return self


class GaugeSli(Value):
    """A reading per pod, such as resident memory; with `sides`, one of each side."""

    kind: Literal["gauge"]
    value: Selector
    unit: Literal["bytes", "seconds", "count", "share"]
    sides: Sides | None = None


class UsageSli(Value):
    """Usage and limit of a resource.

    Both select gauges; series are summed by the labels `by`, and a usage is compared with the limit
    of the same labels. A limit of 0 or +Inf means no limit.
    """

    kind: Literal["usage"]
    used: Selector
    limit: Selector
    by: tuple[str, ...] = ()


class PresetSli(Value):
    """The requests of a well-known client, mesh or gateway: failed ones, or slow ones.

    With `slower_than`, a bound of the histogram, the SLI is the share of requests that took longer;
    without it, the share of failed requests. `buckets` are the histogram's bounds where the
    application has others than the preset, or ``native`` for a native histogram.
    """

    kind: Literal["preset"] = "preset"
    preset: PresetName
    slower_than: Seconds | None = None
    buckets: tuple[Seconds, ...] | Literal["native"] = ()

    def expanded(self) -> ProportionSli:
        """The selectors that it stands for. Raises ValueError as `presets.latency`."""
        chosen = presets.PRESETS[self.preset]
        sides = None
        if chosen.sides is not None:
            label, canary, stable = chosen.sides
            sides = Sides(label=label, canary=canary, stable=stable)
        if self.slower_than is None:
            of, bad = presets.errors(chosen, native=self.buckets == "native")
            return ProportionSli(kind="proportion", of=of, bad=bad, sides=sides)
        if self.buckets == "native":
            of, good = presets.native_latency(self.preset, chosen, self.slower_than)
        else:
            of, good = presets.latency(self.preset, chosen, self.slower_than, self.buckets)
        return ProportionSli(kind="proportion", of=of, good=good, sides=sides)


def kind(value: Any) -> str | None:
    """Of which kind an SLI is: as it says, or `preset` where it names one."""
    if isinstance(value, dict):
        return "preset" if "preset" in value else value.get("kind")
    return getattr(value, "kind", None)


Sli = Annotated[
    Annotated[ProportionSli, Tag("proportion")]
    | Annotated[GaugeSli, Tag("gauge")]
    | Annotated[UsageSli, Tag("usage")]
    | Annotated[PresetSli, Tag("preset")],
    Discriminator(kind),
]


class Stage(Value):
    """One canary stage: traffic to `weight` percent, evaluated for `duration`.

    While a check is inconclusive, the stage is extended by up to `max_extension`. `approval` asks a
    person before the stage begins.
    """

    weight: int = Field(ge=1, le=100)
    duration: Seconds
    max_extension: Seconds = 600.0
    approval: bool = False
    checks: tuple[CheckRule, ...] = ()

    @property
    def name(self) -> str:
        """The stage's name in journals, annotations and reports."""
        return f"canary-{self.weight}"

    @property
    def questions(self) -> dict[str, str]:
        """What only a person can tell of this stage, by check id."""
        return {each.id: each.question for each in self.checks if isinstance(each, ManualCheck)}

    @property
    def measured_checks(self) -> tuple[CheckRule, ...]:
        """The checks that can be repeated at any time; all if none of these decides."""
        measured = tuple(check for check in self.checks if not check.elsewhere)
        return measured if any(not check.advisory for check in measured) else self.checks


class Side(Value):
    """One side's Deployment and Kubernetes Service."""

    deployment: ObjectName
    service: Label


class SmokeRequest(Value):
    """A request sent to the canary by header before it gets traffic."""

    path: str = Field(pattern=r"^/")
    status: int = 200
    contains: str | None = None


class RouteRef(Value):
    """A route that leads to a service. With `rules`, only the rules of these names are split.

    `namespace` is where the route is if it is not the application's namespace. A VirtualService is
    Istio's; the others are of the Gateway API.
    """

    kind: Literal["HTTPRoute", "GRPCRoute", "VirtualService"] = "HTTPRoute"
    name: ObjectName
    namespace: Label | None = None
    rules: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str | None, str]:
        """What identifies the route."""
        return self.kind, self.namespace, self.name

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.kind.lower()}/{self.name}{where}"


class Service(Value):
    """One service of the application: both sides, its routes, and its smoke tests.

    `name` is the value of `$service` in selectors. `hosts` are keys in the environment's
    `gateway.hostnames`. `route` names the service's one HTTPRoute; `routes` lists several, also
    GRPCRoutes. Several services may share a route.
    """

    name: Name
    port: int = Field(ge=1, le=65535)
    stable: Side
    canary: Side
    route: ObjectName | None = None
    routes: tuple[RouteRef, ...] = ()
    hosts: tuple[str, ...] = Field(min_length=1)
    paths: tuple[str, ...] = Field(min_length=1)
    smoke: tuple[SmokeRequest, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_routes(self) -> Self:
        if (self.route is None) == (not self.routes):
            raise ValueError("give exactly one of route and routes")
        if twice := repeated(self.routes):
            raise ValueError(f"routes: {twice} is listed twice")
        return self

    @property
    def route_refs(self) -> tuple[RouteRef, ...]:
        """The service's routes, however they are written."""
        return self.routes or (RouteRef(name=str(self.route)),)

    @property
    def route_names(self) -> str:
        """The routes as kubectl names them."""
        return ", ".join(map(str, self.route_refs))


class Worker(Value):
    """A Deployment in the canary without traffic of its own, such as a queue worker or agent."""

    name: Name
    stable: ObjectName
    canary: ObjectName


class Statistics(Value):
    """The certainty that the gates require.

    `confidence` sets how many requests an error-free stage requires to pass.
    `false_rollback_budget` is the chance, per release, that a healthy release is rolled back; it is
    divided over stages, services and checks. `false_pass` is the chance that a canary at twice a
    limit passes its stage; it sets how many more requests a stage with errors requires.
    `needless_protection` is the chance, per release, that all traffic leaves a healthy canary for
    a few minutes.
    """

    confidence: Share = 0.95
    false_rollback_budget: Share = 0.01
    false_pass: Share = 0.05
    needless_protection: Share = 0.05


class Promotion(Value):
    """How traffic returns to the upgraded stable: canary weights, with an evaluation at each.

    `bake`: how much longer stable is evaluated at 0 % while the canary can still take the traffic
    back; 0s switches it off.
    """

    weights: tuple[int, ...] = (50, 0)
    look: Seconds = 30.0
    bake: Seconds = 600.0

    def seconds_at(self, weight: int) -> float:
        """How long stable is evaluated while the canary has `weight` percent."""
        return self.look + (self.bake if weight == 0 else 0.0)

    @model_validator(mode="after")
    def _falls_to_zero(self) -> Self:
        if list(self.weights) != sorted(set(self.weights), reverse=True) or self.weights[-1:] != (
            0,
        ):
            raise ValueError("promotion weights must fall and end in 0, such as [50, 0]")
        return self


def _same_unit(check: GaugeCheck, sli: GaugeSli) -> None:
    needed = {
        "bytes": "a number with one of the units kB, MB, GB, KiB, MiB, GiB and B, such as 2.5GB",
        "seconds": "a number with one of the units d, h, m, s and ms, such as 30s",
        "share": "a percentage, such as 80%",
        "count": "a plain number, such as 200",
    }
    if check.limit.unit != sli.unit:
        side = "below" if check.below is not None else "at_least"
        raise ValueError(
            f"check {check.id}: {side} needs {needed[sli.unit]}, "
            f"as sli {check.sli!r} is in {sli.unit}"
        )


def _with_common(stage: Stage, common: tuple[CheckRule, ...]) -> tuple[CheckRule, ...]:
    """The checks of all stages, overridden by the stage's of the same id, then its others."""
    own = {check.id: check for check in stage.checks}
    fitting = [check for check in common if not (check.beside and stage.weight == 100)]
    return (
        *(own.get(check.id, check) for check in fitting),
        *(check for check in stage.checks if check.id not in {each.id for each in fitting}),
    )


class Rollout(Value):
    """rollout.yaml: how this release is rolled out.

    `checks` are those of every stage; a stage's own replace those of the same id and add others. At
    100 % comparisons with stable are left out, as stable has no traffic there.

    `feature_flags` are Helm values that turn on the new behavior of the release. A release that
    requests them sets them in the canary, and in stable when it is promoted. `window` is when a
    release may start; without it, at any time. `share` names the SLI whose requests are compared
    with the weight; without it, they are those of the first check on a proportion. `incidents`: how
    severe an incident is, and whom to ask. `objectives` are the KPIs that `measure` reports.
    `criteria`: limits for stable that go or no-go measures. `readiness`: roles, links, timeline and
    checklists.
    """

    schema_: Literal["tarsrelease/rollout/v1"] = Field(alias="schema")
    application: Application
    version: Version
    chart: FileName
    canary_values: FileName
    labels: MetricLabels = MetricLabels()
    sides: Sides | None = None
    services: tuple[Service, ...] = Field(min_length=1)
    workers: tuple[Worker, ...] = ()
    slis: dict[str, Sli] = Field(min_length=1)
    checks: tuple[CheckRule, ...] = ()
    stages: tuple[Stage, ...] = Field(min_length=1)
    statistics: Statistics = Statistics()
    promotion: Promotion = Promotion()
    feature_flags: dict[str, Any] = {}
    window: Window | None = None
    share: str | None = None
    incidents: IncidentRules = IncidentRules()
    objectives: Objectives = Objectives()
    criteria: dict[Name, Criterion] = {}
    readiness: Readiness = Readiness()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._write_out()
        weights = [stage.weight for stage in self.stages]
        if weights != sorted(set(weights)):
            raise ValueError(f"stages: weights must rise, found {weights}")
        if weights[-1] != 100:
            raise ValueError(f"stages: the last weight must be 100, found {weights[-1]}")
        for what, names in (
            ("services", [service.name for service in self.services]),
            ("workers", [worker.name for worker in self.workers]),
            *(
                (f"checks of the {stage.weight}% stage", [check.id for check in stage.checks])
                for stage in self.stages
            ),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{what}: {min(twice)} is listed twice")
        if self.share is not None:
            self._counts_requests("share", self.share)
        for kpi, name in self.objectives.slis.model_dump(exclude_none=True).items():
            if kpi != "websockets":
                self._counts_requests(f"objectives: {kpi}", name)
            elif getattr(self.slis.get(name), "kind", None) != "gauge":
                raise ValueError(f"objectives: websockets: there is no sli {name!r} of kind gauge")
        for name, criterion in self.criteria.items():
            self._counts_requests(f"criteria: {name}", criterion.sli)
        for stage in self.stages:
            for check in stage.checks:
                self._fits(check)
                if check.beside and stage.weight == 100:
                    raise ValueError(
                        f"check {check.id} compares with stable, which has no traffic at 100%; "
                        "judge by a limit there (kind: proportion or gauge)"
                    )
        return self

    def _write_out(self) -> None:
        """Presets become selectors, and every stage gets the checks of all stages."""
        written = {}
        for name, sli in self.slis.items():
            try:
                written[name] = sli.expanded() if isinstance(sli, PresetSli) else sli
            except ValueError as error:
                raise ValueError(f"slis: {name}: {error}") from error
        stages = tuple(
            stage.model_copy(update={"checks": _with_common(stage, self.checks)})
            for stage in self.stages
        )
        for stage in stages:
            if not stage.checks:
                raise ValueError(f"stages: the {stage.weight}% stage has no checks")
            if all(check.advisory for check in stage.checks):
                raise ValueError(
                    f"stages: the {stage.weight}% stage has only advisory checks, "
                    "which decide nothing"
                )
        self.__dict__.update(slis=written, stages=stages)  # frozen for everybody else

    def _counts_requests(self, what: str, name: str) -> None:
        sli = self.slis.get(name)
        if sli is None:
            known = ", ".join(sorted(self.slis))
            raise ValueError(f"{what}: there is no sli {name!r}; known slis: {known}")
        if sli.kind != "proportion":
            raise ValueError(f"{what}: sli {name!r} is a {sli.kind} and counts no requests")

    def _fits(self, check: CheckRule) -> None:
        for name, kind in check.named_slis().items():
            sli = self.slis.get(name)
            if sli is None:
                known = ", ".join(sorted(self.slis))
                raise ValueError(f"check {check.id}: there is no sli {name!r}; known slis: {known}")
            if sli.kind != kind:
                raise ValueError(
                    f"check {check.id}: sli {name!r} is a {sli.kind}, the check needs a {kind}"
                )
            if isinstance(check, GaugeCheck) and isinstance(sli, GaugeSli):
                _same_unit(check, sli)
        self._judges_somebody(check)

    def _judges_somebody(self, check: CheckRule) -> None:
        judged = [each.name for each in self.services] + [each.name for each in self.workers]
        for name in check.services:
            if name not in judged:
                known = ", ".join(judged)
                raise ValueError(f"check {check.id}: there is no {name!r}; there are {known}")
        if check.scope is Scope.RELEASE and check.services:
            raise ValueError(
                f"check {check.id}: kind {check.kind} judges the release as a whole; leave "
                "services out"
            )
        with_requests = {each.name for each in self.services}
        without = sorted(set(check.services) - with_requests)
        if check.scope is Scope.SERVICES and without:
            raise ValueError(
                f"check {check.id}: kind {check.kind} counts requests, and worker {without[0]} "
                "gets none; use gauge, like_stable, ready, restarts or absent for workers"
            )

    def stage_before(self, stage: Stage) -> Stage | None:
        """The stage that comes before this one; None for the first."""
        lower = [each for each in self.stages if each.weight < stage.weight]
        return lower[-1] if lower else None

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
