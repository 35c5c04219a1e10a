"""Charts with CRDs and large records on a real API server, and Deployments that get no pods."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest
from bare_api import BareApi
from test_helm import chart, install

from tarsrelease.adapters.helm.releases import Helm
from tarsrelease.adapters.kubernetes.client import DEPLOYMENT, KubernetesApi
from tarsrelease.adapters.kubernetes.facts import KubernetesFacts
from tarsrelease.adapters.kubernetes.workloads import KubernetesWorkloads
from tarsrelease.bundle.helm_record import LARGEST, record_size
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.release import Release

CRD = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.shop.example}
spec:
  group: shop.example
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets, singular: gadget}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object}}
"""


@pytest.fixture
def helm(cluster: KubernetesApi) -> Helm:
    return Helm("bare", cluster.namespace)


@pytest.mark.parametrize("size", [100_000, 400_000])
def test_the_estimate_of_the_record_is_what_helm_stores(
    helm: Helm, api: BareApi, cluster: KubernetesApi, tmp_path: Path, size: int
) -> None:
    folder = Path(chart(tmp_path, "1.0.0"))
    (folder / "data.bin").write_bytes(os.urandom(size))
    subprocess.run(
        [*api.programs["helm"], "package", folder, "--destination", tmp_path], check=True
    )
    archive = tmp_path / "app-1.0.0.tgz"
    install(helm, "demo", str(archive), {"a": {"b": 2}})
    objects = helm.render("demo", str(archive), [{"a": {"b": 2}}], values_from=None)
    stored = api.kubectl(
        "get", "secret", "sh.helm.release.v1.demo.v1", "--namespace", cluster.namespace,
        "--output", "jsonpath={.data.release}",
    )  # fmt: skip
    real = len(base64.b64decode(stored))
    assert record_size(archive.read_bytes(), {"a": {"b": 2}}, objects) == pytest.approx(
        real, rel=0.03
    )


def test_the_api_server_refuses_what_the_estimate_refuses(
    helm: Helm, api: BareApi, tmp_path: Path
) -> None:
    folder = Path(chart(tmp_path, "1.0.0"))
    (folder / "data.bin").write_bytes(os.urandom(800_000))
    subprocess.run(
        [*api.programs["helm"], "package", folder, "--destination", tmp_path], check=True
    )
    archive = tmp_path / "app-1.0.0.tgz"
    assert record_size(archive.read_bytes(), {}, []) > LARGEST
    with pytest.raises(ReleaseError, match="Too long"):
        install(helm, "demo", str(archive))


def test_definitions_of_the_chart_are_named_and_never_installed(
    helm: Helm, api: BareApi, cluster: KubernetesApi, tmp_path: Path
) -> None:
    folder = Path(chart(tmp_path, "1.0.0"))
    (folder / "crds").mkdir()
    (folder / "crds/gadgets.yaml").write_text(CRD)
    assert [found["metadata"]["name"] for found in helm.crds(str(folder))] == [
        "gadgets.shop.example"
    ]
    facts = KubernetesFacts(cluster)
    install(helm, "demo", str(folder))
    assert facts.served("shop.example", "v1") == []
    assert "HTTPRoute" in facts.served("gateway.networking.k8s.io", "v1")
    assert "Service" in facts.served("", "v1")
    api.kubectl("create", "--filename", "-", stdin=CRD)
    api.kubectl("wait", "--for=condition=Established", "crd/gadgets.shop.example")
    assert facts.served("shop.example", "v1") == ["Gadget"]
    api.kubectl("delete", "crd", "gadgets.shop.example")


def test_a_deployment_whose_pods_cannot_be_created_says_why(
    cluster: KubernetesApi, release: Release
) -> None:
    template = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "x:1.0.0"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "x"}}, "template": template}
    cluster.create(DEPLOYMENT, {"metadata": {"name": "x"}, "spec": spec})
    message = 'pods "x-1" is forbidden: exceeded quota: small, requested: cpu=1, limited: cpu=500m'
    condition = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "lastUpdateTime": "2026-01-01T00:00:00Z",
    }
    cluster.merge(DEPLOYMENT, "x", {"status": {"conditions": [condition]}}, subresource="status")
    found = KubernetesWorkloads(cluster, release.rollout).deployments()
    assert [state.problem for state in found] == [message]
