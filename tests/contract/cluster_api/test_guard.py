"""The guard on a real API server, with nothing but the rights of rbac/guard.yaml."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from bare_api import BareApi

from tarsrelease.adapters.helm.releases import Helm
from tarsrelease.adapters.kubernetes.client import HTTP_ROUTE, SERVICE, KubernetesApi
from tarsrelease.adapters.kubernetes.routes import GatewayRoutes
from tarsrelease.model.environment import Environment
from tarsrelease.model.release import Release
from tarsrelease.operations.traffic import timestamp

ROOT = Path(__file__).parents[3]
MANIFEST = ROOT / "rbac" / "guard.yaml"
_AFTER = 3


@pytest.fixture
def routes(cluster: KubernetesApi, environment: Environment, release: Release) -> GatewayRoutes:
    """The routes at 10 %, and stable's Deployments."""
    chart = str(Path(release.directory).parent / "v1_0_0" / "tars-1.0.0.tgz")
    helm = Helm("bare", cluster.namespace)
    helm.upgrade("tars", chart, [], values_from=None, deadline=60, wait=False)
    for service in release.rollout.services:
        name = service.canary.service
        cluster.create(SERVICE, {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}})
    return GatewayRoutes(cluster, environment.gateway)


@contextmanager
def guarding(api: BareApi, cluster: KubernetesApi, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`tarsrelease guard` as the ServiceAccount of the manifest."""
    space = ("--namespace", cluster.namespace)
    api.kubectl("apply", *space, "--filename", str(MANIFEST))
    token = api.kubectl("create", "token", "tarsrelease-guard", *space).strip()
    place = yaml.safe_load((ROOT / "environments" / "rehearsal.yaml").read_text())
    place["kubernetes"] |= {"context": "bare", "namespace": cluster.namespace}
    file = folder / "rehearsal.yaml"
    file.write_text(yaml.safe_dump(place))
    [deployment] = [
        each for each in yaml.safe_load_all(MANIFEST.read_text()) if each["kind"] == "Deployment"
    ]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["tarsrelease", "guard"]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tarsrelease", "guard", "--after", f"{_AFTER}s"),
            *("--release", str(ROOT / "release" / "v1_0_1"), "--environment", str(file)),
        ],
        env={"PATH": "/usr/bin:/bin", "KUBECONFIG": str(api.kubeconfig(token))},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def leased(routes: GatewayRoutes, release: Release, seconds: float) -> dict[str, str]:
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    return {
        "stage": "canary-10",
        "release": release.version,
        "shifted-at": timestamp(datetime.now(UTC)),
        "traffic-until": timestamp(until),
    }


def weights(routes: GatewayRoutes, release: Release) -> set[int]:
    return {state.weight for state in routes.read(release.rollout.services)}


def until_moved(routes: GatewayRoutes, release: Release, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if weights(routes, release) == {0}:
            return True
        time.sleep(0.5)
    return False


def test_a_lease_that_runs_out_takes_the_traffic_to_stable(
    api: BareApi, cluster: KubernetesApi, routes: GatewayRoutes, release: Release, tmp_path: Path
) -> None:
    services = release.rollout.services
    routes.shift(services, 10, leased(routes, release, 600))
    with guarding(api, cluster, tmp_path) as process:
        # An evaluation has extended the lease, so the guard leaves it alone.
        assert not until_moved(routes, release, 12)
        routes.annotate(services, {"traffic-until": timestamp(datetime.now(UTC))})
        assert until_moved(routes, release, 60), process.stderr
    for service in services:
        route = cluster.get(HTTP_ROUTE, service.route)
        assert route is not None
        assert route["metadata"]["annotations"]["tarsrelease.dev/stage"] == "off"


def test_its_rights_are_used_and_allow_nothing_else(
    api: BareApi, cluster: KubernetesApi, routes: GatewayRoutes, release: Release, tmp_path: Path
) -> None:
    routes.shift(release.rollout.services, 10, leased(routes, release, -1))
    with guarding(api, cluster, tmp_path):
        assert until_moved(routes, release, 60)
    user = f"system:serviceaccount:{cluster.namespace}:tarsrelease-guard"
    asked = api.requests_of(user)
    assert {each["annotations"]["authorization.k8s.io/decision"] for each in asked} == {"allow"}
    used = {(each["objectRef"]["resource"], each["verb"]) for each in asked if "objectRef" in each}
    assert used == {
        ("httproutes", "get"),
        ("httproutes", "patch"),
        ("services", "get"),
        ("deployments", "list"),
    }
    for verb, what in (("get", "secrets"), ("delete", "httproutes"), ("patch", "deployments")):
        answer = subprocess.run(
            [
                *(*api.programs["kubectl"], "--kubeconfig", str(api.kubeconfig())),
                *("auth", "can-i", verb, what, "--as", user, "--namespace", cluster.namespace),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.stdout.strip() == "no", json.dumps([verb, what])
