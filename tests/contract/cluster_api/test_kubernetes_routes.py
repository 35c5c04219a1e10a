"""HTTPRoutes on a real API server: one write a route, adoption, and who else may own one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bare_api import BareApi

from tarsrelease.adapters.kubernetes.client import HTTP_ROUTE, SERVICE, KubernetesApi
from tarsrelease.adapters.kubernetes.routes import GatewayRoutes
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.release import Release

NOTES = {
    "stage": "canary-10",
    "run": "r1",
    "release": "1.0.1",
    "shifted-at": "2026-01-01T00:00:00Z",
}


@pytest.fixture
def routes(cluster: KubernetesApi, environment: Environment) -> GatewayRoutes:
    return GatewayRoutes(cluster, environment.gateway)


def standing(cluster: KubernetesApi, name: str) -> dict[str, Any]:
    found = cluster.get(HTTP_ROUTE, name)
    assert found is not None
    return found


def weights(route: dict[str, Any]) -> list[dict[str, int]]:
    return [
        {backend["name"]: backend["weight"] for backend in rule["backendRefs"]}
        for rule in route["spec"]["rules"]
    ]


def canary_service(cluster: KubernetesApi, name: str) -> None:
    cluster.create(SERVICE, {"metadata": {"name": name}, "spec": {"ports": [{"port": 8080}]}})


def test_weights_and_annotations_come_in_one_write(
    cluster: KubernetesApi, routes: GatewayRoutes, release: Release
) -> None:
    service = release.rollout.services[0]
    routes.shift([service], 0, {"release": "1.0.1"})
    before = standing(cluster, service.route)["metadata"]["generation"]
    routes.shift([service], 10, NOTES)
    route = standing(cluster, service.route)
    assert route["metadata"]["generation"] == before + 1
    assert weights(route) == [{service.stable.service: 90, service.canary.service: 10}]
    by_header = standing(cluster, f"{service.route}-by-header")
    assert weights(by_header) == [{service.canary.service: 1}]
    headers = by_header["spec"]["rules"][0]["matches"][0]["headers"]
    assert headers == [{"name": "x-tars-canary", "type": "Exact", "value": "always"}]
    state = routes.read([service])[0]
    assert (state.weight, state.stage, state.run, state.release) == (10, "canary-10", "r1", "1.0.1")
    assert state.traffic_until is None
    assert state.managers == ()
    assert not state.accepted  # there is no gateway on this server


def test_weight_0_names_the_canary_only_where_it_is(
    cluster: KubernetesApi, routes: GatewayRoutes, release: Release
) -> None:
    service = release.rollout.services[0]
    routes.shift([service], 0, NOTES)
    assert weights(standing(cluster, service.route)) == [{service.stable.service: 100}]
    canary_service(cluster, service.canary.service)
    routes.shift([service], 0, NOTES)
    assert weights(standing(cluster, service.route)) == [
        {service.stable.service: 100, service.canary.service: 0}
    ]
    routes.retire([service], NOTES)
    assert cluster.get(HTTP_ROUTE, f"{service.route}-by-header") is None
    assert weights(standing(cluster, service.route)) == [{service.stable.service: 100}]


def test_extending_a_loan_changes_no_weight_and_a_later_write_ends_it(
    cluster: KubernetesApi, routes: GatewayRoutes, release: Release
) -> None:
    service = release.rollout.services[0]
    routes.shift([service], 25, {**NOTES, "traffic-until": "2026-01-01T00:01:00Z"})
    before = standing(cluster, service.route)
    routes.annotate([service], {"traffic-until": "2026-01-01T00:02:00Z"})
    after = standing(cluster, service.route)
    assert after["spec"] == before["spec"]
    state = routes.read([service])[0]
    assert state.traffic_until is not None
    assert state.traffic_until.minute == 2
    assert state.stage == "canary-10"
    routes.shift([service], 0, NOTES)
    assert routes.read([service])[0].traffic_until is None


FOREIGN = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: NAME}
spec:
  parentRefs: [{name: their-gateway}]
  hostnames: [their.example]
  rules:
    - matches: [{path: {type: Exact, value: /old}}]
      filters:
        - type: RequestRedirect
          requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /new}}
    - matches: [{path: {type: PathPrefix, value: /}, headers: [{name: x-team, value: blue}]}]
      filters:
        - type: RequestHeaderModifier
          requestHeaderModifier: {set: [{name: x-a, value: b}]}
      timeouts: {request: 5s}
      backendRefs: [{name: STABLE, port: 8080}]
"""


def test_an_existing_route_is_adopted_with_its_filters_and_matches(
    api: BareApi, cluster: KubernetesApi, routes: GatewayRoutes, release: Release
) -> None:
    service = release.rollout.services[0]
    text = FOREIGN.replace("NAME", service.route).replace("STABLE", service.stable.service)
    api.kubectl("apply", "--namespace", cluster.namespace, "--filename", "-", stdin=text)
    for weight in (10, 50):  # adopting, and then writing what was adopted
        routes.shift([service], weight, NOTES)
        route = standing(cluster, service.route)
        assert route["spec"]["hostnames"] == ["their.example"]
        assert route["spec"]["parentRefs"][0]["name"] == "their-gateway"
        redirect, divided = route["spec"]["rules"]
        by_header = standing(cluster, f"{service.route}-by-header")["spec"]["rules"][0]
        assert by_header["filters"] == divided["filters"]
        assert redirect["filters"][0]["type"] == "RequestRedirect"
        assert by_header["matches"][0]["headers"] == [
            {"name": "x-team", "type": "Exact", "value": "blue"},
            {"name": "x-tars-canary", "type": "Exact", "value": "always"},
        ]
        assert divided["timeouts"] == {"request": "5s"}
        assert divided["filters"][0]["type"] == "RequestHeaderModifier"
        assert divided["matches"][0]["headers"] == [
            {"name": "x-team", "type": "Exact", "value": "blue"}
        ]
        assert [backend["weight"] for backend in divided["backendRefs"]] == [100 - weight, weight]
    routes.retire([service], NOTES)
    assert len(standing(cluster, service.route)["spec"]["rules"]) == 2


def test_a_route_that_leads_elsewhere_is_not_adopted(
    api: BareApi, cluster: KubernetesApi, routes: GatewayRoutes, release: Release
) -> None:
    service = release.rollout.services[0]
    text = FOREIGN.replace("NAME", service.route).replace("STABLE", "somebody-elses")
    api.kubectl("apply", "--namespace", cluster.namespace, "--filename", "-", stdin=text)
    with pytest.raises(UsageError) as refused:
        routes.shift([service], 10, NOTES)
    assert service.stable.service in refused.value.detail.found


@pytest.mark.parametrize(
    ("metadata", "manager", "name"),
    [
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "kubectl", "Helm"),
        ({}, "helm", "Helm"),
        ({}, "argocd-controller", "Argo CD"),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "a:b"}}, "kubectl", "Argo CD"),
        ({}, "kustomize-controller", "Flux"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, "kubectl", "Flux"),
    ],
)
def test_a_route_of_a_delivery_controller_is_refused_with_the_remedy(
    api: BareApi,
    cluster: KubernetesApi,
    routes: GatewayRoutes,
    release: Release,
    metadata: dict[str, Any],
    manager: str,
    name: str,
) -> None:
    service = release.rollout.services[0]
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": service.route, **metadata},
        "spec": {"rules": [{"backendRefs": [{"name": service.stable.service, "port": 8080}]}]},
    }
    api.kubectl(
        *("apply", "--server-side", "--field-manager", manager),
        *("--namespace", cluster.namespace, "--filename", "-"),
        stdin=json.dumps(body),
    )
    for write in (routes.shift, lambda s, _, a: routes.retire(s, a)):
        with pytest.raises(UsageError) as refused:
            write([service], 10, NOTES)
        assert refused.value.detail.found.startswith(f"{name} manages it")
        assert refused.value.detail.next
    assert weights(standing(cluster, service.route)) == [{service.stable.service: 1}]


def test_weights_that_somebody_changed_by_hand_are_put_right(
    api: BareApi, cluster: KubernetesApi, routes: GatewayRoutes, release: Release
) -> None:
    service = release.rollout.services[0]
    routes.shift([service], 10, NOTES)
    patch = [{"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 99}]
    api.kubectl(
        *("patch", "httproute", service.route, "--namespace", cluster.namespace),
        *("--type", "json", "--patch", json.dumps(patch)),
    )
    found = routes.read([service])[0]
    assert found.weight == 52  # 99 of 189
    assert found.managers == ("kubectl-patch",)
    routes.shift([service], 0, NOTES)
    assert routes.read([service])[0].weight == 0


def test_one_route_that_cannot_be_written_does_not_keep_the_others_from_it(
    api: BareApi, cluster: KubernetesApi, routes: GatewayRoutes, release: Release
) -> None:
    first, *others = release.rollout.services
    text = FOREIGN.replace("NAME", first.route).replace("STABLE", "somebody-elses")
    api.kubectl("apply", "--namespace", cluster.namespace, "--filename", "-", stdin=text)
    with pytest.raises(UsageError):
        routes.shift(release.rollout.services, 10, NOTES)
    assert [state.weight for state in routes.read(others)] == [10] * len(others)
