"""environments/<name>.yaml: where a release goes. Secrets only as names of variables."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from tarsrelease.model import promql
from tarsrelease.model.base import (
    Amount,
    AnyAmount,
    Bytes,
    Name,
    Seconds,
    Share,
    Value,
    repeated,
)
from tarsrelease.model.checks import CheckId, CheckRule
from tarsrelease.model.format import amount, duration
from tarsrelease.model.notice import Event
from tarsrelease.model.rollout import Rollout, Stage

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")]
HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$")]


class Kubernetes(Value):
    """The cluster. `context` names a context of the kubeconfig; by default its current context."""

    context: str | None = None
    namespace: Name


class ClientTls(Value):
    """Certificates. Each field names a variable that holds the path of a PEM file or its text.

    `ca_env` replaces the root certificates of this machine. `certificate_env` and `key_env`
    authenticate the client (mutual TLS). `server_name` is the name in the server's certificate if
    it is not the one in the address.
    """

    ca_env: VariableName | None = None
    certificate_env: VariableName | None = None
    key_env: VariableName | None = None
    server_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]+$")] | None = None

    @model_validator(mode="after")
    def _in_pairs(self) -> Self:
        if (self.certificate_env is None) != (self.key_env is None):
            raise ValueError("certificate_env and key_env go together")
        if (self.ca_env, self.certificate_env, self.server_name) == (None, None, None):
            raise ValueError("give ca_env, or certificate_env and key_env, or leave tls out")
        return self


class Gateway(Value):
    """The Gateway that routes attach to, and how tarsrelease reaches it.

    `hostnames` maps the host keys of rollout.yaml to real host names. Smoke tests go to `address`,
    with the host name in the Host header and, for https, in the TLS handshake (SNI).
    """

    name: Name
    namespace: Name
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


class BasicAuth(Value):
    """The names of the variables that hold user name and password."""

    username_env: VariableName
    password_env: VariableName


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


def _conditions(text: str) -> str:
    try:
        matchers = promql.parse_matchers(text)
    except ValueError as error:
        raise ValueError(
            f'{error}; write conditions as in a selector, such as cluster="eu1"'
        ) from error
    if any(matcher.label == "__name__" for matcher in matchers):
        raise ValueError("__name__ cannot be a condition: each query has its own metric")
    return text.strip().rstrip(",").rstrip()


Conditions = Annotated[str, AfterValidator(_conditions)]


def _plain_selector(text: str) -> str:
    promql.check_expressions(promql.parse(promql.with_matchers(text, "")).matchers)
    return text


PlainSelector = Annotated[str, AfterValidator(_plain_selector)]
_OURS = frozenset({"query", "time", "start", "end", "step", "timeout"})
_SECRET = frozenset({"authorization", "cookie", "proxy-authorization"})


class Prometheus(Value):
    """A server with the Prometheus HTTP API; `backend` says which one.

    `token_env` names the variable with a bearer token. `tenant` is sent in the header of the back
    end; VictoriaMetrics has its tenant in the address. `parameters` and `headers` are sent with
    every query and override those of the back end. Never put secrets there. `match` are conditions
    that every query gets, such as ``cluster="eu1"`` on a server that several clusters share.
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
    match: Conditions = ""

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
    def secret_variables(self) -> tuple[str, ...]:
        """The names of the variables that hold who asks."""
        basic = (self.basic.username_env, self.basic.password_env) if self.basic else ()
        return (self.token_env, *basic) if self.token_env else basic

    @property
    def sent_headers(self) -> dict[str, str]:
        """The tenant's and the fixed headers; no secret is among them."""
        tenant = {} if self.tenant is None else {_TENANT_HEADER[self.backend]: self.tenant}
        return tenant | self.headers


class PodMetricsEndpoint(Value):
    """Where the release's pods have their metrics, if neither annotations nor a port say it."""

    port: int = Field(ge=1, le=65535)
    path: Annotated[str, StringConstraints(pattern=r"^/\S*$")] = "/metrics"
    scheme: Literal["http", "https"] = "http"


class Helm(Value):
    """Helm values of this environment: `values` for both sides, `canary_values` for the canary.

    `values_files` are laid under `values` in this order, as ``helm --values`` does; their paths are
    relative to the environment file.
    """

    values_files: tuple[str, ...] = ()
    values: dict[str, Any] = {}
    canary_values: dict[str, Any] = {}


class PortForward(Value):
    """A Service in the environment's namespace, reached with `kubectl port-forward`."""

    service: Name
    port: int = Field(default=5432, ge=1, le=65535)


class DatabaseUsage(Value):
    """Limits on the resource usage of the database's pod, read from Prometheus.

    `cpu` and `memory` are PromQL selectors of a counter of CPU seconds and a gauge of bytes; the
    values of several series are summed. `cpu_below` is in cores.
    """

    cpu: PlainSelector
    cpu_below: float = Field(gt=0)
    memory: PlainSelector
    memory_below: Bytes


class DatabaseGuards(Value):
    """Guards: a migration waits while one is violated, for at most `patience`; then it holds.

    `volume` is the size of the database's disk, which SQL cannot tell; without it, the disk is not
    checked. `disk_below` is the share of the disk that may be used after a statement.
    """

    replication_lag: Seconds = 10.0
    oldest_transaction: Seconds = 300.0
    free_connections: int = Field(default=5, ge=1)
    volume: Bytes | None = None
    disk_below: Share = 0.85
    usage: DatabaseUsage | None = None
    patience: Seconds = 600.0


class MigrationJob(Value):
    """The Job that `--as-job` creates: an image with tarsrelease, and the Secret with the DSN.

    `secret_key` is the key of the DSN in `secret`. Set `service_account` if the database requires
    one; the pod needs no rights in the cluster and gets no token for it.
    """

    image: str
    secret: Name
    secret_key: str = "dsn"  # noqa: S105 - the name of a key
    deadline: Seconds = 7200.0
    service_account: Name | None = None


class Database(Value):
    """The application's PostgreSQL. `dsn_env` names the variable with the DSN.

    `tls` is libpq's sslmode and replaces the DSN's. `schema_name` is the schema of the history and
    of unqualified names. `lock_timeout`: how long a statement waits for a lock while other sessions
    queue behind it; it then gives way and retries, for `lock_patience` in total.
    `statement_timeout`: the limit of a statement in a transaction. `blocking_timeout`: the limit of
    a statement whose locks may block others and that its file does not allow with a reason.
    `build_deadline`: the limit of a statement that runs beside the traffic, such as CREATE INDEX
    CONCURRENTLY; `build_workers`: the parallel workers it may use. `scratch_env` names the variable
    with the DSN of a server for throwaway copies; without it, one is started on this machine.
    `answers_within`: the limit of `migrate verify` for a trivial query. `contract_after`: the time
    after the promotion during which a rollback is still possible.
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
    """Time limits.

    `metrics_outage`: how long a gate may be without metrics before it holds; `after_metrics_outage`
    says whether the traffic then stays (`hold`) or moves to stable (`traffic-off`). `wait`: how
    long traffic stays on a canary that waits for a person. `deploy`: one Helm upgrade with its
    rollout. `rollback`: all phases of a rollback together.
    """

    metrics_outage: Seconds = 180.0
    after_metrics_outage: Literal["hold", "traffic-off"] = "hold"
    wait: Seconds = 1800.0
    deploy: Seconds = 300.0
    rollback: Seconds = 300.0


class Overrides(Value):
    """Differences from rollout.yaml, for rehearsals; every report prints them.

    `any_time` ignores the deployment window, and with `no_votes` go or no-go needs no votes.
    `criteria_over` replaces the periods of its criteria. `answers` answer the manual checks.
    """

    stage_duration: Seconds | None = None
    max_extension: Seconds | None = None
    confidence: Share | None = None
    false_pass: Share | None = None
    promotion_look: Seconds | None = None
    promotion_bake: Seconds | None = None
    any_time: bool = False
    no_votes: bool = False
    criteria_over: Seconds | None = None
    gauge_limits: dict[CheckId, AnyAmount] = {}
    bad_share_limits: dict[CheckId, Share] = {}
    answers: dict[CheckId, bool] = {}

    def limits(self, table: str | None) -> dict[CheckId, Amount]:
        """The limits of `gauge_limits` or `bad_share_limits` by check id."""
        shares = {
            check: Amount(value=share, unit="share")
            for check, share in self.bad_share_limits.items()
        }
        known = {"gauge_limits": self.gauge_limits, "bad_share_limits": shares}
        return known.get(table or "", {})


PagerDutyId = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]+$")]


class SlackChannel(Value):
    """A channel that the bot writes to: its name or id, and how much it is told.

    `technical`: every event with reasons and links. `support`: what customers may notice, and what
    they read. `summary`: begin, end, rollback and incidents, in a line each.
    """

    name: Annotated[str, StringConstraints(pattern=r"^#?[A-Za-z0-9_-]{1,80}$")]
    detail: Literal["technical", "support", "summary"] = "technical"


class Slack(Value):
    """A bot with channels, an incoming webhook, or both.

    The webhook's address and the bot's token are secrets, so `webhook_env` and `token_env` name the
    variables with them. The bot writes one thread per release in each of `channels` and needs the
    scope chat:write. The webhook gets each message alone, with all details.
    """

    webhook_env: VariableName | None = None
    token_env: VariableName | None = None
    channels: tuple[SlackChannel, ...] = ()
    url: HttpUrl = "https://slack.com/api"

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.token_env is None) != (not self.channels):
            raise ValueError("give token_env and channels together")
        if self.webhook_env is None and self.token_env is None:
            raise ValueError("give webhook_env, or token_env with channels")
        names = [each.name for each in self.channels]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"channels: {min(twice)} is listed twice")
        return self


class PagerDuty(Value):
    """The Events API v2. `routing_key_env` names the variable with the integration's key.

    With `token_env`, the variable with a read-only key of the REST API, go or no-go asks for active
    incidents (of `services`, by id) and readiness who is on call (in `escalation_policies`, by id);
    without ids, of the whole account.
    """

    routing_key_env: VariableName
    url: HttpUrl = "https://events.pagerduty.com"
    token_env: VariableName | None = None
    api: HttpUrl = "https://api.pagerduty.com"
    services: tuple[PagerDutyId, ...] = ()
    escalation_policies: tuple[PagerDutyId, ...] = ()


class Statuspage(Value):
    """Atlassian Statuspage. `token_env` names the variable with the API key."""

    page: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+$")]
    token_env: VariableName
    components: tuple[str, ...] = ()
    url: HttpUrl = "https://api.statuspage.io"


MailAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$")]


class Email(Value):
    """A mail server. The connection is always encrypted: by STARTTLS, or from the beginning.

    `ca_file` is a bundle of certificates for a private authority. `customers` get the announcement
    to customers, and nothing else.
    """

    host: str
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls"] = "starttls"
    sender: MailAddress
    to: tuple[MailAddress, ...] = Field(min_length=1)
    customers: tuple[MailAddress, ...] = ()
    username_env: VariableName | None = None
    password_env: VariableName | None = None
    ca_file: str | None = None

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        if (self.username_env is None) != (self.password_env is None):
            raise ValueError("give both username_env and password_env, or neither")
        return self


class Webhook(Value):
    """Any other receiver. Its address is a secret, so `url_env` names the variable with it.

    With `secret_env`, the header X-Tarsrelease-Signature-256 has ``sha256=`` and the HMAC of the
    body. `form` is how the body is written. `events` limits it to these events.
    """

    name: Name
    url_env: VariableName
    secret_env: VariableName | None = None
    form: Literal["json", "teams", "discord", "google-chat"] = "json"
    events: tuple[Event, ...] = ()


class Notifications(Value):
    """The receivers of messages. A receiver that is not named gets no messages.

    `templates` is a folder with texts of the team's own, a Jinja2 file an event: the first line
    becomes the headline, the others the reason.
    """

    slack: Slack | None = None
    pagerduty: PagerDuty | None = None
    statuspage: Statuspage | None = None
    email: Email | None = None
    webhooks: tuple[Webhook, ...] = ()
    templates: str | None = None

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if twice := repeated([each.name for each in self.webhooks]):
            raise ValueError(f"webhooks: {twice} is listed twice")
        return self


BranchPattern = Annotated[str, StringConstraints(pattern=r"^[^\s'\"\\]+$")]


class GitHubEnvironment(Value):
    """A GitHub environment. `reviewers` are logins, or teams as ``org/team``.

    GitHub requires the approval of only one reviewer, so two people need two environments.
    `branches` are the branches whose workflows may use the environment and read its secrets, by
    default those of `github`.
    """

    name: str
    reviewers: tuple[str, ...] = Field(default=(), max_length=6)
    prevent_self_review: bool = True
    administrators_bypass: bool = False
    branches: tuple[BranchPattern, ...] | None = Field(default=None, min_length=1)


class GitHub(Value):
    """Where the pipeline runs, and who must approve there.

    `repository` is OWNER/NAME; by default the repository that runs the workflow. `two_people` names
    the environments that must each be approved by a different person; without it,
    `one_person_is_enough` must give the reason in words. `votes` maps a role to the environment
    whose approval is the role's vote. `branches` are patterns of the branches
    that may deploy. `stage_job` and `promote_job` are the time-outs of the workflow's jobs for a
    stage and for the promotion (`timeout-minutes`): `plan` refuses stages that last longer.
    """

    repository: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    token_env: VariableName = "GITHUB_TOKEN"  # noqa: S105 - the name of a variable
    api: HttpUrl = "https://api.github.com"
    environments: tuple[GitHubEnvironment, ...] = ()
    branches: tuple[BranchPattern, ...] = Field(default=("release/**",), min_length=1)
    two_people: tuple[str, ...] = ()
    one_person_is_enough: Annotated[str, StringConstraints(min_length=10)] | None = None
    votes: dict[Name, str] = {}
    stage_job: Seconds = 10800.0
    promote_job: Seconds = 7200.0

    def branches_of(self, place: GitHubEnvironment) -> tuple[str, ...]:
        """The patterns of the branches that may use the environment."""
        return place.branches or self.branches

    @property
    def protected_branches(self) -> tuple[str, ...]:
        """Every pattern of a branch that may use one of the environments."""
        of_all = [self.branches, *map(self.branches_of, self.environments)]
        return tuple(dict.fromkeys(each for branches in of_all for each in branches))

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = [place.name for place in self.environments]
        if twice := repeated(known):
            raise ValueError(f"environments: {twice} is listed twice")
        for what, names in (("two_people", self.two_people), ("votes", self.votes.values())):
            for name in names:
                if name not in known:
                    raise ValueError(f"{what}: {name!r} is none of environments")
        if len(self.two_people) == 1:
            raise ValueError("two_people: give at least two environments, or none")
        if self.two_people and self.one_person_is_enough is not None:
            raise ValueError("give two_people or one_person_is_enough, not both")
        return self


class Backup(Value):
    """The CronJob that backs the database up, and how old its last success may be."""

    cronjob: Name
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
    `capacity` names resources that must have room left.
    """

    targets: bool | str = True
    backup: Backup | None = None
    redis: RedisServer | None = None
    disruption_budgets: tuple[Name, ...] = ()
    endpoints: tuple[HttpUrl, ...] = ()
    certificates: Seconds = 14 * 86400.0
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
    pod_metrics: PodMetricsEndpoint | None = None
    prometheus: Prometheus | None = None
    helm: Helm | None = None
    database: Database | None = None


class Wave(Value):
    """Targets that receive a release at the same time.

    `parallel` is how many of them at once. `bake` is the time between the end of this wave and the
    start of the next. `on_failure` says what is rolled back when a target fails: the other targets
    of its wave, or those of all waves so far.
    """

    targets: tuple[Name, ...] = Field(min_length=1)
    parallel: int = Field(default=8, ge=1, le=64)
    bake: Seconds = 0.0
    on_failure: Literal["wave", "all"] = "wave"


NO_PROMETHEUS = "http://prometheus.invalid"


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
    pod_metrics: PodMetricsEndpoint | None = None
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

    def at(self, target: Target) -> Self:
        """The environment as it is at one of its targets, named as in ``production/eu-1``."""
        own = {name: getattr(target, name) for name in _OWN_SECTIONS}
        sections = {name: section for name, section in own.items() if section is not None}
        name = f"{self.name}/{target.name}"
        return self.model_copy(update={**sections, "name": name, "targets": (), "waves": ()})

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


def _overridden(check: CheckRule, overrides: Overrides) -> CheckRule:
    limits = overrides.limits(check.limits)
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
    sure = {"confidence": overrides.confidence, "false_pass": overrides.false_pass}
    statistics = rollout.statistics.model_copy(
        update={name: share for name, share in sure.items() if share is not None}
    )
    promotion = rollout.promotion
    if overrides.promotion_look is not None:
        promotion = promotion.model_copy(update={"look": overrides.promotion_look})
    if overrides.promotion_bake is not None:
        promotion = promotion.model_copy(update={"bake": overrides.promotion_bake})
    roles = {
        name: role.model_copy(update={"votes": False})
        for name, role in rollout.readiness.roles.items()
    }
    without_votes = rollout.readiness.model_copy(update={"roles": roles})
    return rollout.model_copy(
        update={
            "stages": tuple(_overridden_stage(stage, overrides) for stage in rollout.stages),
            "statistics": statistics,
            "promotion": promotion,
            "window": None if overrides.any_time else rollout.window,
            "readiness": without_votes if overrides.no_votes else rollout.readiness,
            "criteria": {
                name: each.model_copy(update={"over": overrides.criteria_over or each.over})
                for name, each in rollout.criteria.items()
            },
        }
    )


def describe_overrides(overrides: Overrides) -> tuple[str, ...]:
    """One line an override, for reports; empty if there is none."""
    seconds = {
        "stage duration": overrides.stage_duration,
        "longest extension": overrides.max_extension,
        "look at each step of the promotion": overrides.promotion_look,
        "bake after the promotion": overrides.promotion_bake,
        "period of go/no-go's criteria": overrides.criteria_over,
    }
    said = [f"{what}: {duration(value)}" for what, value in seconds.items() if value is not None]
    if overrides.any_time:
        said.append("deployment window: any time")
    if overrides.no_votes:
        said.append("votes: none needed")
    if overrides.confidence is not None:
        said.append(f"confidence: {overrides.confidence * 100:g} %")
    if overrides.false_pass is not None:
        said.append(f"chance that twice a limit passes: {overrides.false_pass * 100:g} %")
    said += [
        f"limit of {name}: {amount(limit.value, limit.unit)}"
        for name, limit in overrides.gauge_limits.items()
    ]
    said += [
        f"limit of {name}: {limit * 100:g} %" for name, limit in overrides.bad_share_limits.items()
    ]
    said += [
        f"answer to {name}: {'yes' if yes else 'no'}" for name, yes in overrides.answers.items()
    ]
    return tuple(said)
