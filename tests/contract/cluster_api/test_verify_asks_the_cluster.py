"""verify with an environment: the version that runs, and the objects that its cluster takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bare_api import BareApi
from test_helm import chart, install

from tarsrelease.adapters.helm.releases import Helm
from tarsrelease.adapters.kubernetes.client import KubernetesApi
from tarsrelease.adapters.kubernetes.schema import ObjectSchema, pinned_schema, served_schema
from tarsrelease.model.environment import Environment
from tarsrelease.model.outcome import Check, Status
from tarsrelease.wiring.verification import Wishes, verified

ROOT = Path(__file__).parents[3]
BUNDLE = ROOT / "release" / "v1_0_1"


def checks(wishes: Wishes) -> dict[str, Check]:
    return {check.id: check for check in reversed(verified(BUNDLE, wishes).checks)}


@pytest.mark.parametrize(
    ("versions", "status", "said"),
    [
        ([], Status.SKIPPED, "NOT CHECKED: no tars runs there"),
        (["0.9.0"], Status.FAIL, "0.9.0 runs, the manifest requires at least 1.0.0"),
        (["0.9.0", "1.0.0"], Status.PASS, "1.0.0 runs"),
    ],
)
def test_the_version_that_runs_is_the_one_that_helm_deployed(
    cluster: KubernetesApi,
    environment: Environment,
    tmp_path: Path,
    versions: list[str],
    status: Status,
    said: str,
) -> None:
    helm = Helm("bare", cluster.namespace)
    for version in versions:
        install(helm, "tars", chart(tmp_path, version))
    found = checks(Wishes(environment=environment))
    assert found["manifest.previous"].status is status
    assert said in found["manifest.previous"].reason
    assert found["chart.render"].status is Status.PASS, found["chart.render"].reason
    assert "as the cluster (Kubernetes " in found["chart.render"].reason
    offline = checks(Wishes(environment=environment, offline=True))
    assert offline["manifest.previous"].status is Status.SKIPPED
    assert f"as {pinned_schema().name}" in offline["chart.render"].reason
    said_outright = checks(Wishes(environment=environment, running="1.0.0"))
    assert said_outright["manifest.previous"].status is Status.PASS


def test_a_cluster_that_does_not_answer_is_told(
    cluster: KubernetesApi,
    environment: Environment,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    nobody = tmp_path / "kubeconfig"
    place = {"name": "bare", "cluster": {"server": "https://127.0.0.1:9"}}
    context = {"name": "bare", "context": {"cluster": "bare", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    nobody.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [place],
                "contexts": [context],
                "users": [user],
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(nobody))
    found = checks(Wishes(environment=environment))
    assert found["manifest.previous"].status is Status.SKIPPED
    assert "NOT CHECKED: " in found["manifest.previous"].reason
    assert "and not the cluster: no answer from https://127.0.0.1:9" in found["chart.render"].reason


@pytest.fixture
def served(cluster: KubernetesApi) -> ObjectSchema:
    return served_schema(cluster.openapi())


ROUTE: dict[str, Any] = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "web"},
    "spec": {
        "parentRefs": [{"name": "gateway"}],
        "rules": [{"backendRefs": [{"name": "web", "port": 80, "weight": 1}]}],
    },
}


def test_custom_resources_are_known_to_the_cluster_alone(served: ObjectSchema) -> None:
    assert pinned_schema().faults(ROUTE) is None
    assert served.faults(ROUTE) == []
    wrong: dict[str, Any] = json.loads(json.dumps(ROUTE))
    wrong["spec"]["rules"][0]["backendRefs"][0]["weight"] = "1"
    wrong["spec"]["rulez"] = []
    faults = served.faults(wrong)
    assert faults is not None
    assert [fault.partition(" ")[0] for fault in faults] == [
        "spec.rules[0].backendRefs[0].weight",
        "spec.rulez",
    ]


@pytest.mark.parametrize("path", sorted(BUNDLE.parent.glob("*/*.tgz")), ids=lambda path: path.name)
def test_what_it_finds_is_what_the_api_server_finds(
    api: BareApi, cluster: KubernetesApi, namespace: str, served: ObjectSchema, path: Path
) -> None:
    """Each object of the worked example, whole and with a field that does not exist."""
    for found in Helm("bare", namespace).render("tars", str(path), [], values_from=None):
        for extra, good in ((None, True), ("nosuchfield", False)):
            tried = json.loads(json.dumps(found))
            tried["metadata"]["namespace"] = namespace
            if extra:
                tried[extra] = 1
            assert (served.faults(tried) == []) is good
            assert (pinned_schema().faults(tried) == []) is good
            assert taken(api, tried) is good, tried


def taken(api: BareApi, tried: dict[str, Any]) -> bool:
    """Whether the API server would take it, field validation included; nothing is created."""
    file = api.folder / "tried.json"
    file.write_text(json.dumps(tried))
    try:
        api.kubectl("create", "--dry-run=server", "--validate=strict", "-f", str(file))
    except AssertionError:
        return False
    return True
