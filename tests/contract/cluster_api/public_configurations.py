"""Configurations in the style of the documents of public projects: 40 accepted, 30 refused.

Each has a name, what it changes of a plain product, and of a refused one its message.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tarsrelease.model.presets import PRESETS

SHOP: dict[str, Any] = {"name": "shop", "port": 80}
PARENT = {"name": "gateway"}
OTHER = {"name": "other", "port": 80}


@dataclass(frozen=True)
class Configuration:
    """`rollout` is laid over rollout.yaml, `service` over its service.

    `route` is the HTTPRoute's spec, `kind` another kind of it, `metadata` more of its metadata.
    `objects` are rendered by the chart beside a Deployment and a Service, `beside` exist in the
    cluster before. `message` is that of the refusal.
    """

    name: str
    rollout: dict[str, Any] = field(default_factory=dict)
    service: dict[str, Any] = field(default_factory=dict)
    kind: str = "HTTPRoute"
    route: dict[str, Any] = field(default_factory=lambda: rules(plain()))
    metadata: dict[str, Any] = field(default_factory=dict)
    beside: tuple[dict[str, Any], ...] = ()
    objects: str = ""
    message: str = ""


def plain(**more: Any) -> dict[str, Any]:
    return {"backendRefs": [SHOP], **more}


def rules(*found: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"parentRefs": [PARENT], "hostnames": ["shop.example"], "rules": list(found), **more}


def path(value: str, kind: str = "PathPrefix") -> dict[str, Any]:
    return {"path": {"type": kind, "value": value}}


def istio(*http: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"hosts": ["shop.example"], "gateways": ["gateway"], "http": list(http), **more}


def to(host: str, **more: Any) -> dict[str, Any]:
    return {"destination": {"host": host, "port": {"number": 80}}, **more}


def header(kind: str) -> dict[str, Any]:
    return {"type": kind, kind[0].lower() + kind[1:]: {"set": [{"name": "x-a", "value": "b"}]}}


METRICS = tuple(
    Configuration(f"metrics of {name}", rollout={"slis": {"errors": {"preset": name}}})
    for name in PRESETS
)
_BY_REFS: dict[str, Any] = {"route": None, "routes": [{"name": "shop"}]}


def _kind(kind: str, **more: Any) -> dict[str, Any]:
    return {"route": None, "routes": [{"kind": kind, "name": "shop", **more}]}


ROUTES = (
    Configuration("gateway-api simple routing"),
    Configuration(
        "gateway-api traffic splitting with a third backend",
        route=rules({"backendRefs": [{**SHOP, "weight": 9}, {**OTHER, "weight": 1}]}),
    ),
    Configuration(
        "gateway-api header and query matches",
        route=rules(
            plain(matches=[{"headers": [{"name": "x-env", "value": "prod"}]}]),
            plain(matches=[{"queryParams": [{"name": "v", "value": "2"}], **path("/q")}]),
        ),
    ),
    Configuration(
        "gateway-api redirect of http to https beside a rule",
        route=rules(
            {
                "matches": [path("/old")],
                "filters": [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 301}}],
            },
            plain(),
        ),
    ),
    Configuration(
        "gateway-api rewrite and header filters",
        route=rules(
            plain(
                matches=[path("/v1")],
                filters=[
                    {"type": "URLRewrite", "urlRewrite": {"hostname": "inside.example"}},
                    header("RequestHeaderModifier"),
                ],
            )
        ),
    ),
    Configuration(
        "gateway-api mirroring",
        route=rules(
            plain(filters=[{"type": "RequestMirror", "requestMirror": {"backendRef": OTHER}}])
        ),
    ),
    Configuration(
        "envoy-gateway filters of a backend",
        route=rules({"backendRefs": [{**SHOP, "filters": [header("ResponseHeaderModifier")]}]}),
    ),
    Configuration(
        "gateway-api timeouts",
        route=rules(plain(timeouts={"request": "10s", "backendRequest": "2s"})),
    ),
    Configuration(
        "gateway-api names of rules, of which one is split",
        route=rules(
            plain(name="web", matches=[path("/")]), plain(name="batch", matches=[path("/batch")])
        ),
        service={"route": None, "routes": [{"name": "shop", "rules": ["web"]}]},
    ),
    Configuration(
        "traefik middleware as a filter",
        route=rules(
            plain(
                filters=[
                    {
                        "type": "ExtensionRef",
                        "extensionRef": {"group": "traefik.io", "kind": "Middleware", "name": "m"},
                    }
                ]
            )
        ),
    ),
    Configuration(
        "gateway-api sections and several parents",
        route=rules(plain(), parentRefs=[{**PARENT, "sectionName": "https"}, {"name": "inside"}]),
    ),
    Configuration(
        "gateway-api sixteen rules",
        route=rules(*(plain(matches=[path(f"/{number}")]) for number in range(16))),
    ),
    Configuration(
        "linkerd, a route whose parent is the Service",
        route=rules(plain(), parentRefs=[{"group": "", "kind": "Service", **SHOP}]),
    ),
    Configuration(
        "gateway-api gRPC methods",
        kind="GRPCRoute",
        route=rules(plain(matches=[{"method": {"service": "shop.Cart", "method": "Add"}}])),
        service=_kind("GRPCRoute"),
    ),
    Configuration(
        "istio request routing with subsets",
        kind="VirtualService",
        route=istio(
            {
                "match": [{"headers": {"end-user": {"exact": "jason"}}}],
                "route": [{"destination": {"host": "shop", "subset": "v2"}}],
            },
            {"route": [{"destination": {"host": "shop", "subset": "v1"}}]},
        ),
        service=_kind("VirtualService"),
    ),
    Configuration(
        "istio weights, retries and fault injection",
        kind="VirtualService",
        route=istio(
            {
                "name": "primary",
                "fault": {"delay": {"percentage": {"value": 0.1}, "fixedDelay": "1s"}},
                "retries": {"attempts": 3, "perTryTimeout": "2s"},
                "route": [to("shop", weight=75), to("other", weight=25)],
            }
        ),
        service=_kind("VirtualService"),
    ),
)

_NAME = "{{ .Release.Name }}"


def rendered(kind: str, version: str, spec: str = "{}", name: str = f"{_NAME}-extra") -> str:
    return f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: '{name}'}}\nspec: {spec}\n"


CHARTS = tuple(
    Configuration(f"helm create with {name}", objects=objects)
    for name, objects in (
        (
            "an autoscaler",
            rendered(
                "HorizontalPodAutoscaler",
                "autoscaling/v2",
                "{maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, "
                f"name: {_NAME}}}}}",
            ),
        ),
        (
            "a disruption budget",
            rendered(
                "PodDisruptionBudget",
                "policy/v1",
                f"{{minAvailable: 1, selector: {{matchLabels: {{app: {_NAME}}}}}}}",
            ),
        ),
        (
            "a network policy",
            rendered(
                "NetworkPolicy",
                "networking.k8s.io/v1",
                f"{{podSelector: {{matchLabels: {{app: {_NAME}}}}}}}",
            ),
        ),
        (
            "a headless service for gRPC",
            rendered(
                "Service",
                "v1",
                f"{{clusterIP: None, selector: {{app: {_NAME}}}, ports: [{{port: 9090}}]}}",
            ),
        ),
        ("a service without a selector", rendered("Service", "v1", "{ports: [{port: 80}]}")),
        (
            "a service account",
            f"apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {_NAME}}}\n",
        ),
        (
            "a config map",
            f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {_NAME}}}\ndata: {{a: b}}\n",
        ),
        (
            "a secret",
            f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {_NAME}}}\nstringData: {{a: b}}\n",
        ),
        (
            "a connection test",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: '"
            + f"{_NAME}-test', annotations: {{helm.sh/hook: test}}}}\n"
            + "spec: {containers: [{name: c, image: '{{ .Values.image }}'}]}\n",
        ),
        (
            "a role of its own",
            f"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {_NAME}}}\n"
            "rules: []\n",
        ),
    )
)
ACCEPTED = (*METRICS, *ROUTES, *CHARTS)

_OLD_ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "a-legacy"},
    "spec": rules({"backendRefs": [OTHER]}),
}
_REFUSED_ROUTES = (
    Configuration(
        "a route that leads elsewhere",
        route=rules({"backendRefs": [OTHER]}),
        message="no rule leads to the Service shop",
    ),
    Configuration(
        "a Service of the same name in another namespace",
        route=rules({"backendRefs": [{**SHOP, "namespace": "elsewhere"}]}),
        message="no rule leads to the Service shop",
    ),
    Configuration(
        "a name of a rule that is not there",
        service={"route": None, "routes": [{"name": "shop", "rules": ["api"]}]},
        message="no rule leads to the Service shop among those named api",
    ),
    Configuration(
        "a weight that has no percentages",
        route=rules({"backendRefs": [{**SHOP, "weight": 999_999}, OTHER]}),
        message="a weight of 999999",
    ),
    Configuration(
        "sixteen backends",
        route=rules({"backendRefs": [SHOP, *({"name": f"s{n}", "port": 80} for n in range(15))]}),
        message="would have 17 backends in one rule, and the Gateway API allows 16",
    ),
    Configuration(
        "sixteen headers in a match",
        route=rules(
            plain(matches=[{"headers": [{"name": f"h{n}", "value": "x"} for n in range(16)]}])
        ),
        message="would have 17 headers in one match, and the Gateway API allows 16",
    ),
    Configuration(
        "an older route of the same host",
        beside=(_OLD_ROUTE,),
        message="httproute/a-legacy has the same host shop.example and match / as httproute/shop",
    ),
    Configuration(
        "a VirtualService that is not there",
        service=_kind("VirtualService"),
        message="there is no virtualservice/shop",
    ),
    Configuration(
        "a VirtualService of TCP",
        kind="VirtualService",
        route={
            "hosts": ["shop"],
            "tcp": [{"route": [{"destination": {"host": "shop"}}]}],
        },
        service=_kind("VirtualService"),
        message="no rule leads to the Service shop",
    ),
    Configuration(
        "a GRPCRoute that is not there",
        service=_kind("GRPCRoute"),
        message="there is no such route",
    ),
    Configuration(
        "a route of Argo CD",
        metadata={
            "annotations": {
                "argocd.argoproj.io/tracking-id": "shop:gateway.networking.k8s.io/HTTPRoute:x/shop"
            }
        },
        message="Argo CD manages it and would overwrite the weights: run `tarsrelease route adopt`",
    ),
    Configuration(
        "a route of Flux",
        metadata={"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}},
        message="Flux manages it and would overwrite the weights: run `tarsrelease route adopt`",
    ),
)


def _sli(**errors: Any) -> dict[str, Any]:
    return {"slis": {"errors": errors}}


_REQUESTS = 'http_requests_total{namespace="$namespace"'
_REFUSED_FILES = (
    Configuration(
        "a preset that is not known", rollout=_sli(preset="envoy"), message="envoy-gateway"
    ),
    Configuration(
        "a latency that is no bucket bound",
        rollout=_sli(preset="go", slower_than="200ms"),
        message="200ms is no bucket bound of preset go; the nearest are 100ms and 250ms",
    ),
    Configuration(
        "a rate instead of counters",
        rollout=_sli(kind="proportion", of=f"rate({_REQUESTS}}}[1m])", bad=f"{_REQUESTS}}}"),
        message="no rate(), sum() or window",
    ),
    Configuration(
        "one side's selector",
        rollout=_sli(kind="proportion", of=f'{_REQUESTS},app="$service"}}', bad=f"{_REQUESTS}}}"),
        message="match $service, $track and $version with =~",
    ),
    Configuration(
        "sides with the same value",
        rollout={"sides": {"label": "backend", "canary": "shop", "stable": "shop"}},
        message="canary and stable have the same value",
    ),
    Configuration(
        "a route and a list of routes",
        service={"routes": [{"name": "shop"}]},
        message="give exactly one of route and routes",
    ),
    Configuration(
        "weights that do not end in 100",
        rollout={"stages": [{"weight": 10, "duration": "1m"}]},
        message="the last weight must be 100",
    ),
    Configuration(
        "a check of an SLI that is not there",
        rollout={"checks": [{"kind": "proportion", "id": "c.e", "sli": "error", "below": "1%"}]},
        message="there is no sli 'error'; known slis: errors",
    ),
)


def _refused(kind: str, version: str, spec: str, message: str, **more: Any) -> Configuration:
    return Configuration(
        f"a canary with a {kind}", objects=rendered(kind, version, spec, **more), message=message
    )


_RULE = f"{{rules: [{{backendRefs: [{{name: {_NAME}, port: 80}}]}}]}}"
_POD = "{containers: [{name: c, image: '{{ .Values.image }}'}]}"
_REFUSED_CHARTS = (
    _refused("Ingress", "networking.k8s.io/v1", "{}", "route requests around the weights"),
    _refused("HTTPRoute", "gateway.networking.k8s.io/v1", _RULE, "around the weights"),
    _refused("VirtualService", "networking.istio.io/v1", "{hosts: [a]}", "around the weights"),
    _refused("Service", "v1", "{type: LoadBalancer, ports: [{port: 80}]}", "its type LoadBalancer"),
    _refused("CronJob", "batch/v1", "{schedule: '@daily'}", "its jobs would run twice"),
    _refused(
        "Job",
        "batch/v1",
        f"{{template: {{spec: {{restartPolicy: Never, {_POD[1:]}}}}}",
        "it would run a second time, next to stable's",
    ),
    _refused("StatefulSet", "apps/v1", "{}", "it owns storage that must exist once"),
    _refused("PersistentVolumeClaim", "v1", "{}", "it is storage, which must exist once"),
    _refused(
        "HorizontalPodAutoscaler",
        "autoscaling/v2",
        "{maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: shop}}",
        "it would scale stable's shop",
    ),
    _refused(
        "Service",
        "v1",
        "{selector: {app.kubernetes.io/name: shop}, ports: [{port: 80}]}",
        "selects the pods of",
    ),
)
REFUSED = (*_REFUSED_ROUTES, *_REFUSED_FILES, *_REFUSED_CHARTS)

_HOST = "shop.example"


def _route(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    version = "gateway.networking.k8s.io/v1"
    return {"apiVersion": version, "kind": "HTTPRoute", "metadata": {"name": name}, "spec": spec}


_REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
_TO_HTTPS = _route(
    "a-redirect",
    rules({"filters": [_REDIRECT]}, parentRefs=[{**PARENT, "sectionName": "http"}]),
)
_PORT_80 = _route("a-port", rules({"filters": [_REDIRECT]}, parentRefs=[{**PARENT, "port": 80}]))
_COOKIE = {"name": "cookie", "type": "RegularExpression", "value": ".*user=.*"}
_MORE_ROUTES = (
    Configuration(
        "a redirect of the same host to https, at another listener",
        beside=(_TO_HTTPS,),
        route=rules(plain(), parentRefs=[{**PARENT, "sectionName": "https"}]),
    ),
    Configuration(
        "a redirect of the same host, at another port",
        beside=(_PORT_80,),
        route=rules(plain(), parentRefs=[{**PARENT, "port": 443}]),
    ),
    Configuration("a wildcard host", route=rules(plain(), hostnames=["*.shop.example"])),
    Configuration(
        "no host and no match",
        route={"parentRefs": [PARENT], "rules": [{"backendRefs": [SHOP]}]},
    ),
    Configuration(
        "a cookie, a method and a query",
        route=rules(
            plain(
                matches=[
                    {
                        "method": "POST",
                        "headers": [_COOKIE],
                        "queryParams": [{"name": "v", "value": "2"}],
                    }
                ]
            ),
            plain(),
        ),
    ),
    Configuration(
        "a backend with everything written out",
        route=rules({"backendRefs": [{"group": "", "kind": "Service", **SHOP, "weight": 100}]}),
    ),
    Configuration(
        "a backend that was drained by hand",
        route=rules({"backendRefs": [SHOP, {**OTHER, "weight": 0}]}),
    ),
    Configuration(
        "the same service twice, with a header for the second half",
        route=rules(
            {
                "backendRefs": [
                    {**SHOP, "weight": 3},
                    {**SHOP, "weight": 1, "filters": [header("RequestHeaderModifier")]},
                ]
            }
        ),
    ),
    Configuration(
        "a mirror of every tenth request",
        route=rules(
            plain(
                filters=[
                    {"type": "RequestMirror", "requestMirror": {"backendRef": OTHER, "percent": 10}}
                ]
            )
        ),
    ),
    Configuration(
        "gRPC headers",
        kind="GRPCRoute",
        route=rules(plain(matches=[{"headers": [{"name": "x-tenant", "value": "a"}]}])),
        service=_kind("GRPCRoute"),
    ),
    Configuration(
        "istio with CORS, a mirror and TLS beside",
        kind="VirtualService",
        route=istio(
            {
                "corsPolicy": {"allowMethods": ["GET"]},
                "mirror": {"host": "other"},
                "timeout": "5s",
                "route": [to("shop")],
            },
            tls=[
                {
                    "match": [{"port": 443, "sniHosts": [_HOST]}],
                    "route": [{"destination": {"host": "other"}}],
                }
            ],
        ),
        service=_kind("VirtualService"),
    ),
)
_SAME_IMAGE = "image: '{{ .Values.image }}'"
_MORE_CHARTS = tuple(
    Configuration(f"a chart with {name}", objects=objects)
    for name, objects in (
        (
            "KEDA for the canary itself",
            rendered(
                "ScaledObject",
                "keda.sh/v1alpha1",
                f"{{scaleTargetRef: {{name: {_NAME}}}, triggers: []}}",
            ),
        ),
        (
            "a monitor of the operator",
            rendered("ServiceMonitor", "monitoring.coreos.com/v1", "{endpoints: [{port: http}]}"),
        ),
        (
            "an external name",
            rendered("Service", "v1", "{type: ExternalName, externalName: db.example}"),
        ),
        (
            "a second Deployment with init container and sidecar",
            rendered(
                "Deployment",
                "apps/v1",
                f"{{selector: {{matchLabels: {{app: {_NAME}-w}}}}, template: {{metadata: "
                f"{{labels: {{app: {_NAME}-w}}}}, spec: {{initContainers: [{{name: i, "
                f"{_SAME_IMAGE}}}], containers: [{{name: c, {_SAME_IMAGE}}}, {{name: s, "
                f"{_SAME_IMAGE}}}]}}}}}}",
            ),
        ),
        (
            "an alert whose labels are sentences",
            rendered(
                "PrometheusRule",
                "monitoring.coreos.com/v1",
                "{groups: [{name: g, rules: [{alert: A, expr: '1', labels: {say: wake up!}}]}]}",
            ),
        ),
    )
)
FURTHER_ACCEPTED = (*_MORE_ROUTES, *_MORE_CHARTS)

_ALREADY = "already leads to shop-canary, which tarsrelease adds and removes"
_CANARY_BACKEND = {"name": "shop-canary", "port": 80, "weight": 0}
FURTHER_REFUSED = (
    Configuration(
        "a route of Argo Rollouts",
        route=rules({"backendRefs": [{**SHOP, "weight": 100}, _CANARY_BACKEND]}),
        message=_ALREADY,
    ),
    Configuration(
        "a VirtualService of Argo Rollouts",
        kind="VirtualService",
        route=istio({"route": [to("shop", weight=100), to("shop-canary", weight=0)]}),
        service=_kind("VirtualService"),
        message=_ALREADY,
    ),
    Configuration(
        "a match of the canary's header",
        route=rules(
            plain(matches=[{"headers": [{"name": "X-Tars-Canary", "value": "always"}]}]), plain()
        ),
        message="has the header x-tars-canary, by which tarsrelease leads to the canary",
    ),
    Configuration(
        "quantiles of a summary",
        rollout=_sli(
            kind="proportion",
            of='http_request_duration_seconds_count{namespace="$namespace"}',
            good='http_request_duration_seconds{namespace="$namespace",quantile="0.99"}',
        ),
        message="the quantiles of a summary are seconds and no requests",
    ),
    Configuration(
        "an application without room for -canary",
        rollout={"application": "s" * 47},
        message="46",
    ),
    Configuration(
        "a canary with a ScaledObject of stable",
        objects=rendered("ScaledObject", "keda.sh/v1alpha1", "{scaleTargetRef: {name: shop}}"),
        message="it would scale stable's shop",
    ),
    Configuration(
        "an object of the same name on both sides",
        objects=rendered("ConfigMap", "v1", name="shop-settings"),
        message="stable has an object of this kind and name",
    ),
    _refused("DaemonSet", "apps/v1", "{}", "its pods would run twice on every node"),
    _refused("Canary", "flagger.app/v1beta1", "{}", "Flagger would move the traffic, too"),
    _refused("Rollout", "argoproj.io/v1alpha1", "{}", "Argo Rollouts would move the traffic, too"),
    Configuration(
        "a canary that Knative serves",
        objects=rendered("Service", "serving.knative.dev/v1"),
        message="route requests around the weights",
    ),
    Configuration(
        "a canary with a node port",
        objects=rendered("Service", "v1", "{type: NodePort, ports: [{port: 80}]}"),
        message="its type NodePort",
    ),
    Configuration(
        "a migration before the upgrade",
        objects="apiVersion: batch/v1\nkind: Job\nmetadata: {name: '"
        + f"{_NAME}-m', annotations: {{helm.sh/hook: pre-upgrade}}}}\n"
        + f"spec: {{template: {{spec: {{restartPolicy: Never, {_POD[1:]}}}}}\n",
        message="a pre-upgrade hook would run a second time",
    ),
    Configuration(
        "a sidecar that is not pinned",
        objects=rendered(
            "Deployment",
            "apps/v1",
            "{template: {spec: {containers: [{name: c, image: 'docker.io/envoy:v1'}]}}}",
        ),
        message="docker.io/envoy:v1 is not the image that the bundle pins",
    ),
)
