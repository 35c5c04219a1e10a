"""A route belongs to its owner: after deploy, shifts and retire it is what it was."""

from __future__ import annotations

import json
import uuid
from typing import Any, Literal

import pytest
from bare_api import BareApi
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tarsrelease.adapters.kubernetes.client import (
    GRPC_ROUTE,
    HTTP_ROUTE,
    SERVICE,
    Kind,
    KubernetesApi,
)
from tarsrelease.adapters.kubernetes.routes import GatewayRoutes
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.rollout import RouteRef, Service

KINDS = {"HTTPRoute": HTTP_ROUTE, "GRPCRoute": GRPC_ROUTE}


def service(name: str, *refs: RouteRef) -> Service:
    return Service.model_validate(
        {
            "name": name,
            "port": 8080,
            "stable": {"deployment": name, "service": name},
            "canary": {"deployment": f"{name}-canary", "service": f"{name}-canary"},
            "routes": [ref.model_dump() for ref in refs],
            "hosts": ["web"],
            "paths": ["/"],
            "smoke": [{"path": "/health"}],
        }
    )


@pytest.fixture
def routes(cluster: KubernetesApi, environment: Environment) -> GatewayRoutes:
    for name in ("shop-canary", "cart-canary"):
        cluster.create(SERVICE, {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}})
    return GatewayRoutes(cluster, environment.gateway)


def create(
    api: BareApi, cluster: KubernetesApi, kind: str, name: str, spec: dict[str, Any]
) -> None:
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": {"team": "theirs"}, "annotations": {"note": "ours"}},
        "spec": spec,
    }
    api.kubectl(
        *("create", "--namespace", cluster.namespace, "--filename", "-"), stdin=json.dumps(body)
    )


def spec_of(cluster: KubernetesApi, kind: Kind, name: str) -> dict[str, Any]:
    found = cluster.get(kind, name)
    assert found is not None
    return dict(found["spec"])


names = st.sampled_from(["shop", "cart", "other", "third"])
weights = st.integers(min_value=0, max_value=10_000)
header_filter = {
    "type": "RequestHeaderModifier",
    "requestHeaderModifier": {"set": [{"name": "x-a", "value": "b"}]},
}


@st.composite
def backends(draw: st.DrawFn) -> list[dict[str, Any]]:
    chosen = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    return [
        {
            "name": name,
            "port": draw(st.integers(min_value=1, max_value=65535)),
            "weight": draw(weights),
            **({"filters": [header_filter]} if draw(st.booleans()) else {}),
            **(
                {"namespace": "elsewhere"}
                if name not in ("shop", "cart") and draw(st.booleans())
                else {}
            ),
        }
        for name in chosen
    ]


@st.composite
def http_specs(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(min_value=1, max_value=16))
    rules = []
    for number in range(count):
        rule: dict[str, Any] = {"backendRefs": draw(backends())}
        if draw(st.booleans()):
            rule["matches"] = [
                {"path": {"type": "PathPrefix", "value": f"/r{number}"}, "method": "GET"},
                {"headers": [{"name": "X-Team", "value": "blue"}]},
            ]
        if draw(st.booleans()):
            rule["filters"] = [header_filter]
        if draw(st.booleans()):
            rule["timeouts"] = {"request": "5s"}
        rules.append(rule)
    return draw(splittable(rules))


@st.composite
def grpc_specs(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(min_value=1, max_value=16))
    rules = []
    for number in range(count):
        rule: dict[str, Any] = {"backendRefs": draw(backends())}
        if draw(st.booleans()):
            method = {"type": "Exact", "service": f"shop.Service{number}", "method": "Get"}
            rule["matches"] = [
                {"method": method},
                {"headers": [{"type": "Exact", "name": "X-Team", "value": "blue"}]},
            ]
        if draw(st.booleans()):
            rule["filters"] = [header_filter]
        if draw(st.booleans()):
            rule["name"] = f"rule-{number}"
        rules.append(rule)
    return draw(splittable(rules))


@st.composite
def splittable(draw: st.DrawFn, rules: list[dict[str, Any]]) -> dict[str, Any]:
    """One rule surely leads to both services, so that there is something to split."""
    rules[0]["backendRefs"] = [
        {"name": "shop", "port": 80, "weight": draw(st.integers(1, 10_000))},
        {"name": "cart", "port": 81, "weight": draw(st.integers(1, 10_000))},
        *(ref for ref in rules[0]["backendRefs"] if ref["name"] not in ("shop", "cart")),
    ]
    return {"parentRefs": [{"name": "their-gateway"}], "hostnames": ["a.example"], "rules": rules}


def without(rules: list[dict[str, Any]], *services: str) -> list[Any]:
    """The rules less what a release may change: the weights, and the canaries' backends."""
    return [
        {
            **rule,
            "backendRefs": [
                {key: value for key, value in ref.items() if key != "weight"}
                for ref in rule.get("backendRefs", [])
                if ref["name"] not in {f"{name}-canary" for name in services}
            ],
        }
        for rule in rules
    ]


def shares(rule: dict[str, Any]) -> dict[str, float]:
    """Each Service's part of a rule's traffic."""
    refs = rule.get("backendRefs", [])
    total = sum(ref["weight"] for ref in refs)
    found: dict[str, float] = {}
    for ref in refs:
        found[ref["name"]] = found.get(ref["name"], 0.0) + ref["weight"] / (total or 1)
    return found


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(spec=http_specs(), percents=st.lists(st.integers(1, 100), min_size=1, max_size=3))
def test_after_deploy_shifts_and_retire_a_route_is_what_it_was(
    api: BareApi,
    cluster: KubernetesApi,
    routes: GatewayRoutes,
    spec: dict[str, Any],
    percents: list[int],
) -> None:
    stays_what_it_was(api, cluster, routes, "HTTPRoute", spec, percents)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(spec=grpc_specs(), percents=st.lists(st.integers(1, 100), min_size=1, max_size=3))
def test_after_deploy_shifts_and_retire_a_grpc_route_is_what_it_was(
    api: BareApi,
    cluster: KubernetesApi,
    routes: GatewayRoutes,
    spec: dict[str, Any],
    percents: list[int],
) -> None:
    stays_what_it_was(api, cluster, routes, "GRPCRoute", spec, percents)


def stays_what_it_was(
    api: BareApi,
    cluster: KubernetesApi,
    routes: GatewayRoutes,
    of_kind: Literal["HTTPRoute", "GRPCRoute"],
    spec: dict[str, Any],
    percents: list[int],
) -> None:
    name, kind = f"r-{uuid.uuid4().hex[:10]}", KINDS[of_kind]
    create(api, cluster, of_kind, name, spec)
    before = spec_of(cluster, kind, name)
    both = [service(each, RouteRef(kind=of_kind, name=name)) for each in ("shop", "cart")]
    routes.shift(both, 0, {"stage": "deploy", "weight": "0"})
    for percent in percents:
        routes.shift(both, percent, {"stage": "s", "weight": str(percent)})
        during = spec_of(cluster, kind, name)
        assert without(during["rules"], "shop", "cart") == without(before["rules"])
        assert [state.weight for state in routes.read(both)] == [percent, percent]
        for was, now in zip(before["rules"], during["rules"], strict=True):
            old, new = shares(was), shares(now)
            for each in ("shop", "cart"):
                if each in old:
                    part = new[f"{each}-canary"]
                    assert part == pytest.approx(old[each] * percent / 100)
                    assert new[each] == pytest.approx(old[each] * (100 - percent) / 100)
            for each in set(old) - {"shop", "cart"}:
                assert new[each] == pytest.approx(old[each])
    routes.shift(both, 0, {"stage": "off", "weight": "0"})
    routes.retire(both, {"stage": "done", "weight": "0"})
    assert spec_of(cluster, kind, name) == before
    assert cluster.get(kind, f"{name}-by-header") is None
    after = cluster.get(kind, name)
    assert after is not None
    assert after["metadata"]["labels"] == {"team": "theirs"}
    assert after["metadata"]["annotations"]["note"] == "ours"


def test_a_service_with_several_routes_of_several_kinds(
    api: BareApi, cluster: KubernetesApi, routes: GatewayRoutes
) -> None:
    rule = {"backendRefs": [{"name": "shop", "port": 80}, {"name": "other", "port": 80}]}
    create(api, cluster, "HTTPRoute", "public", {"rules": [rule]})
    create(
        api,
        cluster,
        "GRPCRoute",
        "internal",
        {
            "rules": [
                {"matches": [{"method": {"service": "shop.Cart"}}], **rule},
                {"backendRefs": [{"name": "shop", "port": 80}]},
            ]
        },
    )
    shop = service("shop", RouteRef(name="public"), RouteRef(kind="GRPCRoute", name="internal"))
    before = [spec_of(cluster, HTTP_ROUTE, "public"), spec_of(cluster, GRPC_ROUTE, "internal")]
    routes.shift([shop], 0, {"stage": "deploy", "weight": "0"})
    by_header = spec_of(cluster, GRPC_ROUTE, "internal-by-header")["rules"]
    assert [each["matches"][0]["headers"][0]["value"] for each in by_header] == ["always"] * 2
    assert by_header[0]["matches"][0]["method"]["service"] == "shop.Cart"
    routes.shift([shop], 20, {"stage": "s", "weight": "20"})
    assert routes.read([shop])[0].weight == 20
    assert [
        {ref["name"]: ref["weight"] for ref in each["backendRefs"]}
        for each in spec_of(cluster, GRPC_ROUTE, "internal")["rules"]
    ] == [{"shop": 80, "shop-canary": 20, "other": 100}, {"shop": 80, "shop-canary": 20}]
    routes.retire([shop], {"stage": "done", "weight": "0"})
    after = [spec_of(cluster, HTTP_ROUTE, "public"), spec_of(cluster, GRPC_ROUTE, "internal")]
    assert after == before


def test_only_the_named_rules_are_split(
    api: BareApi, cluster: KubernetesApi, routes: GatewayRoutes
) -> None:
    rules = [
        {"name": name, "backendRefs": [{"name": "shop", "port": 80}]} for name in ("web", "batch")
    ]
    create(api, cluster, "HTTPRoute", "scoped", {"rules": rules})
    shop = service("shop", RouteRef(name="scoped", rules=("web",)))
    routes.shift([shop], 10, {"stage": "s", "weight": "10"})
    web, batch = spec_of(cluster, HTTP_ROUTE, "scoped")["rules"]
    assert len(web["backendRefs"]) == 2
    assert len(batch["backendRefs"]) == 1
    unknown = service("shop", RouteRef(name="scoped", rules=("api",)))
    with pytest.raises(UsageError, match="named api"):
        routes.shift([unknown], 10, {"stage": "s"})


def test_a_header_name_with_capitals_does_not_count_as_traffic(
    api: BareApi, cluster: KubernetesApi, environment: Environment, routes: GatewayRoutes
) -> None:
    gateway = environment.gateway.model_copy(update={"canary_header": "X-Shop-Canary"})
    shouting = GatewayRoutes(cluster, gateway)
    create(
        api, cluster, "HTTPRoute", "r", {"rules": [{"backendRefs": [{"name": "shop", "port": 1}]}]}
    )
    shop = service("shop", RouteRef(name="r"))
    shouting.shift([shop], 0, {"stage": "deploy", "weight": "0"})
    assert shouting.read([shop])[0].weight == 0


def test_a_weight_that_cannot_be_split_is_refused_before_anything_is_written(
    api: BareApi, cluster: KubernetesApi, routes: GatewayRoutes
) -> None:
    refs = [{"name": "shop", "port": 80, "weight": 10_001}]
    create(api, cluster, "HTTPRoute", "heavy", {"rules": [{"backendRefs": refs}]})
    before = spec_of(cluster, HTTP_ROUTE, "heavy")
    with pytest.raises(UsageError, match="10001"):
        routes.shift([service("shop", RouteRef(name="heavy"))], 10, {"stage": "s"})
    assert spec_of(cluster, HTTP_ROUTE, "heavy") == before
