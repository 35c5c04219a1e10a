"""Where an environment has its metrics: a server with the Prometheus API, or the pods."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from tarsrelease.model import promql
from tarsrelease.model.base import Name, Seconds, Value
from tarsrelease.model.connections import BasicAuth, ClientTls, HttpUrl, VariableName

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


_Port = Annotated[int, Field(ge=1, le=65535)]
_Path = Annotated[str, StringConstraints(pattern=r"^/\S*$")]


class PodMetricsEndpoint(Value):
    """Where the pods of one service have their metrics."""

    port: _Port
    path: _Path = "/metrics"
    scheme: Literal["http", "https"] = "http"


class PodMetricsEndpoints(Value):
    """Where the release's pods have their metrics, if neither annotations nor a port say it.

    `services` are those whose pages are elsewhere, by their names in rollout.yaml. Without `port`,
    the pods of all others say it themselves.
    """

    port: _Port | None = None
    path: _Path = "/metrics"
    scheme: Literal["http", "https"] = "http"
    services: dict[Name, PodMetricsEndpoint] = {}

    @model_validator(mode="after")
    def _says_a_port(self) -> Self:
        if self.port is None and not self.services:
            raise ValueError("give port, or services with a port each")
        return self

    def of(self, service: str) -> PodMetricsEndpoint | None:
        """The page of the pods of a service; None if they say it themselves."""
        if service in self.services or self.port is None:
            return self.services.get(service)
        return PodMetricsEndpoint(port=self.port, path=self.path, scheme=self.scheme)


NO_PROMETHEUS = "http://prometheus.invalid"
