"""Routes as values: whose they are, how their weights are split, and what they say.

Pure: dictionaries in, dictionaries out. A route belongs to its owner: in the rules that lead to a
service, the weight of the stable backend is split between stable and canary, and nothing else
changes. The rules that send requests with the canary header to the canary stand in a route of our
own (`by_header`), because the Gateway API prefers the rule that matches more headers, in whichever
route it stands (gateway.networking.k8s.io, HTTPRouteRule.matches).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tarsrelease.adapters.kubernetes.route_split import (
    Backend,
    Route,
    Rule,
    Target,
    backend_names,
    rules_of,
    split,
    split_services,
)
from tarsrelease.model.cluster import RouteState
from tarsrelease.model.environment import Gateway
from tarsrelease.model.errors import UsageError
from tarsrelease.model.rollout import Service
from tarsrelease.rollout.route_owners import controller_of

PREFIX = "tarsrelease.dev/"
ADOPTED = PREFIX + "adopted"
ADOPTED_FROM = PREFIX + "adopted-from"
"""The delivery tool that `route adopt` has taken the route over from."""
FLUX_RECONCILE = "kustomize.toolkit.fluxcd.io/reconcile"
_BY_HEADER = PREFIX + "by-header"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_HEADER_VALUE = "always"
_GROUP = "gateway.networking.k8s.io"


def is_ours(route: Route | None) -> bool:
    """Whether tarsrelease has written this route before."""
    labels = ((route or {}).get("metadata") or {}).get("labels") or {}
    return labels.get(_MANAGED_BY) == "tarsrelease" or ADOPTED in _annotations(route)


def is_adopted(route: Route | None) -> bool:
    """Whether another tool owns the route; all but the split weights is kept."""
    return route is not None and (not is_ours(route) or ADOPTED in _annotations(route))


def released_by_owner(route: Route) -> bool:
    """Whether the delivery tool that owns the route leaves its weights alone."""
    notes = _annotations(route)
    return ADOPTED_FROM in notes or notes.get(FLUX_RECONCILE) == "disabled"


def names_canary(target: Target, route: Route | None) -> bool:
    """Whether a rule of the route leads to the canary of one of the target's services."""
    canaries = {service.canary.service for service, _ in target.services}
    return any(canaries & set(backend_names(rule)) for rule in rules_of(route))


def split_by_others(target: Target, route: Route, rules: Sequence[Rule]) -> str | None:
    """A canary that the route's rules name although tarsrelease has not split them; None if there
    is none.

    Another tool's weights would be taken for ours and be lost.
    """
    notes = _annotations(route)
    if _BY_HEADER in notes or PREFIX + "weight" in notes or not is_adopted(route):
        return None
    named = {name for rule in rules for name in backend_names(rule)}
    return next((s.canary.service for s, _ in target.services if s.canary.service in named), None)


def desired(
    target: Target,
    gateway: Gateway,
    standing: Route | None,
    weights: Mapping[str, int | None],
    annotations: Mapping[str, str],
) -> Route:
    """What to apply: by service, the percentage for the canary, or None for no canary at all.

    Of a route that somebody else made only the rules are applied, made from those that stand and
    bound to the version that was read. Raises UsageError if none of them leads to stable.
    """
    notes = {PREFIX + key: value for key, value in annotations.items()}
    if any(percent is not None for percent in weights.values()):
        notes[_BY_HEADER] = target.header_route
    metadata: dict[str, Any] = {"name": target.ref.name, "annotations": notes}
    if standing is not None and is_adopted(standing):
        notes[ADOPTED] = "true"
        metadata["resourceVersion"] = standing["metadata"]["resourceVersion"]
        rules = [
            rule
            for rule in rules_of(standing)
            # Earlier versions kept the header's rules in the route itself.
            if not _leads_by_header(rule, target, gateway)
        ]
        return {"metadata": metadata, "spec": {"rules": split(rules, target, weights)}}
    metadata["labels"] = {_MANAGED_BY: "tarsrelease"}
    return {"metadata": metadata, "spec": _made(target, gateway, weights)}


def by_header(target: Target, gateway: Gateway, route: Route) -> Route:
    """The route of our own that sends requests with the canary header to the canaries.

    Matches, filters and timeouts are those of the rules of `route` that lead to each service, and
    so are parents and host names.
    """
    header = {"type": "Exact", "name": gateway.canary_header, "value": _HEADER_VALUE}
    rules: list[Rule] = []
    for rule in rules_of(route):
        canaries = [
            {**stable[0], "name": service.canary.service, "weight": 1}
            for service, stable in split_services(rule, target)
        ]
        if not canaries:
            continue
        matches = [
            {**match, "headers": [*(match.get("headers") or []), header]}
            for match in rule.get("matches") or [{}]
        ]
        kept = {key: value for key, value in rule.items() if key != "name"}
        rules.append({**kept, "matches": matches, "backendRefs": canaries})
    spec = {key: route["spec"][key] for key in ("parentRefs", "hostnames") if key in route["spec"]}
    return {
        "metadata": {"name": target.header_route, "labels": {_MANAGED_BY: "tarsrelease"}},
        "spec": {**spec, "rules": rules},
    }


def header_route_of(route: Route) -> str | None:
    """The name of the route with the header's rules; None if none was made."""
    return _annotations(route).get(_BY_HEADER)


def annotated_weight(route: Route) -> int | None:
    """The weight that was written with the annotations; None if none was."""
    text = _annotations(route).get(PREFIX + "weight", "")
    return int(text) if text.isdigit() else None


def annotated(standing: Route, annotations: Mapping[str, str]) -> Route:
    """What to apply to change only annotations, bound to the version that was read."""
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


def state(
    service: str, weight: int, routes: Sequence[Route], problems: Sequence[str]
) -> RouteState:
    """A service's routes as one RouteState: the largest weight, the first problem that is none "".

    The annotations are those of the service's first route.
    """
    notes = _annotations(routes[0])
    first = next((found for found in problems if found), None)
    return RouteState(
        service=service,
        weight=weight,
        stage=notes.get(PREFIX + "stage"),
        run=notes.get(PREFIX + "run"),
        release=notes.get(PREFIX + "release"),
        traffic_until=_moment(notes.get(PREFIX + "traffic-until")),
        accepted=first is None,
        problem=first,
        managers=tuple(dict.fromkeys(name for route in routes for name in managers(route))),
        adopted=all(released_by_owner(route) for route in routes if controller(route)),
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


def controller(route: Route) -> tuple[str, str] | None:
    """The delivery controller that owns the route, and the fix; None without one."""
    return controller_of(managers(route))


def _annotations(route: Route | None) -> dict[str, str]:
    return ((route or {}).get("metadata") or {}).get("annotations") or {}


def _made(target: Target, gateway: Gateway, weights: Mapping[str, int | None]) -> dict[str, Any]:
    """The spec of a route that did not exist before: one rule for each service."""
    if target.ref.kind != "HTTPRoute":
        raise UsageError(
            doing=f"writing {target.ref}",
            found="there is no such route",
            expected="an HTTPRoute, which tarsrelease can create, or a route that exists",
            next_step=f"create {target.ref} with a rule that leads to stable",
        )
    hosts = dict.fromkeys(
        name for service, _ in target.services for name in hostnames(service, gateway)
    )
    return {
        "parentRefs": [_parent(gateway)],
        "hostnames": list(hosts),
        "rules": [
            {
                "matches": [
                    {"path": {"type": "PathPrefix", "value": path}} for path in service.paths
                ],
                "backendRefs": _made_backends(service, weights[service.name]),
            }
            for service, _ in target.services
        ],
    }


def _made_backends(service: Service, percent: int | None) -> list[Backend]:
    def backend(name: str, weight: int) -> Backend:
        return {
            "group": "",
            "kind": "Service",
            "name": name,
            "port": service.port,
            "weight": weight,
        }

    stable = backend(service.stable.service, 100 - (percent or 0))
    return [stable] if percent is None else [stable, backend(service.canary.service, percent)]


def _parent(gateway: Gateway) -> dict[str, str]:
    parent = {
        "group": _GROUP,
        "kind": "Gateway",
        "name": gateway.name,
        "namespace": gateway.namespace,
    }
    return parent | ({"sectionName": gateway.listener} if gateway.listener else {})


def _leads_by_header(rule: Rule, target: Target, gateway: Gateway) -> bool:
    """Whether only requests with the canary header match the rule, and it leads to a canary."""
    matches = rule.get("matches") or []
    canaries = [[service.canary.service] for service, _ in target.services]
    return backend_names(rule) in canaries and all(
        any(
            header.get("name", "").lower() == gateway.canary_header.lower()
            and header.get("value") == _HEADER_VALUE
            for header in match.get("headers") or []
        )
        for match in matches
    )


def problem_of(gateway: Gateway, route: Route) -> str | None:
    """Why a parent has not accepted the route as it now stands, or None.

    The parent is the environment's Gateway; of a route that is not attached to it (a mesh's
    Service, another Gateway) every parent counts.
    """
    generation = route["metadata"].get("generation")
    known = (route.get("status") or {}).get("parents") or []
    attached = [ref for ref in route["spec"].get("parentRefs") or [] if _is_gateway(ref, gateway)]
    parents = [
        parent
        for parent in known
        if not attached or _is_gateway(parent.get("parentRef") or {}, gateway)
    ]
    if not parents:
        parent = f"gateway {gateway.namespace}/{gateway.name}" if attached else "no parent"
        return f"{parent} has not taken it up" if attached else f"{parent} has taken it up"
    for parent in parents:
        conditions = {found["type"]: found for found in parent.get("conditions") or []}
        for wanted in ("Accepted", "ResolvedRefs"):
            condition = conditions.get(wanted)
            if condition is None or condition.get("observedGeneration") != generation:
                return f"the gateway has not seen generation {generation} yet ({wanted})"
            if condition.get("status") != "True":
                return f"{wanted} is {condition.get('status')}: {condition.get('message', '')}"
    return None


def _is_gateway(parent: Mapping[str, Any], gateway: Gateway) -> bool:
    return (
        parent.get("name") == gateway.name
        and parent.get("namespace", gateway.namespace) == gateway.namespace
        and parent.get("kind", "Gateway") == "Gateway"
    )


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
