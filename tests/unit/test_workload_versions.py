"""The version that a Deployment and its pods run, from what charts really write."""

from __future__ import annotations

from typing import Any

import pytest
from test_gates_attribution import rollout

from tarsrelease.adapters.kubernetes.client import DEPLOYMENT, Kind
from tarsrelease.adapters.kubernetes.workloads import KubernetesWorkloads, version_in_image

IMAGE = "ghcr.io/shop/shop:1.0.1"
DIGEST = "ghcr.io/shop/shop@sha256:" + "a" * 64
SIDECAR = "docker.io/istio/proxyv2:1.30.0"


class Objects:
    """What the API server lists."""

    def __init__(self, deployment: dict[str, Any], pod: dict[str, Any]) -> None:
        self.found = {"deployment": [deployment], "pod": [pod]}

    def select(self, kind: Kind, selector: str | None = None) -> list[dict[str, Any]]:
        return self.found["deployment" if kind is DEPLOYMENT else "pod"]


def containers(*images: str) -> list[dict[str, str]]:
    return [{"name": f"c{n}", "image": image} for n, image in enumerate(images)]


def versions(
    *images: str,
    pod_images: tuple[str, ...] = (),
    labels: dict[str, str] | None = None,
    pod_labels: dict[str, str] | None = None,
) -> tuple[str, str]:
    """The version of the Deployment, and of its pod."""
    template = {
        "metadata": {"labels": pod_labels or {}},
        "spec": {"containers": containers(*images)},
    }
    deployment = {
        "metadata": {"name": "shop-canary", "labels": labels or {}},
        "spec": {"template": template},
    }
    pod = {
        "metadata": {
            "name": "shop-canary-6bb5f4-x2x9q",
            "labels": {"pod-template-hash": "6bb5f4", **(pod_labels or {})},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "shop-canary-6bb5f4"}],
        },
        "spec": {"containers": containers(*(pod_images or images))},
        "status": {"podIP": "10.1.0.2"},
    }
    workloads = KubernetesWorkloads(Objects(deployment, pod), rollout())  # type: ignore[arg-type]
    [state], [seen] = workloads.deployments(), workloads.pods()
    assert seen.address == "10.1.0.2"
    return state.version, seen.version


def test_the_label_of_the_pods_comes_first() -> None:
    assert versions(IMAGE, pod_labels={"version": "1.0.2"}) == ("1.0.2", "1.0.2")


def test_the_tag_of_the_image_tells_the_version() -> None:
    assert versions(IMAGE) == ("1.0.1", "1.0.1")


def test_the_label_of_the_deployment_tells_it_for_a_digest() -> None:
    own = {"app.kubernetes.io/version": "1.0.1"}
    assert versions(DIGEST, labels=own) == ("1.0.1", "1.0.1")
    assert versions(DIGEST, labels={"helm.sh/chart": "shop-1.0.1"}) == ("1.0.1", "1.0.1")


def test_an_injected_sidecar_does_not_tell_the_version() -> None:
    assert versions(IMAGE, pod_images=(SIDECAR, IMAGE)) == ("1.0.1", "1.0.1")
    before = IMAGE.replace("1.0.1", "1.0.0")
    assert versions(IMAGE, pod_images=(SIDECAR, before)) == ("1.0.1", "1.0.0")


def test_nothing_is_guessed() -> None:
    assert versions(DIGEST) == ("", "")


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("shop:v1.2.3", "1.2.3"),
        ("registry:5000/shop:1.2.3-rc.1", "1.2.3-rc.1"),
        ("registry:5000/shop", ""),
        ("shop:latest", ""),
        ("shop:1.2.3@sha256:" + "b" * 64, "1.2.3"),
    ],
)
def test_versions_in_tags(image: str, version: str) -> None:
    assert version_in_image(image) == version


def settings(**container: Any) -> str:
    """The digest of a Deployment whose container has these fields."""
    template = {"spec": {"containers": [{"name": "shop", "image": IMAGE} | container]}}
    deployment = {"metadata": {"name": "shop-canary"}, "spec": {"template": template}}
    workloads = KubernetesWorkloads(Objects(deployment, {}), rollout())  # type: ignore[arg-type]
    [state] = workloads.deployments()
    return state.settings


def test_the_digest_of_the_settings_is_that_of_what_people_set() -> None:
    assert settings() == settings(image=DIGEST, imagePullPolicy="Always")
    changed = [
        settings(env=[{"name": "LEVEL", "value": "debug"}]),
        settings(env=[{"name": "LEVEL", "value": "info"}]),
        settings(envFrom=[{"secretRef": {"name": "shop"}}]),
        settings(args=["--fast"]),
        settings(command=["sleep"]),
        settings(resources={"limits": {"memory": "64Mi"}}),
    ]
    assert len({settings(), *changed}) == 7
