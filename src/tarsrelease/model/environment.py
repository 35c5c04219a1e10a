"""environments/<name>.yaml: where a release goes. Secrets only as names of variables."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from tarsrelease.model import promql
from tarsrelease.model.base import Label, Name, ObjectName, Seconds, Share, Value, repeated
from tarsrelease.model.connections import ClientTls, HttpUrl, VariableName
from tarsrelease.model.database import Database
from tarsrelease.model.github import GitHub
from tarsrelease.model.metrics_server import NO_PROMETHEUS, PodMetricsEndpoints, Prometheus
from tarsrelease.model.notifications import Notifications
from tarsrelease.model.overrides import Overrides


class Kubernetes(Value):
    """The cluster. `context` names a context of the kubeconfig; by default its current context."""

    context: str | None = None
    namespace: Label


class Gateway(Value):
    """The Gateway that routes attach to, and how tarsrelease reaches it.

    `hostnames` maps the host keys of rollout.yaml to real host names. Smoke tests go to `address`,
    with the host name in the Host header and, for https, in the TLS handshake (SNI).
    """

    name: ObjectName
    namespace: Label
    listener: str | None = None
    address: HttpUrl
    tls: ClientTls | None = None
    hostnames: dict[str, str] = Field(min_length=1)
    canary_header: str = "x-tars-canary"
    settle: Seconds = 10.0

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        if self.tls is not None and not self.address.startswith("https:"):
            raise ValueError("tls needs an https:// address")
        return self


class Helm(Value):
    """Helm values of this environment: `values` for both sides, `canary_values` for the canary.

    `values_files` are laid under `values` in this order, as ``helm --values`` does; their paths are
    relative to the environment file.
    """

    values_files: tuple[str, ...] = ()
    values: dict[str, Any] = {}
    canary_values: dict[str, Any] = {}


class Limits(Value):
    """Time limits.

    `metrics_outage`: how long a gate may be without metrics before it holds; `after_metrics_outage`
    says whether the traffic then stays (`hold`) or moves to stable (`traffic-off`). A verdict waits
    as long for an API server that does not answer. `wait`: how long traffic stays on a canary that
    waits for a person. `deploy`: one Helm upgrade with its rollout, and how long a step tries again
    while the API server does not answer. `rollback`: all phases of a rollback together.
    """

    metrics_outage: Seconds = 180.0
    after_metrics_outage: Literal["hold", "traffic-off"] = "hold"
    wait: Seconds = 1800.0
    deploy: Seconds = 300.0
    rollback: Seconds = 300.0


class Backup(Value):
    """The CronJob that backs the database up, and how old its last success may be."""

    cronjob: ObjectName
    within: Seconds = 86400.0


class RedisServer(Value):
    """A Redis or Valkey: HOST:PORT, and the variable with its password, if it has one.

    `below` is the share of maxmemory that may be used.
    """

    address: Annotated[str, StringConstraints(pattern=r"^[^\s:/]+:\d+$")]
    password_env: VariableName | None = None
    tls: bool = False
    below: Share = 0.8


class Resource(Value):
    """Usage and limit of a resource, such as a node's memory, as in an SLI of kind usage.

    Both select series of Prometheus (`$namespace` stands for the namespace), summed by the labels
    `by`. With `rate`, what is used is a counter, such as CPU seconds.
    """

    used: str
    limit: str
    by: tuple[str, ...] = ()
    rate: bool = False
    below: Share = 0.8

    @field_validator("used", "limit")
    @classmethod
    def _is_a_selector(cls, given: str) -> str:
        promql.parse(given.replace("$namespace", "x"))
        return given


class Preflight(Value):
    """What `check preflight` checks beside the release; what is not given is skipped.

    `targets` is whether every ready pod must be scraped: `true`, `false` (metrics that are pushed
    have no ``up``), or the selector of the series that say it, such as
    ``up{namespace="$namespace",job="shop"}``. `disruption_budgets` are the names of
    PodDisruptionBudgets that must allow a disruption. `endpoints` must answer with status 200,
    `certificates` is how long those of the gateway and the endpoints must still be valid.
    `nodes_below` is the share of each node's CPU and memory that may be requested and in use; null
    does not check it. `capacity` names other resources that must have room left.
    """

    targets: bool | str = True
    backup: Backup | None = None
    redis: RedisServer | None = None
    disruption_budgets: tuple[Name, ...] = ()
    endpoints: tuple[HttpUrl, ...] = ()
    certificates: Seconds = 14 * 86400.0
    nodes_below: Share | None = 0.8
    capacity: dict[Name, Resource] = {}

    @model_validator(mode="after")
    def _is_a_selector(self) -> Self:
        if isinstance(self.targets, str) and not re.fullmatch(
            r"[a-zA-Z_:][a-zA-Z0-9_:]*\{.*\}", self.targets
        ):
            raise ValueError('targets: give true, false or a selector such as up{job="shop"}')
        return self


_OWN_SECTIONS = (
    "kubernetes",
    "gateway",
    "metrics",
    "pod_metrics",
    "prometheus",
    "helm",
    "database",
)


class Target(Value):
    """One cluster of an environment. A section that it has replaces the environment's."""

    name: Name
    region: Name | None = None
    kubernetes: Kubernetes
    gateway: Gateway | None = None
    metrics: Literal["prometheus", "pods", "both"] | None = None
    pod_metrics: PodMetricsEndpoints | None = None
    prometheus: Prometheus | None = None
    helm: Helm | None = None
    database: Database | None = None


class Wave(Value):
    """Targets that receive a release at the same time.

    `parallel` is how many of them at once. Up to `max_unavailable` of them may be left out of a
    release, each with a reason (``run --leave-out``). `bake` is the time between the end of this
    wave and the start of the next. `on_failure` says what is rolled back when a target fails: the
    other targets of its wave, or those of all waves so far.
    """

    targets: tuple[Name, ...] = Field(min_length=1)
    parallel: int = Field(default=8, ge=1, le=200)
    max_unavailable: int = Field(default=0, ge=0)
    bake: Seconds = 0.0
    on_failure: Literal["wave", "all"] = "wave"

    @model_validator(mode="after")
    def _has_one_left(self) -> Self:
        if self.max_unavailable >= len(self.targets):
            raise ValueError("max_unavailable: at least one target of the wave must remain")
        return self


class Environment(Value):
    """environments/<name>.yaml: where a release goes.

    `metrics` is the source of a stage's samples: the Prometheus API, the metrics pages of the pods
    themselves (read every second through the API server, with the right in
    rbac/pod-metrics.yaml), or both: whichever proves a failure first acts, and Prometheus keeps
    the long windows. With `pods`, `prometheus` may be left out. `pod_metrics` says where the pages
    are.

    `staging` names the environment that runs a release first: go/no-go checks its version there,
    preflight its feature flags.

    `targets` are the clusters of an environment that has several. `waves` is the order in which a
    release reaches them.
    """

    schema_: Literal["tarsrelease/environment/v1"] = Field(alias="schema")
    name: Name
    kubernetes: Kubernetes
    gateway: Gateway
    metrics: Literal["prometheus", "pods", "both"] = "prometheus"
    pod_metrics: PodMetricsEndpoints | None = None
    prometheus: Prometheus = Prometheus.model_validate(
        {"url": NO_PROMETHEUS, "scrape_interval": "1s"}
    )
    helm: Helm = Helm()
    database: Database | None = None
    limits: Limits = Limits()
    preflight: Preflight = Preflight()
    notifications: Notifications = Notifications()
    github: GitHub | None = None
    staging: Name | None = None
    targets: tuple[Target, ...] = ()
    waves: tuple[Wave, ...] = ()
    overrides: Overrides = Overrides()

    @model_validator(mode="after")
    def _each_target_has_its_wave(self) -> Self:
        names = [target.name for target in self.targets]
        waves = [name for wave in self.waves for name in wave.targets]
        if twice := repeated(names):
            raise ValueError(f"targets: {twice} is listed twice")
        if place := repeated([target.kubernetes for target in self.targets]):
            raise ValueError(
                f"targets: two are the namespace {place.namespace} of the context {place.context}"
            )
        if unknown := [name for name in waves if name not in names]:
            raise ValueError(f"waves: {unknown[0]} is not one of the targets")
        if twice := repeated(waves):
            raise ValueError(f"waves: {twice} is in two waves")
        if missing := [name for name in names if name not in waves]:
            raise ValueError(f"waves: no wave has the target {missing[0]}")
        return self

    def sharing(self, name: str) -> tuple[str, ...]:
        """The targets that use the database of this one, itself included; () if it has none.

        A database is known by the variable with its DSN and its schema. One that is reached by
        port-forward is that of its own cluster.
        """
        by_name = {target.name: target.database or self.database for target in self.targets}
        own = by_name[name]
        if own is None:
            return ()
        if own.port_forward is not None:
            return (name,)
        return tuple(
            other
            for other, its in by_name.items()
            if its is not None
            and its.port_forward is None
            and (its.dsn_env, its.schema_name) == (own.dsn_env, own.schema_name)
        )

    def at(self, target: Target) -> Self:
        """The environment as it is at one of its targets, named as in ``production/eu-1``.

        The targets share one half of the release's false rollback budget; the other half is that of
        the waves, which judge their targets together.
        """
        own = {name: getattr(target, name) for name in _OWN_SECTIONS}
        sections = {name: section for name, section in own.items() if section is not None}
        share = self.overrides.budget_share / (2 * len(self.targets))
        update = {
            "name": f"{self.name}/{target.name}",
            "targets": (),
            "waves": (),
            "overrides": self.overrides.model_copy(update={"budget_share": share}),
        }
        return self.model_copy(update={**sections, **update})

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if self.metrics != "pods" and self.prometheus.url == NO_PROMETHEUS:
            raise ValueError("prometheus is missing; only with metrics: pods it may be left out")
        return self

    @model_validator(mode="after")
    def _another(self) -> Self:
        if self.staging == self.name:
            raise ValueError("staging: must be another environment than this one")
        return self
