"""What in a route would make a release fail, found before anything is changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def used_header(name: str, by_header: Mapping[str, Any], header: str) -> list[str]:
    """Whether a match of the route asks for the canary header itself: the Gateway API allows each
    header once. `by_header` is the spec of our route."""
    names = [
        [each["name"].lower() for each in match["headers"]]
        for rule in by_header["rules"]
        for match in rule["matches"]
    ]
    if not any(each.count(header.lower()) > 1 for each in names):
        return []
    return [
        f"a match of {name} has the header {header}, by which tarsrelease leads to the canary; "
        "choose another gateway.canary_header in the environment file"
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
    own = _keys(route)
    rivals = []
    for other in others:
        theirs = _keys(other)
        same = sorted(
            key for key in own.keys() & theirs.keys() if _share_listener(own[key], theirs[key])
        )
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


_Listener = tuple[str, str]
"""A parentRef's section and port, "" where it has none."""


def _share_listener(own: set[_Listener], theirs: set[_Listener]) -> bool:
    """Whether two routes meet in one listener: without a section they attach to each."""
    return any(
        all("" in pair or pair[0] == pair[1] for pair in zip(one, other, strict=True))
        for one in own
        for other in theirs
    )


def _keys(route: Route) -> dict[tuple[str, ...], set[_Listener]]:
    """Parent, host name and match of each rule, in a form that can be compared, with the listeners
    that the route attaches to."""
    found: dict[tuple[str, ...], set[_Listener]] = {}
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
        listener = (str(parent.get("sectionName") or ""), str(parent.get("port") or ""))
        for host in spec.get("hostnames") or [""]:
            for rule in spec.get("rules") or []:
                for match in rule.get("matches") or [{}]:
                    key = (where, host, _shown(match), *_conditions(match))
                    found.setdefault(key, set()).add(listener)
    return found


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
