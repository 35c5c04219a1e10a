"""What preflight finds in routes on a real API server; routes across namespaces and of meshes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bare_api import BareApi
from test_kubernetes_routes_undamaged import create, service, spec_of

from tarsrelease.adapters.kubernetes.client import (
    GRPC_ROUTE,
    HTTP_ROUTE,
    REFERENCE_GRANT,
    SERVICE,
    KubernetesApi,
)
from tarsrelease.adapters.kubernetes.routes import GatewayRoutes
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.rollout import RouteRef

SHOP = [{"name": "shop", "port": 80}]


@pytest.fixture
def routes(cluster: KubernetesApi, environment: Environment) -> GatewayRoutes:
    cluster.create(SERVICE, {"metadata": {"name": "shop-canary"}, "spec": {"ports": [{"port": 1}]}})
    return GatewayRoutes(cluster, environment.gateway)


def found(routes: GatewayRoutes, *refs: RouteRef) -> tuple[str, ...]:
    [faults] = routes.faults([service("shop", *(refs or (RouteRef(name="shop"),)))])
    return faults.found


def test_what_fits_is_no_fault_and_nothing_is_written(
    api: BareApi, cluster: KubernetesApi, routes: GatewayRoutes
) -> None:
    rules = [
        {"matches": [{"path": {"value": f"/{n}/{m}"}} for m in range(8)], "backendRefs": SHOP}
        for n in range(16)
    ]
    create(api, cluster, "HTTPRoute", "shop", {"rules": rules})
    before = cluster.get(HTTP_ROUTE, "shop")
    assert found(routes) == ()
    assert cluster.get(HTTP_ROUTE, "shop") == before
    # As many rules and matches as the API allows are split and led by header.
    routes.shift([service("shop", RouteRef(name="shop"))], 10, {"weight": "10"})
    assert len(spec_of(cluster, HTTP_ROUTE, "shop-by-header")["rules"]) == 16


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            {"backendRefs": [*SHOP, *({"name": f"s{n}", "port": 80} for n in range(15))]},
            "would have 17 backends in one rule, and the Gateway API allows 16",
        ),
        (
            {
                "backendRefs": SHOP,
                "matches": [{"headers": [{"name": f"h{n}", "value": "x"} for n in range(16)]}],
            },
            "shop-by-header would have 17 headers in one match, and the Gateway API allows 16",
        ),
        ({"backendRefs": [{"name": "other", "port": 80}]}, "no rule leads to the Service shop"),
        ({"backendRefs": [{**SHOP[0], "weight": 20_000}]}, "a weight of 20000"),
        (
            {"backendRefs": [{**SHOP[0], "namespace": "elsewhere"}]},
            "no rule leads to the Service shop",
        ),
    ],
)
def test_what_the_api_would_refuse_is_found_before(
    api: BareApi,
    cluster: KubernetesApi,
    routes: GatewayRoutes,
    rule: dict[str, Any],
    message: str,
) -> None:
    create(api, cluster, "HTTPRoute", "shop", {"rules": [rule]})
    [fault] = found(routes)
    assert message in fault
    with pytest.raises(UsageError):
        routes.shift([service("shop", RouteRef(name="shop"))], 10, {"weight": "10"})


def test_a_created_route_has_the_apis_limits_too(routes: GatewayRoutes) -> None:
    several = [service(f"s{n}", RouteRef(name="all")) for n in range(17)]
    texts = {text for each in routes.faults(several) for text in each.found}
    assert any(
        "httproute/all would have 17 rules, and the Gateway API allows 16" in t for t in texts
    )
    with pytest.raises(UsageError):
        routes.shift(several, 0, {})


def test_an_older_route_of_the_same_requests_is_found(
    api: BareApi, cluster: KubernetesApi, routes: GatewayRoutes
) -> None:
    gateway: dict[str, Any] = {"parentRefs": [{"name": "g"}], "hostnames": ["shop.example"]}
    old = [{"matches": [{"path": {"value": "/"}}], "backendRefs": [{"name": "legacy", "port": 80}]}]
    create(api, cluster, "HTTPRoute", "a-legacy", {**gateway, "rules": old})
    other = [{"matches": [{"path": {"value": "/other"}}], "backendRefs": SHOP}]
    create(api, cluster, "HTTPRoute", "a-other", {**gateway, "rules": other})
    create(api, cluster, "HTTPRoute", "shop", {**gateway, "rules": [{"backendRefs": SHOP}]})
    [fault] = found(routes)
    assert (
        "httproute/a-legacy has the same host shop.example and match / as httproute/shop" in fault
    )
    assert "it is older" in fault
    # From the other side there is nothing to fear: the older route gets the requests.
    assert found(routes, RouteRef(name="a-other")) == ()
    # A route that is listed, too, is split with it.
    listed = [RouteRef(name="shop"), RouteRef(name="a-legacy", rules=("none",))]
    assert not any("is older" in text for text in found(routes, *listed))


def test_a_route_in_another_namespace_needs_a_grant_for_the_canary(
    api: BareApi, cluster: KubernetesApi, routes: GatewayRoutes
) -> None:
    front = f"{cluster.namespace}-front"
    api.kubectl("create", "namespace", front)
    there = cluster.elsewhere(front)
    backends = [{**SHOP[0], "namespace": cluster.namespace}, {"name": "shop", "port": 80}]
    create(api, there, "HTTPRoute", "shop", {"rules": [{"backendRefs": backends}]})
    before = spec_of(there, HTTP_ROUTE, "shop")
    ref = RouteRef(name="shop", namespace=front)
    shop = service("shop", ref)
    assert len(found(routes, ref)) == 2
    grant = {
        "metadata": {"name": "front"},
        "spec": {
            "from": [
                {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": front}
            ],
            "to": [{"group": "", "kind": "Service", "name": "shop"}],
        },
    }
    cluster.create(REFERENCE_GRANT, grant)
    [fault] = found(routes, ref)
    assert f"no ReferenceGrant in {cluster.namespace} lets httproute/shop in {front}" in fault
    assert "name: shop-canary}" in fault
    spec = {"to": [{"group": "", "kind": "Service"}]}
    cluster.merge(REFERENCE_GRANT, "front", {"spec": spec})
    assert found(routes, ref) == ()
    routes.shift([shop], 0, {"stage": "deploy", "weight": "0"})
    routes.shift([shop], 10, {"stage": "s", "weight": "10"})
    assert [
        (each["name"], each.get("namespace"), each["weight"])
        for each in spec_of(there, HTTP_ROUTE, "shop")["rules"][0]["backendRefs"]
    ] == [
        ("shop", cluster.namespace, 90),
        ("shop-canary", cluster.namespace, 10),
        ("shop", None, 100),
    ]
    by_header = spec_of(there, HTTP_ROUTE, "shop-by-header")["rules"][0]["backendRefs"]
    assert [each["namespace"] for each in by_header] == [cluster.namespace]
    assert routes.read([shop])[0].weight == 10
    routes.retire([shop], {"stage": "done", "weight": "0"})
    assert spec_of(there, HTTP_ROUTE, "shop") == before


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
def test_a_route_of_a_mesh_is_split_and_accepted_by_its_controller(
    api: BareApi, cluster: KubernetesApi, routes: GatewayRoutes, kind: str
) -> None:
    """GAMMA: the route's parent is the Service itself."""
    parent = {"group": "", "kind": "Service", "name": "shop", "port": 80}
    create(api, cluster, kind, "shop", {"parentRefs": [parent], "rules": [{"backendRefs": SHOP}]})
    api_kind = HTTP_ROUTE if kind == "HTTPRoute" else GRPC_ROUTE
    before = spec_of(cluster, api_kind, "shop")
    shop = service("shop", RouteRef(kind=kind, name="shop"))  # type: ignore[arg-type]
    assert found(routes, *shop.routes) == ()
    routes.shift([shop], 0, {"stage": "deploy", "weight": "0"})
    routes.shift([shop], 25, {"stage": "s", "weight": "25"})
    assert spec_of(cluster, api_kind, "shop-by-header")["parentRefs"] == [parent]
    [state] = routes.read([shop])
    assert (state.weight, state.problem) == (25, "no parent has taken it up")
    accepted(api, cluster, kind, parent)
    [state] = routes.read([shop])
    assert state.accepted, state.problem
    routes.retire([shop], {"stage": "done", "weight": "0"})
    assert spec_of(cluster, api_kind, "shop") == before


def accepted(api: BareApi, cluster: KubernetesApi, kind: str, parent: dict[str, Any]) -> None:
    """As a mesh's controller writes it."""
    where = ("--namespace", cluster.namespace)
    route = json.loads(api.kubectl("get", kind, "shop", *where, "--output", "json"))
    conditions = [
        {
            "type": name,
            "status": "True",
            "reason": name,
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": route["metadata"]["generation"],
        }
        for name in ("Accepted", "ResolvedRefs")
    ]
    status = {
        "parents": [
            {"parentRef": parent, "controllerName": "mesh.example/x", "conditions": conditions}
        ]
    }
    api.kubectl(
        *("patch", kind, "shop", *where, "--subresource=status", "--type=merge"),
        *("--patch", json.dumps({"status": status})),
    )
