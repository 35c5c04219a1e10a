"""Routes as values: whose they are, how their weights are split, and what they say.

Pure: dictionaries in, dictionaries out. A route belongs to its owner: in the rules that lead to a
service, the weight of the stable backend is split between stable and canary, and nothing else
changes. The rules that send requests with the canary header to the canary stand in a route of our
own (`by_header`), because the Gateway API prefers the rule that matches more headers, in whichever
route it stands (gateway.networking.k8s.io, HTTPRouteRule.matches).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tarsrelease.model.cluster import RouteState
from tarsrelease.model.environment import Gateway
from tarsrelease.model.errors import UsageError
from tarsrelease.model.rollout import RouteRef, Service

PREFIX = "tarsrelease.dev/"
_ADOPTED = PREFIX + "adopted"
_BY_HEADER = PREFIX + "by-header"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_HEADER_VALUE = "always"
_GROUP = "gateway.networking.k8s.io"
_SCALE = 100
_MOST_WEIGHT = 1_000_000  # gateway.networking.k8s.io, BackendRef.weight

Route = dict[str, Any]
Rule = dict[str, Any]
Backend = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """One route and the services that it leads to, each with its own reference to the route."""

    ref: RouteRef
    services: tuple[tuple[Service, RouteRef], ...]

    @property
    def header_route(self) -> str:
        """The name of our route with the header's rules."""
        return f"{self.ref.name}-by-header"


def targets(services: Iterable[Service]) -> list[Target]:
    """The routes of these services, each once, in the order of the services."""
    found: dict[tuple[str, str], list[tuple[Service, RouteRef]]] = {}
    for service in services:
        for ref in service.route_refs:
            found.setdefault((ref.kind, ref.name), []).append((service, ref))
    return [Target(members[0][1], tuple(members)) for members in found.values()]


def is_ours(route: Route | None) -> bool:
    """Whether tarsrelease has written this route before."""
    labels = ((route or {}).get("metadata") or {}).get("labels") or {}
    return labels.get(_MANAGED_BY) == "tarsrelease" or _ADOPTED in _annotations(route)


def is_adopted(route: Route | None) -> bool:
    """Whether another tool owns the route; all but the split weights is kept."""
    return route is not None and (not is_ours(route) or _ADOPTED in _annotations(route))


def names_canary(target: Target, route: Route | None) -> bool:
    """Whether a rule of the route leads to the canary of one of the target's services."""
    canaries = {service.canary.service for service, _ in target.services}
    return any(canaries & set(_names(rule)) for rule in _rules(route))


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
        notes[_ADOPTED] = "true"
        metadata["resourceVersion"] = standing["metadata"]["resourceVersion"]
        rules = [
            rule
            for rule in _rules(standing)
            # Earlier versions kept the header's rules in the route itself.
            if not _leads_by_header(rule, target, gateway)
        ]
        return {"metadata": metadata, "spec": {"rules": _split(rules, target, weights)}}
    metadata["labels"] = {_MANAGED_BY: "tarsrelease"}
    return {"metadata": metadata, "spec": _made(target, gateway, weights)}


def by_header(target: Target, gateway: Gateway, route: Route) -> Route:
    """The route of our own that sends requests with the canary header to the canaries.

    Matches, filters and timeouts are those of the rules of `route` that lead to each service, and
    so are parents and host names.
    """
    header = {"type": "Exact", "name": gateway.canary_header, "value": _HEADER_VALUE}
    rules: list[Rule] = []
    for rule in _rules(route):
        canaries = [
            {**stable[0], "name": service.canary.service, "weight": 1}
            for service, stable in _split_here(rule, target)
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


def state(
    service: Service, gateway: Gateway, routes: Sequence[tuple[RouteRef, Route]], problem: str
) -> RouteState:
    """A service's routes as one RouteState: the largest weight, the first problem.

    `problem` is what is wrong with routes that are not among `routes`; empty if nothing is.
    The annotations are those of the service's first route.
    """
    notes = _annotations(routes[0][1])
    problems = [problem, *(problem_of(gateway, route) or "" for _, route in routes)]
    first = next((found for found in problems if found), None)
    return RouteState(
        service=service.name,
        weight=max(_weight(service, ref, route) for ref, route in routes),
        stage=notes.get(PREFIX + "stage"),
        run=notes.get(PREFIX + "run"),
        release=notes.get(PREFIX + "release"),
        traffic_until=_moment(notes.get(PREFIX + "traffic-until")),
        accepted=first is None,
        problem=first,
        managers=tuple(dict.fromkeys(name for _, route in routes for name in managers(route))),
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


def _rules(route: Route | None) -> list[Rule]:
    return ((route or {}).get("spec") or {}).get("rules") or []


def _names(rule: Rule) -> list[str]:
    return [backend.get("name", "") for backend in rule.get("backendRefs") or []]


def _leading(rule: Rule, name: str, ref: RouteRef) -> list[Backend]:
    """The backends of a rule that are the Service `name`; none of a rule outside the reference."""
    if ref.rules and rule.get("name") not in ref.rules:
        return []
    return [
        backend
        for backend in rule.get("backendRefs") or []
        if backend.get("name") == name
        and backend.get("kind", "Service") == "Service"
        and not backend.get("group")
    ]


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


def _split(rules: list[Rule], target: Target, weights: Mapping[str, int | None]) -> list[Rule]:
    """The rules with the stable backends' weights split, or whole again where there is no canary.

    A rule that names a canary has all its weights a hundredfold, so that a percentage of any
    weight is a whole number; without one they are what their owner wrote.
    """
    for service, ref in target.services:
        if not any(_leading(rule, service.stable.service, ref) for rule in rules):
            raise UsageError(
                doing=f"splitting the traffic of {ref}",
                found=f"no rule leads to the Service {service.stable.service}"
                + (f" among those named {', '.join(ref.rules)}" if ref.rules else ""),
                expected="a rule whose backendRefs name it",
                next_step="check services[].stable.service and the service's routes in "
                "rollout.yaml",
            )
    return [
        {**rule, "backendRefs": _split_backends(_whole(rule, target), rule, target, weights)}
        if _split_here(rule, target)
        else rule
        for rule in rules
    ]


def _split_here(rule: Rule, target: Target) -> list[tuple[Service, list[Backend]]]:
    """The services that the rule leads to, each with its stable backends."""
    found = [
        (service, _leading(rule, service.stable.service, ref)) for service, ref in target.services
    ]
    return [(service, stable) for service, stable in found if stable]


def _whole(rule: Rule, target: Target) -> list[Backend]:
    """The backends as their owner wrote them: no canary, weights undivided."""
    backends: list[Backend] = rule["backendRefs"]
    pairs = [
        (stable, canary)
        for service, ref in target.services
        # Pairs of stable and canary stand in the same order.
        for stable, canary in zip(
            _leading(rule, service.stable.service, ref),
            _leading(rule, service.canary.service, ref),
            strict=False,
        )
    ]
    if not pairs:
        return backends
    canaries = [canary for _, canary in pairs]

    def whole(backend: Backend) -> int:
        shared = [canary for stable, canary in pairs if stable is backend]
        weight = _sum([backend, *shared])
        return round(weight / _SCALE) or min(1, weight)

    return [
        {**backend, "weight": whole(backend)}
        for backend in backends
        if not any(backend is canary for canary in canaries)
    ]


def _split_backends(
    backends: list[Backend], rule: Rule, target: Target, weights: Mapping[str, int | None]
) -> list[Backend]:
    """The undivided backends with each stable one split by its service's percentage."""
    percents = {
        service.stable.service: (service.canary.service, percent)
        for service, _ in _split_here(rule, target)
        if (percent := weights[service.name]) is not None
    }
    if not percents:
        return backends
    heaviest = max(backend.get("weight", 1) for backend in backends)
    if heaviest * _SCALE > _MOST_WEIGHT:
        raise UsageError(
            doing=f"splitting the traffic of {target.ref}",
            found=f"a weight of {heaviest}",
            expected=f"weights up to {_MOST_WEIGHT // _SCALE}, of which a percentage can be taken",
            next_step="divide the weights of the rule's backendRefs by a common factor",
        )
    split: list[Backend] = []
    for backend in backends:
        weight = backend.get("weight", 1)
        canary, percent = percents.get(backend["name"], (None, 0))
        split.append({**backend, "weight": weight * (_SCALE - percent)})
        if canary is not None:
            split.append({**backend, "name": canary, "weight": weight * percent})
    return split


def _leads_by_header(rule: Rule, target: Target, gateway: Gateway) -> bool:
    """Whether only requests with the canary header match the rule, and it leads to a canary."""
    matches = rule.get("matches") or []
    canaries = [[service.canary.service] for service, _ in target.services]
    return _names(rule) in canaries and all(
        any(
            header.get("name", "").lower() == gateway.canary_header.lower()
            and header.get("value") == _HEADER_VALUE
            for header in match.get("headers") or []
        )
        for match in matches
    )


def _weight(service: Service, ref: RouteRef, route: Route) -> int:
    """The canary's percentage of what leads to the service; the largest where rules disagree."""
    shares = [0]
    for rule in _rules(route):
        stable = _sum(_leading(rule, service.stable.service, ref))
        canary = _sum(_leading(rule, service.canary.service, ref))
        if stable + canary:
            shares.append(round(100 * canary / (stable + canary)))
    return max(shares)


def _sum(backends: list[Backend]) -> int:
    return sum(backend.get("weight", 1) for backend in backends)


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
        return f"gateway {gateway.namespace}/{gateway.name} has not taken it up"
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
