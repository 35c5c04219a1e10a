"""The Role that is shipped: enough, nothing that is not used, and a missing right is named.

Everything that the adapters ask of the API in a day is asked here as the ServiceAccount of
rbac/role.yaml; the server's own audit log tells which rights were used.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from bare_api import BareApi

from tarsrelease.adapters.helm.releases import Helm
from tarsrelease.adapters.kubernetes.client import CONFIG_MAP, DEPLOYMENT, SERVICE, KubernetesApi
from tarsrelease.adapters.kubernetes.journal import ConfigMapJournal
from tarsrelease.adapters.kubernetes.lock import LeaseLock
from tarsrelease.adapters.kubernetes.routes import GatewayRoutes
from tarsrelease.adapters.kubernetes.workloads import KubernetesWorkloads
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.release import Release, Run

ROLE = Path(__file__).parents[3] / "rbac" / "role.yaml"
Right = tuple[str, str, str]
"""(group, resource with its subresource, verb)."""


def role() -> dict[str, Any]:
    documents = list(yaml.safe_load_all(ROLE.read_text()))
    return next(document for document in documents if document["kind"] == "Role")


def granted() -> set[Right]:
    return {
        (group, resource, verb)
        for rule in role()["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def without(right: Right) -> str:
    """The shipped file with a Role that lacks one right."""
    group, resource, verb = right
    documents = list(yaml.safe_load_all(ROLE.read_text()))
    for document in documents:
        if document["kind"] == "Role":
            document["rules"] = [
                {"apiGroups": [g], "resources": [r], "verbs": [v]}
                for g, r, v in sorted(granted())
                if (g, r, v) != (group, resource, verb)
            ]
    return yaml.safe_dump_all(documents)


@pytest.fixture
def as_shipped(
    api: BareApi, cluster: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], KubernetesApi]:
    """Apply a Role file, and be its ServiceAccount from now on."""

    def become(text: str) -> KubernetesApi:
        space = ("--namespace", cluster.namespace)
        api.kubectl("apply", *space, "--filename", "-", stdin=text)
        token = api.kubectl("create", "token", "tarsrelease", *space).strip()
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(token)))
        return KubernetesApi.connect("bare", cluster.namespace)

    return become


ALL_KINDS = {
    "autoscaling": {"enabled": True},
    "podDisruptionBudget": {"enabled": True},
    "maintenance": {"enabled": True},
}


@pytest.fixture
def stable(cluster: KubernetesApi, release: Release) -> None:
    """T.A.R.S. 1.0.0 as an administrator installed it, and what a broken canary left behind."""
    chart = str(Path(release.directory).parent / "v1_0_0" / "tars-1.0.0.tgz")
    values: list[dict[str, Any]] = [{"autoscaling": {"enabled": True}}]
    helm = Helm("bare", cluster.namespace)
    helm.upgrade("tars", chart, values, values_from=None, deadline=60, wait=False)
    owned = {"meta.helm.sh/release-name": "tars-canary"}
    cluster.create(CONFIG_MAP, {"metadata": {"name": "tars-canary-config"}})
    cluster.create(
        SERVICE,
        {"metadata": {"name": "left", "annotations": owned}, "spec": {"ports": [{"port": 80}]}},
    )
    pods = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    cluster.create(
        DEPLOYMENT,
        {
            "metadata": {"name": "left", "annotations": owned},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pods},
        },
    )


def everything(cluster: KubernetesApi, environment: Environment, release: Release) -> None:
    """All that the adapters ask of the API, from the first look to the canary's removal."""
    rollout = release.rollout
    helm = Helm("bare", cluster.namespace)
    workloads = KubernetesWorkloads(cluster, rollout)
    routes = GatewayRoutes(cluster, environment.gateway)
    journal = ConfigMapJournal(cluster, rollout.application)
    lock = LeaseLock(cluster, rollout.application, Run(id="r1", owner="me"))
    entry = Entry.model_validate(
        {
            "at": "2026-01-01T00:00:00Z",
            "run": "r1",
            "release": release.version,
            "step": "test",
            "action": "deploy",
            "phase": Phase.INTENT,
        }
    )
    left = workloads.remove_leftovers(rollout.canary_release)
    assert sorted(left) == ["ConfigMap/tars-canary-config", "Deployment/left", "Service/left"]
    for _ in range(2):
        lock.acquire()
    try:
        for _ in range(2):  # created, then updated
            journal.append(entry)
            routes.shift(rollout.services, 0, {"release": release.version})
        routes.annotate(rollout.services, {"traffic-until": "2026-01-01T00:00:00Z"})
        assert len(routes.read(rollout.services)) == 3
        assert not any(each.found for each in routes.faults(rollout.services))
        assert helm.history(rollout.application)
        assert workloads.deployments()
        assert workloads.pods() == []
        behind = workloads.pods_behind()
        assert behind[rollout.services[0].stable.service] == frozenset()
        scaler = workloads.autoscalers()[0]
        workloads.keep_at_least(scaler.name, scaler.min_replicas + 1)
        workloads.scale(rollout.services[0].stable.deployment, 3)
        values = [release.canary_values, ALL_KINDS]
        for _ in range(2):
            assert helm.planned(
                rollout.canary_release, release.chart, values, values_from=rollout.application
            )
            helm.upgrade(
                rollout.canary_release,
                release.chart,
                values,
                values_from=rollout.application,
                deadline=60,
                wait=False,
            )
        routes.shift(rollout.services, 10, {"release": release.version})
        routes.retire(rollout.services, {"release": release.version})
        helm.uninstall(rollout.canary_release, deadline=60)
        helm.upgrade(
            rollout.application,
            release.chart,
            [],
            values_from=rollout.application,
            deadline=60,
            wait=False,
        )
        helm.rollback(rollout.application, 1, deadline=60, wait=False)
        assert [r.status for r in helm.history(rollout.application)][-1] == "deployed"
        lock.check()
    finally:
        lock.release()


def rights_of(event: dict[str, Any]) -> set[Right]:
    """The rights that a request needed: an apply that creates needs `create` beside `patch`."""
    asked = event["objectRef"]
    resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
    verbs = {event["verb"]} | ({"create"} if event["responseStatus"]["code"] == 201 else set())
    return {(asked.get("apiGroup", ""), resource, verb) for verb in verbs}


@pytest.mark.usefixtures("stable")
def test_the_role_is_exactly_what_is_used(
    api: BareApi,
    as_shipped: Callable[[str], KubernetesApi],
    environment: Environment,
    release: Release,
) -> None:
    limited = as_shipped(ROLE.read_text())
    everything(limited, environment, release)
    name = f"system:serviceaccount:{limited.namespace}:tarsrelease"
    mine = api.requests_of(name)
    assert mine
    refused = [event["requestURI"] for event in mine if event["responseStatus"]["code"] == 403]
    assert refused == []
    used = {right for event in mine if "objectRef" in event for right in rights_of(event)}
    assert used - granted() == set()
    assert granted() - used == set()


NAMED_BY_DEFAULT = {
    ("gateway.networking.k8s.io", "httproutes", "patch"),
    ("", "secrets", "list"),
    ("apps", "deployments", "create"),
}


@pytest.mark.usefixtures("stable")
@pytest.mark.parametrize(
    "right",
    [
        pytest.param(
            right,
            id=" ".join(filter(None, reversed(right))),
            marks=() if right in NAMED_BY_DEFAULT else pytest.mark.full,
        )
        for right in sorted(granted())
    ],
)
def test_one_right_less_is_an_error_that_names_it(
    as_shipped: Callable[[str], KubernetesApi],
    environment: Environment,
    release: Release,
    right: Right,
) -> None:
    group, resource, verb = right
    limited = as_shipped(without(right))
    with pytest.raises(ReleaseError) as failed:
        everything(limited, environment, release)
    named = f"`{verb} {resource}{'.' + group if group else ''} in {limited.namespace}`"
    assert named in failed.value.detail.found, failed.value.detail
    assert "rbac/role.yaml" in failed.value.detail.expected + failed.value.detail.next


def test_a_token_that_is_not_known_says_so(
    api: BareApi, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig("no-such-token")))
    with pytest.raises(ReleaseError, match="does not accept the credentials"):
        KubernetesApi.connect("bare", namespace).get(CONFIG_MAP, "x")


def test_roles_are_compared_by_what_they_say() -> None:
    """`without` takes one right, and only that one."""
    right = sorted(granted())[0]
    text = without(right)
    rules = next(d for d in yaml.safe_load_all(text) if d["kind"] == "Role")["rules"]
    left = {(r["apiGroups"][0], r["resources"][0], r["verbs"][0]) for r in rules}
    assert granted() - left == {right}
    assert json.dumps(rules)
