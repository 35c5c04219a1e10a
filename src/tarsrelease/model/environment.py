"""environments/<name>.yaml: where a release goes. Secrets only as names of variables."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tarsrelease.model.base import Bytes, Name, Seconds, Share, Value
from tarsrelease.model.checks import CheckId, CheckRule
from tarsrelease.model.format import duration
from tarsrelease.model.rollout import Rollout, Stage

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")]
HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$")]


class Kubernetes(Value):
    """`context` names a context of the kubeconfig in use; None means its current one."""

    context: str | None = None
    namespace: Name


class Gateway(Value):
    """The Gateway that routes attach to, and how the release tool itself reaches it.

    `hostnames` maps the host keys of rollout.yaml to real host names. `address` is where smoke
    tests are sent, with the host name in the Host header.
    """

    name: Name
    namespace: Name
    listener: str | None = None
    address: HttpUrl
    hostnames: dict[str, str] = Field(min_length=1)
    canary_header: str = "x-tars-canary"
    settle: Seconds = 10.0


class BasicAuth(Value):
    """The names of the variables with the user's name and password."""

    username_env: VariableName
    password_env: VariableName


class ClientTls(Value):
    """Certificates, each by the name of a variable that holds a PEM file's path or its text.

    `ca_env` replaces this machine's roots. Certificate and key prove who asks (mutual TLS).
    """

    ca_env: VariableName | None = None
    certificate_env: VariableName | None = None
    key_env: VariableName | None = None

    @model_validator(mode="after")
    def _in_pairs(self) -> Self:
        if (self.certificate_env is None) != (self.key_env is None):
            raise ValueError("certificate_env and key_env go together")
        if self.ca_env is None and self.certificate_env is None:
            raise ValueError("give ca_env, or certificate_env and key_env, or leave tls out")
        return self


_WHOLE = {
    "prometheus": {},
    # One answer for replicas, no downsampled blocks, and an error where a store is away.
    "thanos": {"partial_response": "false", "dedup": "true", "max_source_resolution": "0s"},
    "mimir": {},
    # Without nocache its newest samples (30 s by default) are held back from queries.
    "victoriametrics": {"deny_partial_response": "1", "nocache": "1"},
}
_TENANT_HEADER = {
    "prometheus": "X-Scope-OrgID",
    "mimir": "X-Scope-OrgID",
    "thanos": "THANOS-TENANT",
}
_OURS = frozenset({"query", "time", "start", "end", "step", "timeout"})
_SECRET = frozenset({"authorization", "cookie", "proxy-authorization"})


class Prometheus(Value):
    """Anything that speaks Prometheus' HTTP API; `backend` says which, for what is its own.

    `token_env` names the variable with a bearer token. `tenant` is sent in the back end's header;
    VictoriaMetrics has its tenant in the address. `parameters` and `headers` go with every
    query, over the ones of the back end; they are no place for secrets.
    """

    url: HttpUrl
    backend: Literal["prometheus", "thanos", "mimir", "victoriametrics"] = "prometheus"
    scrape_interval: Seconds = 15.0
    timeout: Seconds = 5.0
    token_env: VariableName | None = None
    basic: BasicAuth | None = None
    tls: ClientTls | None = None
    tenant: Annotated[str, StringConstraints(pattern=r"^[^\s|]+(\|[^\s|]+)*$")] | None = None
    parameters: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w\[\]]*$")], str] = {}
    headers: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")], str] = {}

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if self.token_env is not None and self.basic is not None:
            raise ValueError("give token_env or basic, not both")
        if self.tls is not None and not self.url.startswith("https:"):
            raise ValueError("tls needs an https:// address")
        if self.tenant is not None and self.backend not in _TENANT_HEADER:
            raise ValueError(
                "VictoriaMetrics takes its tenant from the address, such as "
                "https://vmselect/select/42/prometheus; leave tenant out"
            )
        for name in sorted(_OURS & self.parameters.keys()):
            raise ValueError(f"parameters: {name} is set with every query; leave it out")
        for name, whole in _WHOLE[self.backend].items():
            if "partial" in name and self.parameters.get(name, whole) != whole:
                raise ValueError(
                    f"parameters: {name} must be {whole}: a part of the data decides nothing"
                )
        for name in self.headers:
            if name.lower() in _SECRET:
                raise ValueError(f"headers: {name} is a secret; use token_env or basic")
        return self

    @property
    def sent_parameters(self) -> dict[str, str]:
        """What goes with every query, beside the query itself."""
        return {**_WHOLE[self.backend], **self.parameters}

    @property
    def sent_headers(self) -> dict[str, str]:
        """The tenant's and the fixed headers; no secret is among them."""
        tenant = {} if self.tenant is None else {_TENANT_HEADER[self.backend]: self.tenant}
        return tenant | self.headers


class Helm(Value):
    """Values of this environment, on top of the chart's: for both sides, and for the canary."""

    values: dict[str, Any] = {}
    canary_values: dict[str, Any] = {}


class PortForward(Value):
    """A Service of the environment's namespace that is reached through `kubectl port-forward`."""

    service: Name
    port: int = Field(default=5432, ge=1, le=65535)


class DatabaseUsage(Value):
    """Limits on what the database's pod uses, read from the environment's Prometheus.

    `cpu` and `memory` are PromQL selectors of the pod's counter of CPU seconds and gauge of bytes;
    the values of several series are added up. `cpu_below` is in cores.
    """

    cpu: str
    cpu_below: float = Field(gt=0)
    memory: str
    memory_below: Bytes


class DatabaseGuards(Value):
    """A migration waits while one of these is broken, for `patience` at most; then it holds.

    `volume` is the size of the database's disk, which no SQL can tell; without it the disk is not
    checked. `disk_below` is the share of it that may be used when a statement has ended.
    """

    replication_lag: Seconds = 10.0
    oldest_transaction: Seconds = 300.0
    free_connections: int = Field(default=5, ge=1)
    volume: Bytes | None = None
    disk_below: Share = 0.85
    usage: DatabaseUsage | None = None
    patience: Seconds = 600.0


class MigrationJob(Value):
    """The Job that `--as-job` makes: an image with tarsrelease in it, and the Secret with the DSN.

    `secret_key` is the key of `secret` that holds it. `service_account` is for a database that asks
    for one: the pod needs no right in the cluster, and gets no token of it.
    """

    image: str
    secret: Name
    secret_key: str = "dsn"  # noqa: S105 - the name of a key
    deadline: Seconds = 7200.0
    service_account: Name | None = None


class Database(Value):
    """The application's PostgreSQL. `dsn_env` names the variable with its address and password.

    `tls` is libpq's sslmode, and replaces the DSN's. `schema_name` is where the history is kept
    and unqualified names are looked up. `lock_timeout`: how long a statement may wait for a lock,
    with everybody else queueing behind it; then it gives way, and tries again for
    `lock_patience` in all. `statement_timeout`: one statement in a transaction; `blocking_timeout`:
    one whose locks may stop others, where its file does not allow that by name and reason.
    `build_deadline`: one that runs beside the traffic, as CREATE INDEX CONCURRENTLY, and
    `build_workers` how many parallel workers of the server it may take from it. `scratch_env`
    names the variable with the DSN of a server for throwaway copies; without it one is started
    on this machine. `answers_within`: `migrate verify`'s limit for a trivial query.
    `contract_after`: how long after its promotion a release is not rolled back any more.
    """

    dsn_env: VariableName
    tls: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] | None = None
    schema_name: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*$")] = "public"
    port_forward: PortForward | None = None
    connect_timeout: Seconds = 5.0
    lock_timeout: Seconds = 1.0
    lock_patience: Seconds = 300.0
    statement_timeout: Seconds = 300.0
    blocking_timeout: Seconds = 5.0
    build_deadline: Seconds = 3600.0
    build_workers: int = Field(default=0, ge=0, le=64)
    answers_within: Seconds = 0.1
    contract_after: Seconds = 86400.0
    scratch_env: VariableName | None = None
    guards: DatabaseGuards = DatabaseGuards()
    job: MigrationJob | None = None


class Limits(Value):
    """Deadlines.

    `metrics_outage`: how long a gate may be without metrics; then it holds, and the traffic stays
    where it is or is taken off, as `after_metrics_outage` says. `wait`: how long traffic stays on a
    canary that waits for a person. `deploy`: one Helm upgrade with its
    rollout. `rollback`: one budget that all phases of a rollback share.
    """

    metrics_outage: Seconds = 180.0
    after_metrics_outage: Literal["hold", "traffic-off"] = "hold"
    wait: Seconds = 1800.0
    deploy: Seconds = 300.0
    rollback: Seconds = 300.0


class Overrides(Value):
    """Deviations from rollout.yaml, for rehearsals; every report prints them.

    `any_time` leaves out the deployment window. `answers` stand for the people whom manual checks
    ask.
    """

    stage_duration: Seconds | None = None
    max_extension: Seconds | None = None
    confidence: Share | None = None
    promotion_look: Seconds | None = None
    any_time: bool = False
    gauge_limits: dict[CheckId, Bytes] = {}
    bad_share_limits: dict[CheckId, Share] = {}
    answers: dict[CheckId, bool] = {}

    def limits(self, unit: str | None) -> dict[CheckId, float]:
        """The limits in this unit by check id."""
        return {"bytes": self.gauge_limits, "share": self.bad_share_limits}.get(unit or "", {})


class Slack(Value):
    """An incoming webhook. Its address is a secret, so that only its variable is named."""

    webhook_env: VariableName


class PagerDuty(Value):
    """The Events API v2. `routing_key_env` names the variable with the integration's key."""

    routing_key_env: VariableName
    url: HttpUrl = "https://events.pagerduty.com"


class Notifications(Value):
    """Who is told what happens. Whoever is not named here is told nothing."""

    slack: Slack | None = None
    pagerduty: PagerDuty | None = None


class GitHubEnvironment(Value):
    """A GitHub environment as it should be. `reviewers`: logins, or teams as ``org/team``.

    One approval of any reviewer suffices; that is GitHub's rule, and why two people need two
    environments.
    """

    name: str
    reviewers: tuple[str, ...] = Field(default=(), max_length=6)
    prevent_self_review: bool = True
    administrators_bypass: bool = False


class GitHub(Value):
    """Where the pipeline runs, and who must approve there.

    `repository` is OWNER/NAME, by default the one that a workflow runs in. `two_people` names the
    environments that must each be approved by another person.
    """

    repository: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    token_env: VariableName = "GITHUB_TOKEN"  # noqa: S105 - the name of a variable
    api: HttpUrl = "https://api.github.com"
    environments: tuple[GitHubEnvironment, ...] = ()
    two_people: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = [place.name for place in self.environments]
        twice = {name for name in known if known.count(name) > 1}
        if twice:
            raise ValueError(f"environments: {min(twice)} stands twice")
        for name in self.two_people:
            if name not in known:
                raise ValueError(f"two_people: {name!r} is none of environments")
        if len(self.two_people) == 1:
            raise ValueError("two_people: give at least two environments, or none")
        return self


class Environment(Value):
    """environments/<name>.yaml.

    `staging` names the environment where a release runs before it comes here: go/no-go asks for
    its version there, preflight for its feature flags.
    """

    schema_: Literal["tarsrelease/environment/v1"] = Field(alias="schema")
    name: Name
    kubernetes: Kubernetes
    gateway: Gateway
    prometheus: Prometheus
    helm: Helm = Helm()
    database: Database | None = None
    limits: Limits = Limits()
    notifications: Notifications = Notifications()
    github: GitHub | None = None
    staging: Name | None = None
    overrides: Overrides = Overrides()

    @model_validator(mode="after")
    def _another(self) -> Self:
        if self.staging == self.name:
            raise ValueError("staging: must be another environment than this one")
        return self


def _overridden(check: CheckRule, overrides: Overrides) -> CheckRule:
    limits = overrides.limits(check.limit_unit)
    return check.limited_to(limits[check.id]) if check.id in limits else check


def _overridden_stage(stage: Stage, overrides: Overrides) -> Stage:
    checks = tuple(_overridden(check, overrides) for check in stage.checks)
    update: dict[str, object] = {"checks": checks}
    if overrides.stage_duration is not None:
        update["duration"] = overrides.stage_duration
    if overrides.max_extension is not None:
        update["max_extension"] = overrides.max_extension
    return stage.model_copy(update=update)


def apply_overrides(rollout: Rollout, overrides: Overrides) -> Rollout:
    """The rollout as this environment plays it."""
    statistics = rollout.statistics
    if overrides.confidence is not None:
        statistics = statistics.model_copy(update={"confidence": overrides.confidence})
    promotion = rollout.promotion
    if overrides.promotion_look is not None:
        promotion = promotion.model_copy(update={"look": overrides.promotion_look})
    return rollout.model_copy(
        update={
            "stages": tuple(_overridden_stage(stage, overrides) for stage in rollout.stages),
            "statistics": statistics,
            "promotion": promotion,
            "window": None if overrides.any_time else rollout.window,
        }
    )


def describe_overrides(overrides: Overrides) -> tuple[str, ...]:
    """One line an override, for reports; empty where there is none."""
    seconds = {
        "stage duration": overrides.stage_duration,
        "longest extension": overrides.max_extension,
        "look at each step of the promotion": overrides.promotion_look,
    }
    said = [f"{what}: {duration(value)}" for what, value in seconds.items() if value is not None]
    if overrides.any_time:
        said.append("deployment window: any time")
    if overrides.confidence is not None:
        said.append(f"confidence: {overrides.confidence * 100:g} %")
    said += [
        f"limit of {name}: {limit / 1e6:g} MB" for name, limit in overrides.gauge_limits.items()
    ]
    said += [
        f"limit of {name}: {limit * 100:g} %" for name, limit in overrides.bad_share_limits.items()
    ]
    said += [
        f"answer to {name}: {'yes' if yes else 'no'}" for name, yes in overrides.answers.items()
    ]
    return tuple(said)
