"""Istio's VirtualServices as values: their HTTP routes as rules whose weights can be split. Pure.

A VirtualService belongs to its owner as a Gateway API route does. The rules that lead requests with
the canary header to the canary stand in the VirtualService itself, before the rules that they are
copies of, because a mesh's sidecars heed only one VirtualService of a host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tarsrelease.adapters.kubernetes.http_route import ADOPTED, PREFIX
from tarsrelease.adapters.kubernetes.route_split import (
    Backend,
    Route,
    Rule,
    Target,
    split,
    split_services,
)

_BY_HEADER = "tarsrelease-by-header"
_ORIGINAL = "destination"
"""The key under which a backend keeps the HTTPRouteDestination that it stands for."""


def rules_of(virtual_service: Route | None) -> list[Rule]:
    """The owner's HTTP routes, as rules with backendRefs."""
    found = ((virtual_service or {}).get("spec") or {}).get("http") or []
    return [_as_rule(http) for http in found if not is_by_header(http)]


def is_by_header(http: Mapping[str, Any]) -> bool:
    """Whether it is one of ours, for requests with the canary header."""
    return str(http.get("name", "")).startswith(_BY_HEADER)


def desired(
    target: Target,
    canary_header: str,
    standing: Route,
    weights: Mapping[str, int | None],
    annotations: Mapping[str, str],
) -> Route:
    """What to apply: by service, the percentage for the canary, or None for no canary at all.

    Bound to the version that was read. Raises UsageError if no rule leads to stable.
    """
    http: list[dict[str, Any]] = []
    for rule in split(rules_of(standing), target, weights):
        if any(weights[service.name] is not None for service, _ in split_services(rule, target)):
            number = sum(is_by_header(each) for each in http)
            http.append(_by_header(rule, target, canary_header, number))
        http.append(_as_http(rule))
    notes = {PREFIX + key: value for key, value in annotations.items()} | {ADOPTED: "true"}
    return {
        "metadata": {
            "name": target.ref.name,
            "annotations": notes,
            "resourceVersion": standing["metadata"]["resourceVersion"],
        },
        "spec": {"http": http},
    }


def annotated(standing: Route, annotations: Mapping[str, str]) -> Route:
    """What to apply to change only annotations, bound to the version that was read."""
    known = standing["metadata"].get("annotations") or {}
    notes = {key: value for key, value in known.items() if key.startswith(PREFIX)}
    return {
        "metadata": {
            "name": standing["metadata"]["name"],
            "annotations": notes | {PREFIX + key: value for key, value in annotations.items()},
            "resourceVersion": standing["metadata"]["resourceVersion"],
        },
        "spec": {"http": standing["spec"]["http"]},
    }


def problem_of(virtual_service: Route) -> str | None:
    """The first error that Istio's analysis has written into the status; None without one."""
    messages = (virtual_service.get("status") or {}).get("validationMessages") or []
    errors = [found for found in messages if str(found.get("level", "")).upper() == "ERROR"]
    if not errors:
        return None
    kind = errors[0].get("type") or {}
    return f"Istio reports {kind.get('code', '')} {kind.get('name', '')}".strip()


def _as_rule(http: Mapping[str, Any]) -> Rule:
    destinations = http.get("route") or []
    # networking.istio.io, HTTPRouteDestination.weight: without a weight, the only destination of a
    # rule gets everything and one of several gets nothing.
    default = 1 if len(destinations) == 1 else 0
    backends = [_as_backend(each, default) for each in destinations]
    rule = {key: value for key, value in http.items() if key != "route"}
    return {**rule, "backendRefs": backends} if "route" in http else dict(http)


def _as_backend(destination: Mapping[str, Any], default: int) -> Backend:
    name, _, rest = str((destination.get("destination") or {}).get("host", "")).partition(".")
    # NAME.NAMESPACE[.svc[.DOMAIN]]; any other host is no Service of the cluster.
    parts = rest.split(".")
    inside = not rest or len(parts) == 1 or parts[1] == "svc"
    return {
        "name": name,
        **({"namespace": parts[0]} if rest else {}),
        **({} if inside else {"kind": "Hostname"}),
        "weight": destination.get("weight", default),
        _ORIGINAL: destination,
    }


def _as_http(rule: Rule) -> dict[str, Any]:
    if "backendRefs" not in rule:
        return rule
    backends = rule["backendRefs"]
    kept = {key: value for key, value in rule.items() if key != "backendRefs"}
    only = len(backends) == 1
    return {**kept, "route": [_as_destination(backend, only=only) for backend in backends]}


def _as_destination(backend: Backend, *, only: bool) -> dict[str, Any]:
    original = backend[_ORIGINAL]
    target = original["destination"]
    _, dot, rest = target["host"].partition(".")
    host = f"{backend['name']}{dot}{rest}"
    destination = {**original, "destination": {**target, "host": host}, "weight": backend["weight"]}
    if host != target["host"]:
        # The subsets of stable's DestinationRule are not those of the canary's host.
        destination["destination"].pop("subset", None)
    if (only and backend["weight"] == 1) or (
        host == target["host"] and backend["weight"] == 0 and "weight" not in original
    ):
        del destination["weight"]
    return destination


def _by_header(rule: Rule, target: Target, canary_header: str, number: int) -> dict[str, Any]:
    """The rule for requests with the canary header; `number` makes its name unique."""
    header = {canary_header.lower(): {"exact": "always"}}
    matches = [
        {**match, "headers": {**(match.get("headers") or {}), **header}}
        for match in rule.get("match") or [{}]
    ]
    canaries = {service.canary.service for service, _ in split_services(rule, target)}
    backends = [
        {**backend, "weight": 1} for backend in rule["backendRefs"] if backend["name"] in canaries
    ]
    return {**_as_http({**rule, "backendRefs": backends}), "match": matches} | {
        "name": f"{_BY_HEADER}-{number}"
    }
