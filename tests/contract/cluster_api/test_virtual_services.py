"""Istio's VirtualServices behind the port `Routes`, on an API server with Istio's definition."""

from __future__ import annotations

import json
import uuid
from time import monotonic, sleep
from typing import Any

import pytest
from bare_api import BareApi
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from istio_crds import virtual_service_crd

from tarsrelease.adapters.kubernetes.all_routes import AllRoutes
from tarsrelease.adapters.kubernetes.client import (
    HTTP_ROUTE,
    SERVICE,
    VIRTUAL_SERVICE,
    KubernetesApi,
)
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.rollout import RouteRef, Service

HEADER = {"x-tars-canary": {"exact": "always"}}


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


def istio(name: str, **more: Any) -> RouteRef:
    return RouteRef(kind="VirtualService", name=name, **more)


@pytest.fixture(scope="session")
def defined(api: BareApi) -> None:
    api.kubectl("apply", "--server-side", "--filename", "-", stdin=virtual_service_crd())
    name = "crd/virtualservices.networking.istio.io"
    conditions = ("get", name, "--output", "jsonpath={.status.conditions}")
    deadline = monotonic() + 30  # `kubectl wait` fails while there are no conditions
    while not api.kubectl(*conditions).strip("[]") and monotonic() < deadline:
        sleep(0.1)
    api.kubectl("wait", "--for=condition=Established", "--timeout=30s", name)


@pytest.fixture
def routes(defined: None, cluster: KubernetesApi, environment: Environment) -> AllRoutes:
    for name in ("shop-canary", "cart-canary"):
        cluster.create(SERVICE, {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}})
    return AllRoutes(cluster, environment.gateway)


def create(api: BareApi, cluster: KubernetesApi, name: str, http: list[dict[str, Any]]) -> None:
    body = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "labels": {"team": "theirs"}},
        "spec": {"hosts": ["shop.example"], "gateways": ["their/gateway"], "http": http},
    }
    api.kubectl(
        *("create", "--namespace", cluster.namespace, "--filename", "-"), stdin=json.dumps(body)
    )


def spec_of(cluster: KubernetesApi, name: str) -> dict[str, Any]:
    found = cluster.get(VIRTUAL_SERVICE, name)
    assert found is not None
    return dict(found["spec"])


def to(host: str, weight: int | None = None, **target: Any) -> dict[str, Any]:
    given = {} if weight is None else {"weight": weight}
    return {"destination": {"host": host, **target}, **given}


weights = st.integers(min_value=1, max_value=1000)


@st.composite
def specs(draw: st.DrawFn, namespace: str = "NAMESPACE") -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 12))):
        hosts = draw(st.lists(st.sampled_from(HOSTS), min_size=1, max_size=4, unique=True))
        one = len(hosts) == 1
        rule: dict[str, Any] = {
            "route": [
                {
                    **to(host, draw(st.none() | st.integers(2, 1000)) if one else draw(weights)),
                    **(
                        {"headers": {"request": {"set": {"x": "y"}}}} if draw(st.booleans()) else {}
                    ),
                }
                for host in hosts
            ]
        }
        if draw(st.booleans()):
            rule |= {"name": f"r{number}", "timeout": "5s", "retries": {"attempts": 2}}
        if draw(st.booleans()):
            rule["match"] = [{"uri": {"prefix": f"/{number}"}}, {"headers": {"a": {"exact": "b"}}}]
        rules.append(rule)
    rules.append({"match": [{"uri": {"exact": "/old"}}], "redirect": {"uri": "/new"}})
    rules.append({"route": [to("shop", draw(weights)), to("cart", draw(weights))]})
    return rules


HOSTS = [
    "shop",
    "cart.NAMESPACE.svc.cluster.local",
    "shop.elsewhere.svc.cluster.local",
    "shop.example.com",
    "other",
]


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(http=specs(), percents=st.lists(st.integers(1, 100), min_size=1, max_size=3))
def test_after_deploy_shifts_and_retire_a_virtual_service_is_what_it_was(
    api: BareApi,
    cluster: KubernetesApi,
    routes: AllRoutes,
    http: list[dict[str, Any]],
    percents: list[int],
) -> None:
    name = f"r-{uuid.uuid4().hex[:10]}"
    here = json.loads(json.dumps(http).replace("NAMESPACE", cluster.namespace))
    create(api, cluster, name, here)
    before = spec_of(cluster, name)
    both = [service(each, istio(name)) for each in ("shop", "cart")]
    routes.shift(both, 0, {"stage": "deploy", "weight": "0"})
    for percent in percents:
        routes.shift(both, percent, {"stage": "s", "weight": str(percent)})
        during = spec_of(cluster, name)["http"]
        assert [state.weight for state in routes.read(both)] == [percent, percent]
        owners = [each for each in during if "by-header" not in each.get("name", "")]
        for was, now in zip(before["http"], owners, strict=True):
            assert {k: v for k, v in was.items() if k != "route"} == {
                k: v for k, v in now.items() if k != "route"
            }
            old, new = shares(was), shares(now)
            for host, share in old.items():
                canary = host.replace("shop", "shop-canary", 1).replace("cart", "cart-canary", 1)
                if host in ("shop", f"cart.{cluster.namespace}.svc.cluster.local"):
                    assert new[canary] == pytest.approx(share * percent / 100)
                    assert new[host] == pytest.approx(share * (100 - percent) / 100)
                elif host == "cart":
                    assert new["cart-canary"] == pytest.approx(share * percent / 100)
                else:
                    assert new[host] == pytest.approx(share)
                    assert canary == host or canary not in new
        for position, each in enumerate(during):
            if "by-header" in each.get("name", ""):
                assert all(match["headers"]["x-tars-canary"] for match in each["match"])
                assert all("-canary" in d["destination"]["host"] for d in each["route"])
                assert "by-header" not in during[position + 1].get("name", "")
    routes.shift(both, 0, {"stage": "off", "weight": "0"})
    routes.retire(both, {"stage": "done", "weight": "0"})
    assert spec_of(cluster, name) == before
    after = cluster.get(VIRTUAL_SERVICE, name)
    assert after is not None
    assert after["metadata"]["labels"] == {"team": "theirs"}


def shares(rule: dict[str, Any]) -> dict[str, float]:
    """Each host's part of a rule's traffic, as Istio distributes it."""
    destinations = rule.get("route", [])
    default = 1 if len(destinations) == 1 else 0
    parts = {d["destination"]["host"]: d.get("weight", default) for d in destinations}
    total = sum(parts.values()) or 1
    return {host: weight / total for host, weight in parts.items()}


def test_the_header_rule_stands_before_its_rule_and_leaves_subsets_out(
    api: BareApi, cluster: KubernetesApi, routes: AllRoutes
) -> None:
    rule = {"match": [{"uri": {"prefix": "/api"}}], "route": [to("shop", subset="v1")]}
    create(api, cluster, "shop", [rule, {"route": [to("other")]}])
    shop = service("shop", istio("shop"))
    routes.shift([shop], 10, {"stage": "s", "weight": "10"})
    by_header, split, rest = spec_of(cluster, "shop")["http"]
    assert by_header["match"] == [{"uri": {"prefix": "/api"}, "headers": HEADER}]
    assert by_header["route"] == [to("shop-canary")]
    assert split["route"] == [to("shop", 90, subset="v1"), to("shop-canary", 10)]
    assert rest == {"route": [to("other")]}
    routes.annotate([shop], {"traffic-until": "2026-01-01T00:00:00Z"})
    [state] = routes.read([shop])
    assert (state.weight, state.accepted) == (10, True)
    assert state.traffic_until is not None
    # One write for weights and annotations.
    before = cluster.get(VIRTUAL_SERVICE, "shop")
    routes.shift([shop], 20, {"stage": "t", "weight": "20"})
    after = cluster.get(VIRTUAL_SERVICE, "shop")
    assert before is not None
    assert after is not None
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1


def test_only_the_named_rules_of_a_virtual_service_are_split(
    api: BareApi, cluster: KubernetesApi, routes: AllRoutes
) -> None:
    http = [
        {"name": name, "match": [{"uri": {"prefix": f"/{name}"}}], "route": [to("shop")]}
        for name in ("web", "batch")
    ]
    create(api, cluster, "shop", http)
    routes.shift([service("shop", istio("shop", rules=("batch",)))], 10, {"stage": "s"})
    names = [each.get("name") for each in spec_of(cluster, "shop")["http"]]
    assert names == ["web", "tarsrelease-by-header-0", "batch"]


def test_a_service_may_have_an_http_route_and_a_virtual_service(
    api: BareApi, cluster: KubernetesApi, routes: AllRoutes
) -> None:
    create(api, cluster, "mesh", [{"route": [to("shop")]}])
    body = {"metadata": {"name": "public"}, "spec": {"rules": [{"backendRefs": BACKEND}]}}
    cluster.create(HTTP_ROUTE, body)
    shop = service("shop", RouteRef(name="public"), istio("mesh"))
    routes.shift([shop], 30, {"stage": "s", "weight": "30"})
    [state] = routes.read([shop])
    assert (state.weight, state.stage) == (30, "s")
    assert shares(spec_of(cluster, "mesh")["http"][1])["shop-canary"] == pytest.approx(0.3)
    routes.retire([shop], {"stage": "done", "weight": "0"})
    assert spec_of(cluster, "mesh")["http"] == [{"route": [to("shop")]}]


BACKEND = [{"name": "shop", "port": 80}]


def test_what_istio_finds_wrong_is_a_problem_of_the_route(
    api: BareApi, cluster: KubernetesApi, routes: AllRoutes
) -> None:
    create(api, cluster, "shop", [{"route": [to("shop")]}])
    message = {"type": {"code": "IST0101", "name": "ReferencedResourceNotFound"}, "level": "ERROR"}
    api.kubectl(
        *("patch", "virtualservice", "shop", "--namespace", cluster.namespace),
        *("--subresource=status", "--type=merge"),
        *("--patch", json.dumps({"status": {"validationMessages": [message]}})),
    )
    [state] = routes.read([service("shop", istio("shop"))])
    assert not state.accepted
    assert state.problem == "Istio reports IST0101 ReferencedResourceNotFound"


def test_a_virtual_service_that_is_missing_or_leads_elsewhere_is_found_before_a_release(
    api: BareApi, cluster: KubernetesApi, routes: AllRoutes
) -> None:
    shop = service("shop", istio("shop"))
    [fault] = routes.faults([shop])
    assert "there is no virtualservice/shop" in fault.found[0]
    with pytest.raises(UsageError, match="no virtualservice/shop"):
        routes.shift([shop], 0, {})
    create(api, cluster, "shop", [{"route": [to("shop.elsewhere")]}])
    [fault] = routes.faults([shop])
    assert "no rule leads to the Service shop" in fault.found[0]
    assert routes.read([shop])[0].weight == 0
