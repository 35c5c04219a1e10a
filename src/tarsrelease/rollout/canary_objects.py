"""Which rendered objects of a canary may be installed next to stable. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

_ONCE = {
    "CronJob": "its jobs would run twice",
    "Job": "it would run a second time, next to stable's",
    "DaemonSet": "its pods would run twice on every node",
    "StatefulSet": "it owns storage that must exist once",
    "PersistentVolumeClaim": "it is storage, which must exist once",
}
_OTHER_TOOLS = {
    ("flagger.app", "Canary"): "Flagger",
    ("argoproj.io", "Rollout"): "Argo Rollouts",
}
_CUSTOM_ROUTING = frozenset(
    [("serving.knative.dev", "Service"), ("serving.knative.dev", "DomainMapping")]
)
# Kinds of the Gateway API, Istio, Traefik, Contour, NGINX, OpenShift, Emissary and APISIX.
_ROUTING = frozenset(
    [
        "Ingress",
        "Gateway",
        "HTTPRoute",
        "GRPCRoute",
        "TLSRoute",
        "TCPRoute",
        "UDPRoute",
        "VirtualService",
        "ServiceEntry",
        "IngressRoute",
        "IngressRouteTCP",
        "IngressRouteUDP",
        "HTTPProxy",
        "VirtualServer",
        "VirtualServerRoute",
        "TransportServer",
        "Route",
        "Mapping",
        "TCPMapping",
        "ApisixRoute",
        "ListenerSet",
        "HTTPScaledObject",
    ]
)
_OUTSIDE = frozenset({"LoadBalancer", "NodePort"})
_HOOK = "helm.sh/hook"
_TESTS = frozenset({"test", "test-success", "test-failure"})

Object = Mapping[str, Any]


def name_of(found: Object) -> str:
    """``Kind/name``, as kubectl shows it."""
    return f"{found.get('kind')}/{(found.get('metadata') or {}).get('name')}"


def is_test(found: Object) -> bool:
    """Whether only `helm test` would create the object (helm.sh/docs/topics/chart_tests)."""
    hooks = ((found.get("metadata") or {}).get("annotations") or {}).get(_HOOK)
    return bool(hooks) and {hook.strip() for hook in str(hooks).split(",")} <= _TESTS


def must_exist_once(
    canary: Sequence[Object], stable: Sequence[Object], *, skipped: Collection[str] = ()
) -> dict[str, str]:
    """Objects that the canary's render must not contain: the reason by ``Kind/name``.

    `skipped` names CustomResourceDefinitions in the chart's crds/, which no release of ours
    installs.

    An object with a kind and name of stable's would replace stable's. Jobs, hooks, storage and
    autoscalers must exist once. Users may reach the canary only through the route weights.
    """
    of_stable = {name_of(found) for found in stable}
    refused: dict[str, str] = {}
    for found in canary:
        name, kind = name_of(found), str(found.get("kind"))
        notes = (found.get("metadata") or {}).get("annotations") or {}
        hook = notes.get(_HOOK)
        if name in skipped:
            continue
        if hook is not None:
            if not is_test(found):
                refused[name] = f"a {hook} hook would run a second time, next to stable's"
        elif tool := _OTHER_TOOLS.get((_group(found), kind)):
            refused[name] = f"{tool} would move the traffic, too; leave it out of stable as well"
        elif kind in _ONCE:
            refused[name] = _ONCE[kind]
        elif kind in _ROUTING or (_group(found), kind) in _CUSTOM_ROUTING:
            refused[name] = (
                "it would route requests around the weights; only tarsrelease writes routes"
            )
        elif outside := _reachable_from_outside(found):
            refused[name] = f"{outside} would let requests reach the canary around the weights"
        elif (scaled := _scaled(found)) in of_stable:
            refused[name] = f"it would scale stable's {scaled.partition('/')[2]}"
        elif name in of_stable:
            refused[name] = "stable has an object of this kind and name"
    return refused


def _group(found: Object) -> str:
    return str(found.get("apiVersion", "")).rpartition("/")[0]


def _spec(found: Object) -> Mapping[str, Any]:
    return found.get("spec") or {}


def _reachable_from_outside(found: Object) -> str | None:
    """How a Service is reached from outside the cluster; None if it is not."""
    if found.get("kind") != "Service":
        return None
    if (kind := _spec(found).get("type")) in _OUTSIDE:
        return f"its type {kind}"
    return "its externalIPs" if _spec(found).get("externalIPs") else None


def _scaled(found: Object) -> str:
    """``Kind/name`` that an autoscaler (HPA, KEDA, VPA) scales; no real name for other objects."""
    target = _spec(found).get("scaleTargetRef") or _spec(found).get("targetRef") or {}
    return f"{target.get('kind', 'Deployment')}/{target.get('name')}"


def crossed_selectors(canary: Sequence[Object], stable: Sequence[Object]) -> list[str]:
    """Services of one side that select pods of the other, as sentences without a full stop.

    A Service selects the pods that have all its selector's labels (kubernetes.io, Labels and
    Selectors); one without a selector selects none.
    """
    crossed = []
    for side, services, other, workloads in (
        ("stable", stable, "canary", canary),
        ("canary", canary, "stable", stable),
    ):
        for service in services:
            selector = _spec(service).get("selector") if service.get("kind") == "Service" else None
            if not isinstance(selector, Mapping) or not selector:
                continue
            for workload in workloads:
                labels = _pod_labels(workload)
                if labels and selector.items() <= labels.items():
                    crossed.append(
                        f"{side}'s {name_of(service)} selects the pods of {other}'s "
                        f"{name_of(workload)}"
                    )
    return crossed


def _pod_labels(workload: Object) -> Mapping[str, Any]:
    if workload.get("kind") == "Pod":
        return (workload.get("metadata") or {}).get("labels") or {}
    template = _spec(workload).get("template")
    return ((template or {}).get("metadata") or {}).get("labels") or {}


def switches(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of the chart's values that are ``true`` and can be switched off, outermost first."""
    found = [(*path, key) for key, value in values.items() if value is True]
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += switches(value, (*path, key))
    return found


def switched_off(path: Sequence[str]) -> dict[str, Any]:
    """Values that set the switch at `path` to false."""
    head, *rest = path
    return {head: switched_off(rest) if rest else False}
