"""Deployments and the pods behind Services, as the API server says them."""

from __future__ import annotations

import json
from typing import Any

from bare_api import BareApi

from tarsrelease.adapters.kubernetes.client import (
    DEPLOYMENT,
    ENDPOINT_SLICE,
    SERVICE,
    KubernetesApi,
)
from tarsrelease.adapters.kubernetes.workloads import KubernetesWorkloads
from tarsrelease.model.release import Release


def _slice(name: str, *endpoints: dict[str, Any], family: str = "IPv4") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": family,
        "ports": [{"port": 8080}],
        "endpoints": list(endpoints),
    }


def _endpoint(address: str, pod: str | None, **conditions: bool) -> dict[str, Any]:
    target = {"targetRef": {"kind": "Pod", "name": pod}} if pod else {}
    return {"addresses": [address], "conditions": conditions, **target}


def test_ready_endpoints_of_all_slices_of_a_service(
    cluster: KubernetesApi, release: Release
) -> None:
    for name, selector in (("web", {"app": "web"}), ("empty", {"app": "none"}), ("outside", {})):
        spec = {"ports": [{"port": 80}], **({"selector": selector} if selector else {})}
        cluster.create(SERVICE, {"metadata": {"name": name}, "spec": spec})
    first = _slice(
        "web-1",
        _endpoint("10.0.0.1", "ready", ready=True),
        _endpoint("10.0.0.2", "unsaid"),
        _endpoint("10.0.0.3", "starting", ready=False),
        _endpoint("10.0.0.4", "ending", ready=False, serving=True, terminating=True),
    )
    second = _slice(
        "web-2",
        _endpoint("fd00::1", "ready", ready=True),
        _endpoint("fd00::5", "second", ready=True),
        _endpoint("fd00::6", None, ready=True),
        family="IPv6",
    )
    for each in (first, second):
        cluster.create(ENDPOINT_SLICE, each)
    behind = KubernetesWorkloads(cluster, release.rollout).pods_behind()
    assert behind == {"web": {"ready", "unsaid", "second"}, "empty": set()}


def _deployment(replicas: int) -> dict[str, Any]:
    labels = {"app": "web"}
    pods = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "web", "image": "web:1.0.1"}]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pods}
    return {"metadata": {"name": "web"}, "spec": spec}


def test_who_scaled_a_deployment(api: BareApi, cluster: KubernetesApi, release: Release) -> None:
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", **_deployment(2)}
    space = ("--namespace", cluster.namespace)
    apply = ("apply", *space, "--server-side", "--field-manager", "helm", "--filename", "-")
    api.kubectl(*apply, stdin=json.dumps(manifest))
    workloads = KubernetesWorkloads(cluster, release.rollout)
    [state] = workloads.deployments()
    assert (state.changed_by, state.template_by) == ("helm", "helm")
    api.kubectl("scale", *space, "deployment", "web", "--replicas", "1")
    [state] = workloads.deployments()
    assert (state.changed_by, state.template_by) == ("kubectl", "helm")


def test_a_deployment_with_a_pod_of_its_former_spec_is_not_complete(
    api: BareApi, cluster: KubernetesApi, release: Release
) -> None:
    """One replica: the old pod is ready until the new one is, which is counted from its start."""
    cluster.create(DEPLOYMENT, _deployment(1))
    status = {"observedGeneration": 1, "updatedReplicas": 1}
    status |= {"readyReplicas": 1, "availableReplicas": 1}
    workloads = KubernetesWorkloads(cluster, release.rollout)
    for total, complete in ((2, False), (1, True)):
        patch = json.dumps({"status": {**status, "replicas": total}})
        space = ("--namespace", cluster.namespace, "--subresource", "status")
        api.kubectl("patch", "deployment", "web", *space, "--type", "merge", "--patch", patch)
        [state] = workloads.deployments()
        assert state.complete is complete
