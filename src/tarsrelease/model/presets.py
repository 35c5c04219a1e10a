"""SLIs by name: the metrics, labels and buckets that well-known clients, meshes and gateways have.

Every entry names the document it follows. Bucket bounds are in seconds and those that the client
has without configuration; an empty tuple means that the application chooses them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PROBES = "/(-/|actuator/)?(healthz?|livez?|readyz?|startupz?|health/.*|metrics|prometheus|ping)"
"""Paths of probes and scrapes, which are no users' requests."""
GRPC_FAILURES = (
    "(?i)Unknown|DeadlineExceeded|DEADLINE_EXCEEDED|Unimplemented|Internal|Unavailable|DataLoss|"
    "DATA_LOSS|2|4|1[2-5]"
)
"""Status codes that are the server's fault, as names or numbers (gRPC, statuscodes.md)."""

_GO = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_OPENTELEMETRY = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_ENVOY = (
    *(0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    *(300, 600, 1800, 3600),
)
_LINKERD = tuple(
    step * scale for scale in (0.001, 0.01, 0.1, 1, 10) for step in (1, 2, 3, 4, 5)
)  # 1 ms to 50 s
_OWN = 'namespace="$namespace"'


@dataclass(frozen=True, slots=True)
class Preset:
    """One client's or proxy's metrics.

    `requests` counts all requests, `bad` are the conditions for failed ones, `common` those for
    both. `histogram` is the name without ``_bucket``; "" where there is none. `unit` is how many of
    its units are a second. `sides` is the label that tells the sides apart, with the canary's and
    stable's values; None where the metrics are the pods' own.
    """

    document: str
    requests: str
    bad: str
    histogram: str
    bounds: tuple[float, ...]
    common: str = _OWN
    unit: float = 1.0
    sides: tuple[str, str, str] | None = None
    of_bad: str = ""
    """The metric of failed requests, where it is another one."""


def _without_probes(label: str) -> str:
    return f'{_OWN},{label}!~"{PROBES}"'


_BY_DEPLOYMENT = "$deployment"
_TRAEFIK = "$namespace-$backend-(http-)?[0-9]+@kubernetesgateway"
_ENVOY_RULE = "httproute/$namespace/$route/rule/[0-9]+/backend/"

PRESETS: Mapping[str, Preset] = {
    "opentelemetry": Preset(
        document="opentelemetry.io/docs/specs/semconv/http/http-metrics (stable), "
        "http.server.request.duration",
        requests="http_server_request_duration_seconds_count",
        bad='http_response_status_code=~"5.."',
        histogram="http_server_request_duration_seconds",
        bounds=_OPENTELEMETRY,
        common=_without_probes("http_route"),
    ),
    "opentelemetry-old": Preset(
        document="opentelemetry.io/docs/specs/semconv/non-normative/http-migration, "
        "http.server.duration in milliseconds",
        requests="http_server_duration_milliseconds_count",
        bad='http_status_code=~"5.."',
        histogram="http_server_duration_milliseconds",
        bounds=_OPENTELEMETRY,
        common=_without_probes("http_route"),
        unit=1000,
    ),
    "go": Preset(
        document="pkg.go.dev/github.com/prometheus/client_golang/prometheus/promhttp, "
        "InstrumentHandlerCounter and InstrumentHandlerDuration; DefBuckets",
        requests="http_requests_total",
        bad='code=~"5.."',
        histogram="http_request_duration_seconds",
        bounds=_GO,
    ),
    "python": Preset(
        document="github.com/trallnag/prometheus-fastapi-instrumentator, metrics.default",
        requests="http_requests_total",
        bad='status=~"5..|5xx"',
        histogram="http_request_duration_seconds",
        bounds=(0.1, 0.5, 1),
        common=_without_probes("handler"),
    ),
    "node": Preset(
        document="github.com/jochen-schweizer/express-prom-bundle, http_request_duration_seconds "
        "with includePath",
        requests="http_request_duration_seconds_count",
        bad='status_code=~"5.."',
        histogram="http_request_duration_seconds",
        bounds=(0.003, 0.03, 0.1, 0.3, 1.5, 10),
        common=_without_probes("path"),
    ),
    "spring": Preset(
        document="docs.spring.io/spring-boot/reference/actuator/metrics.html, "
        "http.server.requests; buckets by management.metrics.distribution.slo",
        requests="http_server_requests_seconds_count",
        bad='status=~"5.."',
        histogram="http_server_requests_seconds",
        bounds=(),
        common=f'{_OWN},uri!~"/actuator.*|{PROBES}"',
    ),
    "aspnetcore": Preset(
        document="learn.microsoft.com/aspnet/core/log-mon/metrics/built-in, "
        "http.server.request.duration of Microsoft.AspNetCore.Hosting",
        requests="http_server_request_duration_seconds_count",
        bad='http_response_status_code=~"5.."',
        histogram="http_server_request_duration_seconds",
        bounds=_OPENTELEMETRY,
        common=_without_probes("http_route"),
    ),
    "grpc": Preset(
        document="github.com/grpc-ecosystem/go-grpc-middleware/tree/main/providers/prometheus, "
        "grpc_server_handled_total; grpc_server_handling_seconds if it is switched on. Codes "
        "as numbers: grpc.github.io/grpc/core/md_doc_statuscodes.html",
        requests="grpc_server_handled_total",
        bad=f'grpc_code=~"{GRPC_FAILURES}"',
        histogram="grpc_server_handling_seconds",
        bounds=_GO,
        common=f'{_OWN},grpc_service!="grpc.health.v1.Health"',
    ),
    "istio": Preset(
        document="istio.io/latest/docs/reference/config/metrics, reported by the caller",
        requests="istio_requests_total",
        bad='response_code=~"5..|0"',
        histogram="istio_request_duration_milliseconds",
        bounds=_ENVOY,
        common='reporter="source",destination_workload_namespace="$namespace"',
        unit=1000,
        sides=("destination_workload", _BY_DEPLOYMENT, _BY_DEPLOYMENT),
    ),
    "linkerd": Preset(
        document="linkerd.io/2/reference/proxy-metrics, inbound",
        requests="response_total",
        bad='classification="failure"',
        histogram="response_latency_ms",
        bounds=_LINKERD,
        common=f'{_OWN},direction="inbound",route_name!="probe"',
        unit=1000,
    ),
    "envoy-gateway": Preset(
        document="gateway.envoyproxy.io/docs/tasks/observability/proxy-metric and "
        "envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats. "
        "Envoy Gateway makes a cluster for each backend only if a backendRef of the rule has "
        "filters; otherwise the rule has one cluster, and this preset finds nothing",
        requests="envoy_cluster_upstream_rq_total",
        bad='envoy_response_code_class="5"',
        of_bad="envoy_cluster_upstream_rq_xx",
        histogram="envoy_cluster_upstream_rq_time",
        bounds=_ENVOY,
        common='envoy_cluster_name=~"httproute/$namespace/.*"',
        unit=1000,
        sides=("envoy_cluster_name", f"{_ENVOY_RULE}1", f"{_ENVOY_RULE}0"),
    ),
    "traefik": Preset(
        document="doc.traefik.io/traefik/observability/metrics/overview, service metrics",
        requests="traefik_service_requests_total",
        bad='code=~"5.."',
        histogram="traefik_service_request_duration_seconds",
        bounds=(0.1, 0.3, 1.2, 5),
        common='service=~"$namespace-.*@kubernetesgateway"',
        sides=("service", _TRAEFIK, _TRAEFIK),
    ),
    "nginx-gateway-fabric": Preset(
        document="docs.nginx.com/nginx-gateway-fabric/monitoring/prometheus, NGINX Plus, by "
        "NAMESPACE_SERVICE_PORT; NGINX Open Source counts no requests by backend",
        requests="nginx_http_upstream_peer_responses_total",
        bad='nginx_status_range="5xx"',
        histogram="",
        bounds=(),
        common='nginx_upstream_name=~"${namespace}_.*"',
        sides=(
            "nginx_upstream_name",
            "${namespace}_${backend}_[0-9]+",
            "${namespace}_${backend}_[0-9]+",
        ),
    ),
    "cilium": Preset(
        document="docs.cilium.io/en/stable/observability/metrics, httpV2 with "
        "labelsContext=destination_workload,destination_namespace",
        requests="hubble_http_requests_total",
        bad='status=~"5.."',
        histogram="hubble_http_request_duration_seconds",
        bounds=_GO,
        common='destination_namespace="$namespace"',
        sides=("destination_workload", _BY_DEPLOYMENT, _BY_DEPLOYMENT),
    ),
}


def errors(preset: Preset, *, native: bool = False) -> tuple[str, str]:
    """The selectors of all requests and of the failed ones.

    `native`: if they are counted by the histogram, it is a native one.
    """
    if native and preset.requests == f"{preset.histogram}_count":
        return (
            f'{preset.histogram}{{{preset.common},le="+Inf"}}',
            f'{preset.histogram}{{{preset.common},{preset.bad},le="+Inf"}}',
        )
    return (
        f"{preset.requests}{{{preset.common}}}",
        f"{preset.of_bad or preset.requests}{{{preset.common},{preset.bad}}}",
    )


def native_latency(name: str, preset: Preset, slower_than: float) -> tuple[str, str]:
    """As `latency`, of a native histogram, which has no bounds to choose from."""
    if not preset.histogram:
        raise ValueError(f"preset {name} has no latency histogram; use an SLI of the application")
    return (
        f'{preset.histogram}{{{preset.common},le="+Inf"}}',
        f'{preset.histogram}{{{preset.common},le="{round(slower_than * preset.unit, 9):g}"}}',
    )


def latency(
    name: str, preset: Preset, slower_than: float, buckets: Sequence[float]
) -> tuple[str, str]:
    """The selectors of all requests and of those that took at most `slower_than` seconds.

    `buckets` are the application's own bounds in seconds; without them, the preset's. Raises
    ValueError where the limit is none of the bounds, with the nearest ones.
    """
    if not preset.histogram:
        raise ValueError(f"preset {name} has no latency histogram; use an SLI of the application")
    bounds = sorted(buckets or preset.bounds)
    if not bounds:
        raise ValueError(f"preset {name}: give buckets, the histogram's bounds that are configured")
    if all(abs(bound - slower_than) > 1e-9 for bound in bounds):
        nearest = [max((b for b in bounds if b < slower_than), default=None)]
        nearest.append(min((b for b in bounds if b > slower_than), default=None))
        near = " and ".join(_seconds(bound) for bound in nearest if bound is not None)
        raise ValueError(
            f"{_seconds(slower_than)} is no bucket bound of preset {name}; the nearest are {near} "
            "(or give your own buckets)"
        )
    return (
        f"{preset.histogram}_count{{{preset.common}}}",
        f'{preset.histogram}_bucket{{{preset.common},le=~"{_bound(slower_than * preset.unit)}"}}',
    )


def _bound(value: float) -> str:
    """A bucket's bound as clients write it: 0.25, 1 or 1.0."""
    text = f"{round(value, 9):g}"
    return text.replace(".", "[.]") if "." in text else f"{text}([.]0)?"


def _seconds(value: float) -> str:
    return f"{value * 1000:g}ms" if value < 1 else f"{value:g}s"
