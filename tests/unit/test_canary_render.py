"""What may stand beside stable, and what the chart's values can switch off."""

from __future__ import annotations

from typing import Any

import pytest

from tarsrelease.bundle.rendered_images import unverified_images
from tarsrelease.model.bundle import Image
from tarsrelease.rollout.canary_objects import (
    crossed_selectors,
    must_exist_once,
    switched_off,
    switches,
)

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def thing(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name}} | more


ROUTING = ("Ingress", "GRPCRoute", "TCPRoute", "VirtualService", "IngressRoute", "HTTPProxy")
STABLE = [thing("Deployment", "app"), thing("ClusterRole", "shared")]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (thing("CronJob", "app-canary-nightly"), "run twice"),
        (thing("StatefulSet", "app-canary-db"), "storage"),
        (thing("PersistentVolumeClaim", "app-canary-data"), "storage"),
        (thing("HTTPRoute", "app-canary"), "routes"),
        *((thing(kind, "app-canary"), "around the weights") for kind in ROUTING),
        (thing("Service", "public", spec={"type": "LoadBalancer"}), "type LoadBalancer"),
        (thing("Service", "public", spec={"type": "NodePort"}), "type NodePort"),
        (thing("Service", "public", spec={"externalIPs": ["192.0.2.1"]}), "externalIPs"),
        (thing("Job", "seed"), "a second time"),
        (thing("DaemonSet", "agent"), "every node"),
        (
            thing("ScaledObject", "app", spec={"scaleTargetRef": {"name": "app"}}),
            "scale stable's app",
        ),
        (
            thing(
                "VerticalPodAutoscaler",
                "app",
                spec={"targetRef": {"kind": "Deployment", "name": "app"}},
            ),
            "scale stable's app",
        ),
        (thing("Deployment", "app"), "stable has an object"),
        (thing("ClusterRole", "shared"), "stable has an object"),
        (
            thing(
                "HorizontalPodAutoscaler",
                "app-canary",
                spec={"scaleTargetRef": {"kind": "Deployment", "name": "app"}},
            ),
            "scale stable's app",
        ),
        (
            {
                "kind": "Job",
                "metadata": {"name": "m", "annotations": {"helm.sh/hook": "pre-install"}},
            },
            "pre-install hook",
        ),
    ],
)
def test_refused(found: dict[str, Any], why: str) -> None:
    refused = must_exist_once([thing("Deployment", "app-canary"), found], STABLE)
    assert list(refused) == [f"{found['kind']}/{found['metadata']['name']}"]
    assert why in next(iter(refused.values()))


def test_a_canary_of_its_own_is_let_in() -> None:
    own = thing(
        "HorizontalPodAutoscaler",
        "app-canary",
        spec={"scaleTargetRef": {"kind": "Deployment", "name": "app-canary"}},
    )
    test_hook = {
        "kind": "Pod",
        "metadata": {"name": "app-canary-test", "annotations": {"helm.sh/hook": "test"}},
    }
    canary = [thing("Deployment", "app-canary"), thing("Service", "app-canary"), own, test_hook]
    assert must_exist_once(canary, STABLE) == {}


def pods(name: str, **labels: str) -> dict[str, Any]:
    return thing("Deployment", name, spec={"template": {"metadata": {"labels": labels}}})


def selecting(name: str, **selector: str) -> dict[str, Any]:
    return thing("Service", name, spec={"selector": selector})


@pytest.mark.parametrize(
    ("canary", "stable", "found"),
    [
        (
            [pods("app-canary", app="shop")],
            [pods("app", app="shop"), selecting("app", app="shop")],
            ["stable's Service/app selects the pods of canary's Deployment/app-canary"],
        ),
        (
            [pods("app-canary", app="shop", instance="c"), selecting("app-canary", app="shop")],
            [pods("app", app="shop", instance="s"), selecting("app", instance="s")],
            ["canary's Service/app-canary selects the pods of stable's Deployment/app"],
        ),
        (
            [pods("app-canary", app="shop", instance="c"), selecting("app-canary", instance="c")],
            [pods("app", app="shop", instance="s"), selecting("app", app="shop", instance="s")],
            [],
        ),
        ([pods("app-canary", app="shop")], [selecting("external")], []),
    ],
)
def test_a_service_selects_the_pods_of_its_own_side(
    canary: list[dict[str, Any]], stable: list[dict[str, Any]], found: list[str]
) -> None:
    assert crossed_selectors(canary, stable) == found


def test_switches_are_found_and_turned() -> None:
    values = {"a": {"enabled": True, "deep": {"on": True, "n": 1}}, "b": False, "c": True}
    assert set(switches(values)) == {("c",), ("a", "enabled"), ("a", "deep", "on")}
    assert switched_off(("a", "deep", "on")) == {"a": {"deep": {"on": False}}}


@pytest.mark.parametrize(
    ("reference", "verified"),
    [
        (f"registry:5000/org/app:v1@{DIGEST}", True),
        (f"registry:5000/org/app@{DIGEST}", True),
        (f"registry:5000/org/app:v1@{OTHER}", False),
        ("registry:5000/org/app:v1", False),
        ("registry:5000/org/app", False),
        ("docker.io/library/sidecar:1", False),
    ],
)
def test_only_what_the_bundle_pins_may_run(reference: str, verified: bool) -> None:
    image = Image(service="app", name="registry:5000/org/app", tag="v1", digest=DIGEST)
    pods = {"template": {"spec": {"initContainers": [{"image": reference}]}}}
    found = unverified_images([thing("Deployment", "app", spec=pods)], [image])
    assert found == ([] if verified else [f"Deployment/app: {reference}"])
