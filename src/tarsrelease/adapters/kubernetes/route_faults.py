"""What in a route would make a release fail, found before anything is changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tarsrelease.adapters.kubernetes.route_split import Route, Rule, Target, leading, rules_of

_GROUP = "gateway.networking.k8s.io"
# gateway.networking.k8s.io/v1, HTTPRoute and GRPCRoute: maxItems of the definitions, and the rule
# on the sum of all matches.
_MOST_RULES = 16
_MOST_MATCHES = 64
_MOST_MATCHES_TOGETHER = 128
_MOST_BACKENDS = 16
_MOST_HEADERS = 16
_MOST_HOSTNAMES = 16


def over_limits(name: str, spec: Mapping[str, Any]) -> list[str]:
    """Which limits of the Gateway API the route would exceed, as sentences without a full stop."""
    rules: Sequence[Rule] = spec.get("rules") or []
    matches = [rule.get("matches") or [{}] for rule in rules]
    headers = [len(match.get("headers") or []) for each in matches for match in each]
    counts = (
        ("rules", len(rules), _MOST_RULES),
        ("matches in one rule", max(map(len, matches), default=0), _MOST_MATCHES),
        ("matches in all rules", sum(map(len, matches)), _MOST_MATCHES_TOGETHER),
        (
            "backends in one rule",
            max((len(rule.get("backendRefs") or []) for rule in rules), default=0),
            _MOST_BACKENDS,
        ),
        ("headers in one match", max(headers, default=0), _MOST_HEADERS),
        ("host names", len(spec.get("hostnames") or []), _MOST_HOSTNAMES),
    )
    return [
        f"{name} would have {found} {what}, and the Gateway API allows {most}; distribute them "
        "over several routes and list these under routes in rollout.yaml"
        for what, found, most in counts
        if found > most
    ]


def missing_grants(target: Target, route: Route, grants: Iterable[Mapping[str, Any]]) -> list[str]:
    """References to the services' namespace that none of its ReferenceGrants allows."""
    ref, home = target.ref, target.home
    if ref.namespace in (None, home):
        return []
    used = {
        name
        for service, own in target.services
        for rule in rules_of(route)
        if leading(rule, service.stable.service, own, home)
        for name in (service.stable.service, service.canary.service)
    }
    allowed = list(grants)
    return [
        f"no ReferenceGrant in {home} lets {ref} lead to the Service {name}; in a ReferenceGrant "
        f"from {ref.kind} of {ref.namespace}, add {{group: '', kind: Service, name: {name}}} under "
        "`to`, or leave out the name"
        for name in sorted(used)
        if not any(_grants(grant, target, name) for grant in allowed)
    ]


def _grants(grant: Mapping[str, Any], target: Target, service: str) -> bool:
    spec = grant.get("spec") or {}
    ref = target.ref
    return any(
        (each.get("group"), each.get("kind"), each.get("namespace"))
        == (_GROUP, ref.kind, ref.namespace)
        for each in spec.get("from") or []
    ) and any(
        not each.get("group")
        and each.get("kind") == "Service"
        and each.get("name") in (None, "", service)
        for each in spec.get("to") or []
    )


def older_rivals(name: str, route: Route, others: Iterable[Route]) -> list[str]:
    """Older routes that get the same requests.

    If the same request matches rules of two routes equally well, the older route wins
    (gateway.networking.k8s.io, HTTPRouteRule.matches). `route` without a creationTimestamp does
    not exist yet.
    """
    own = set(_keys(route))
    rivals = []
    for other in others:
        same = sorted(own & set(_keys(other)))
        if same and _age(other) < _age(route):
            _, host, shown, *_ = same[0]
            rivals.append(
                f"{other['kind'].lower()}/{other['metadata']['name']} has the same host "
                f"{host or '(any)'} and match {shown} as {name}, and it is older, so it gets these "
                "requests and the weights have no effect; delete it, or list it under routes in "
                "rollout.yaml"
            )
    return rivals


def _age(route: Route) -> tuple[str, str]:
    metadata = route["metadata"]
    return metadata.get("creationTimestamp") or "9999", metadata["name"]


def _keys(route: Route) -> Iterator[tuple[str, ...]]:
    """Parent, host name and match of each rule, in a form that can be compared."""
    spec = route.get("spec") or {}
    namespace = (route.get("metadata") or {}).get("namespace", "")
    for parent in spec.get("parentRefs") or []:
        where = "/".join(
            str(part)
            for part in (
                parent.get("kind", "Gateway"),
                parent.get("namespace", namespace),
                parent.get("name"),
            )
        )
        for host in spec.get("hostnames") or [""]:
            for rule in spec.get("rules") or []:
                for match in rule.get("matches") or [{}]:
                    yield (where, host, _shown(match), *_conditions(match))


def _shown(match: Mapping[str, Any]) -> str:
    path = match.get("path") or {"value": "/"}
    method = match.get("method")
    if isinstance(method, Mapping):  # GRPCRoute
        return f"{method.get('service', '*')}/{method.get('method', '*')}"
    return f"{path.get('value', '/')}" + (f" ({method})" if method else "")


def _conditions(match: Mapping[str, Any]) -> tuple[str, ...]:
    path = match.get("path") or {}
    found = [path.get("type", "PathPrefix")]
    for key in ("headers", "queryParams"):
        found += sorted(
            f"{key} {each.get('name', '').lower()} {each.get('type', 'Exact')} {each.get('value')}"
            for each in match.get(key) or []
        )
    return tuple(found)
