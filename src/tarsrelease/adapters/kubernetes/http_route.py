"""The HTTPRoute of a service, as a value: built from the rollout, or adopted as it stands.

Pure: dictionaries in, dictionaries out. Every path has two rules: one that sends requests with
the canary header to the canary at any weight, and one that divides the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tarsrelease.model.cluster import RouteState
from tarsrelease.model.environment import Gateway
from tarsrelease.model.errors import UsageError
from tarsrelease.model.rollout import Service

PREFIX = "tarsrelease.dev/"
_ADOPTED = PREFIX + "adopted"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_HEADER_VALUE = "always"
_GROUP = "gateway.networking.k8s.io"

Route = dict[str, Any]
Rule = dict[str, Any]


def is_ours(route: Route | None) -> bool:
    """Whether tarsrelease has written this route before."""
    labels = ((route or {}).get("metadata") or {}).get("labels") or {}
    return labels.get(_MANAGED_BY) == "tarsrelease" or _ADOPTED in _annotations(route)


def is_adopted(route: Route | None) -> bool:
    """Whether another tool owns the route's filters and matches, which must be kept."""
    return route is not None and (not is_ours(route) or _ADOPTED in _annotations(route))


def desired(
    service: Service,
    gateway: Gateway,
    standing: Route | None,
    weight: int,
    annotations: Mapping[str, str],
    *,
    canary: bool,
) -> Route:
    """What to apply: `weight` percent to the canary, or no canary at all.

    Of a route that somebody else made, only the rules are applied, made from those that stand.
    Raises UsageError where none of these leads to the stable Service.
    """
    notes = {PREFIX + key: value for key, value in annotations.items()}
    metadata: dict[str, Any] = {"name": service.route, "annotations": notes}
    if is_adopted(standing):
        notes[_ADOPTED] = "true"
        spec: dict[str, Any] = {"rules": []}
        rules = _standing_rules(service, gateway, standing or {})
    else:
        metadata["labels"] = {_MANAGED_BY: "tarsrelease"}
        spec = {"parentRefs": [_parent(gateway)], "hostnames": hostnames(service, gateway)}
        rules = [{"matches": [{"path": _path(path)} for path in service.paths]}]
    spec["rules"] = [
        made
        for rule in rules
        for made in _divided(rule, service, gateway, weight if canary else None)
    ]
    return {"metadata": metadata, "spec": spec}


def annotated(standing: Route, annotations: Mapping[str, str]) -> Route:
    """What to apply to change annotations alone: ours as it stands, at its resourceVersion."""
    notes = {
        key: value for key, value in _annotations(standing).items() if key.startswith(PREFIX)
    } | {PREFIX + key: value for key, value in annotations.items()}
    metadata: dict[str, Any] = {
        "name": standing["metadata"]["name"],
        "annotations": notes,
        "resourceVersion": standing["metadata"]["resourceVersion"],
    }
    if is_adopted(standing):
        return {"metadata": metadata, "spec": {"rules": standing["spec"]["rules"]}}
    metadata["labels"] = {_MANAGED_BY: "tarsrelease"}
    return {"metadata": metadata, "spec": standing["spec"]}


def hostnames(service: Service, gateway: Gateway) -> list[str]:
    """The service's real host names. Raises UsageError for a key the environment has not."""
    missing = [host for host in service.hosts if host not in gateway.hostnames]
    if missing:
        raise UsageError(
            doing=f"finding the host names of {service.name}",
            found=f"gateway.hostnames has no {missing[0]!r}",
            expected=", ".join(sorted(gateway.hostnames)),
            next_step=f"add {missing[0]} to gateway.hostnames in the environment file",
        )
    return [gateway.hostnames[host] for host in service.hosts]


def state(service: Service, gateway: Gateway, route: Route) -> RouteState:
    """The route as a RouteState."""
    notes = _annotations(route)
    problem = _problem(gateway, route)
    return RouteState(
        service=service.name,
        weight=_weight(service, gateway, route),
        stage=notes.get(PREFIX + "stage"),
        run=notes.get(PREFIX + "run"),
        release=notes.get(PREFIX + "release"),
        traffic_until=_moment(notes.get(PREFIX + "traffic-until")),
        accepted=problem is None,
        problem=problem,
        managers=managers(route),
        written_at=_moment(notes.get(PREFIX + "shifted-at")),
    )


def managers(route: Route) -> tuple[str, ...]:
    """Who else owns part of the spec, or says so by the usual labels and annotations."""
    metadata = route.get("metadata") or {}
    found = [
        entry["manager"]
        for entry in metadata.get("managedFields") or []
        if "f:spec" in (entry.get("fieldsV1") or {}) and entry.get("manager") != "tarsrelease"
    ]
    labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if labels.get(_MANAGED_BY) == "Helm":
        found.append("helm")
    if "argocd.argoproj.io/tracking-id" in notes or "argocd.argoproj.io/instance" in labels:
        found.append("argocd-controller")
    if "kustomize.toolkit.fluxcd.io/name" in labels or "helm.toolkit.fluxcd.io/name" in labels:
        found.append("kustomize-controller")
    return tuple(dict.fromkeys(found))


def _annotations(route: Route | None) -> dict[str, str]:
    return ((route or {}).get("metadata") or {}).get("annotations") or {}


def _parent(gateway: Gateway) -> dict[str, str]:
    parent = {
        "group": _GROUP,
        "kind": "Gateway",
        "name": gateway.name,
        "namespace": gateway.namespace,
    }
    return parent | ({"sectionName": gateway.listener} if gateway.listener else {})


def _path(path: str) -> dict[str, str]:
    return {"type": "PathPrefix", "value": path}


def _backend(name: str, port: int, weight: int) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": name, "port": port, "weight": weight}


def _divided(rule: Rule, service: Service, gateway: Gateway, weight: int | None) -> list[Rule]:
    """The header rule and the weighted rule for one rule; a rule with backends is kept."""
    if "backendRefs" in rule:
        return [rule]
    stable = _backend(service.stable.service, service.port, 100 - (weight or 0))
    if weight is None:
        return [{**rule, "backendRefs": [stable]}]
    canary = _backend(service.canary.service, service.port, weight)
    header = {"type": "Exact", "name": gateway.canary_header, "value": _HEADER_VALUE}
    by_header = [
        {**match, "headers": [*(match.get("headers") or []), header]}
        for match in rule.get("matches") or [{"path": _path("/")}]
    ]
    return [
        {**rule, "matches": by_header, "backendRefs": [{**canary, "weight": 1}]},
        {**rule, "backendRefs": [stable, canary]},
    ]


def _by_header(rule: Rule, gateway: Gateway) -> bool:
    matches = rule.get("matches") or []
    return bool(matches) and all(
        any(
            header.get("name", "").lower() == gateway.canary_header
            and header.get("value") == _HEADER_VALUE
            for header in match.get("headers") or []
        )
        for match in matches
    )


def _names(rule: Rule) -> list[str]:
    return [backend.get("name", "") for backend in rule.get("backendRefs") or []]


def _standing_rules(service: Service, gateway: Gateway, route: Route) -> list[Rule]:
    """A route's rules: those to divide without their backends, all others as they are."""
    rules: list[Rule] = []
    found = False
    for rule in (route.get("spec") or {}).get("rules") or []:
        if _by_header(rule, gateway) and _names(rule) == [service.canary.service]:
            continue
        if service.stable.service in _names(rule):
            found = True
            rules.append({key: value for key, value in rule.items() if key != "backendRefs"})
        else:
            rules.append(rule if "backendRefs" in rule else {**rule, "backendRefs": []})
    if not found:
        raise UsageError(
            doing=f"adopting httproute/{service.route}",
            found=f"no rule has the Service {service.stable.service} as backend",
            expected="a rule whose backendRefs name it",
            next_step="check services[].stable.service and services[].route in rollout.yaml",
        )
    return rules


def _weight(service: Service, gateway: Gateway, route: Route) -> int:
    """The canary's percentage; the largest where rules disagree, as that much may reach it."""
    shares = [0]
    for rule in (route.get("spec") or {}).get("rules") or []:
        backends = rule.get("backendRefs") or []
        total = sum(backend.get("weight", 1) for backend in backends)
        if not total or _by_header(rule, gateway):
            continue
        canary = sum(
            backend.get("weight", 1)
            for backend in backends
            if backend.get("name") == service.canary.service
        )
        shares.append(round(100 * canary / total))
    return max(shares)


def _problem(gateway: Gateway, route: Route) -> str | None:
    """Why the gateway has not accepted the route's current generation; None if it has."""
    generation = route["metadata"].get("generation")
    parents = [
        parent
        for parent in (route.get("status") or {}).get("parents") or []
        if parent.get("parentRef", {}).get("name") == gateway.name
        and parent.get("parentRef", {}).get("namespace", gateway.namespace) == gateway.namespace
    ]
    if not parents:
        return f"gateway {gateway.namespace}/{gateway.name} has not accepted it yet"
    for parent in parents:
        conditions = {found["type"]: found for found in parent.get("conditions") or []}
        for wanted in ("Accepted", "ResolvedRefs"):
            condition = conditions.get(wanted)
            if condition is None or condition.get("observedGeneration") != generation:
                return f"the gateway has not seen generation {generation} yet ({wanted})"
            if condition.get("status") != "True":
                return f"{wanted} is {condition.get('status')}: {condition.get('message', '')}"
    return None


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
