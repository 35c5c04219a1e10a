"""The weights of a route's rules, split between stable and canary. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tarsrelease.model.errors import UsageError
from tarsrelease.model.rollout import RouteRef, Service

_SCALE = 100
_MOST_WEIGHT = 1_000_000  # gateway.networking.k8s.io, BackendRef.weight

Route = dict[str, Any]
Rule = dict[str, Any]
Backend = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """One route and the services that it leads to, each with its own reference to the route.

    `home` is the namespace of the services.
    """

    ref: RouteRef
    services: tuple[tuple[Service, RouteRef], ...]
    home: str

    @property
    def header_route(self) -> str:
        """The name of our route with the header's rules."""
        return f"{self.ref.name}-by-header"


def targets(services: Iterable[Service], home: str) -> list[Target]:
    """The routes of these services, each once, in the order of the services."""
    found: dict[tuple[str, str | None, str], list[tuple[Service, RouteRef]]] = {}
    for service in services:
        for ref in service.route_refs:
            found.setdefault(ref.key, []).append((service, ref))
    return [Target(members[0][1], tuple(members), home) for members in found.values()]


def rules_of(route: Route | None) -> list[Rule]:
    """The route's rules; none of no route."""
    return ((route or {}).get("spec") or {}).get("rules") or []


def backend_names(rule: Rule) -> list[str]:
    """The names of all backends of a rule."""
    return [backend.get("name", "") for backend in rule.get("backendRefs") or []]


def leading(rule: Rule, name: str, ref: RouteRef, home: str) -> list[Backend]:
    """The backends of a rule that are the Service `name` of the namespace `home`.

    None of a rule outside the reference.
    """
    if ref.rules and rule.get("name") not in ref.rules:
        return []
    return [
        backend
        for backend in rule.get("backendRefs") or []
        if backend.get("name") == name
        and (backend.get("namespace") or ref.namespace or home) == home
        and backend.get("kind", "Service") == "Service"
        and not backend.get("group")
    ]


def split(rules: list[Rule], target: Target, weights: Mapping[str, int | None]) -> list[Rule]:
    """The rules with the stable backends' weights split, or whole again where there is no canary.

    A rule that names a canary has all its weights a hundredfold, so that a percentage of any
    weight is a whole number; without one they are what their owner wrote.
    """
    for service, ref in target.services:
        if not any(leading(rule, service.stable.service, ref, target.home) for rule in rules):
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
        if split_services(rule, target)
        else rule
        for rule in rules
    ]


def split_services(rule: Rule, target: Target) -> list[tuple[Service, list[Backend]]]:
    """The services that the rule leads to, each with its stable backends."""
    found = [
        (service, leading(rule, service.stable.service, ref, target.home))
        for service, ref in target.services
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
            leading(rule, service.stable.service, ref, target.home),
            leading(rule, service.canary.service, ref, target.home),
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
        id(backend): (service.canary.service, percent)
        for service, stable in split_services({**rule, "backendRefs": backends}, target)
        if (percent := weights[service.name]) is not None
        for backend in stable
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
        canary, percent = percents.get(id(backend), (None, 0))
        split.append({**backend, "weight": weight * (_SCALE - percent)})
        if canary is not None:
            split.append({**backend, "name": canary, "weight": weight * percent})
    return split


def canary_percentage(service: Service, ref: RouteRef, rules: list[Rule], home: str) -> int:
    """The canary's percentage of what leads to the service; the largest where rules disagree."""
    shares = [0]
    for rule in rules:
        stable = _sum(leading(rule, service.stable.service, ref, home))
        canary = _sum(leading(rule, service.canary.service, ref, home))
        if stable + canary:
            shares.append(round(100 * canary / (stable + canary)))
    return max(shares)


def _sum(backends: list[Backend]) -> int:
    return sum(backend.get("weight", 1) for backend in backends)
