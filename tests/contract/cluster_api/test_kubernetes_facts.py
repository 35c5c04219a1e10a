"""What a release stands on, asked of a real API server: nodes, namespace, rights; and preflight."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml
from bare_api import BareApi

sys.path.insert(0, str(Path(__file__).parents[2] / "simulation"))

from contexts import context

from tarsrelease.adapters.helm.releases import Helm
from tarsrelease.adapters.kubernetes.client import KubernetesApi
from tarsrelease.adapters.kubernetes.facts import KubernetesFacts
from tarsrelease.adapters.kubernetes.journal import ConfigMapJournal
from tarsrelease.adapters.kubernetes.lock import LeaseLock
from tarsrelease.adapters.kubernetes.routes import GatewayRoutes
from tarsrelease.adapters.kubernetes.workloads import KubernetesWorkloads
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ForbiddenError, UnreachableError
from tarsrelease.model.measurement import Series
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.release import Release, Run
from tarsrelease.model.rights import ROLE, Right
from tarsrelease.steps.check_go_no_go import go_no_go
from tarsrelease.steps.check_preflight import preflight

ROLE_FILE = Path(__file__).parents[3] / "rbac" / "role.yaml"
READ_ONLY = ROLE_FILE.with_name("read-only.yaml")
NO_METRICS = "nothing listens"
Become = Callable[[str], KubernetesApi]
"""Apply a Role file, and be its ServiceAccount from now on."""


NOT_THERE = UnreachableError(
    doing="asking", found=NO_METRICS, expected="an answer", next_step="start it"
)


class NoMetrics:
    """A metrics server that does not answer."""

    def series(self, selectors: Sequence[str], seconds: float) -> list[list[Series]]:
        raise NOT_THERE

    def recorded(
        self, selectors: Sequence[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        raise AssertionError

    def server_time(self) -> float:
        raise NOT_THERE


def node(name: str, *conditions: tuple[str, str], unschedulable: bool = False) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name},
            "spec": {"unschedulable": unschedulable},
            "status": {"conditions": [{"type": t, "status": s} for t, s in conditions]},
        }
    )


def shipped_without(*lacking: Right) -> str:
    documents = list(yaml.safe_load_all(ROLE_FILE.read_text()))
    for document in documents:
        if document["kind"] == "Role":
            document["rules"] = [
                {"apiGroups": [r.group], "resources": [r.resource], "verbs": [r.verb]}
                for r in ROLE
                if r not in lacking
            ]
    return yaml.safe_dump_all(documents)


@pytest.fixture
def become(api: BareApi, cluster: KubernetesApi, monkeypatch: pytest.MonkeyPatch) -> Become:
    def as_role(text: str) -> KubernetesApi:
        space = ("--namespace", cluster.namespace)
        api.kubectl("apply", *space, "--filename", "-", stdin=text)
        account = next(d for d in yaml.safe_load_all(text) if d["kind"] == "ServiceAccount")
        token = api.kubectl("create", "token", account["metadata"]["name"], *space).strip()
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(token)))
        return KubernetesApi.connect("bare", cluster.namespace)

    return as_role


def asked(cluster: KubernetesApi, release: Release, environment: Environment) -> Outcome:
    ours = context(
        release,
        environment,
        facts=KubernetesFacts(cluster),
        charts=Helm("bare", cluster.namespace),
        workloads=KubernetesWorkloads(cluster, release.rollout),
        routes=GatewayRoutes(cluster, environment.gateway),
        metrics=NoMetrics(),
    )
    return preflight(ours, running=None)


def one(outcome: Outcome, check_id: str) -> Check:
    return next(check for check in outcome.checks if check.id == check_id)


@pytest.fixture
def nodes(api: BareApi) -> Iterator[Callable[[str], None]]:
    names = []

    def make(text: str) -> None:
        names.append(json.loads(text)["metadata"]["name"])
        api.kubectl("create", "--filename", "-", stdin=text)
        api.kubectl(
            *("patch", "node", names[-1], "--subresource", "status", "--type", "merge"),
            *("--patch", json.dumps({"status": json.loads(text)["status"]})),
        )

    yield make
    api.kubectl("delete", "node", *names)


def test_a_node_that_is_not_ready_or_under_pressure_is_named(
    cluster: KubernetesApi, nodes: Callable[[str], None]
) -> None:
    nodes(node("able", ("Ready", "True")))
    nodes(node("tired", ("Ready", "True"), ("DiskPressure", "True"), unschedulable=True))
    nodes(node("gone", ("Ready", "Unknown")))
    found = {each.name: each for each in KubernetesFacts(cluster).nodes()}
    assert found["able"].ready
    assert found["able"].schedulable
    assert found["tired"].pressures == ("DiskPressure",)
    assert not found["gone"].ready


def test_a_namespace_that_is_not_there(cluster: KubernetesApi, api: BareApi) -> None:
    assert KubernetesFacts(cluster).namespace() == "Active"
    assert KubernetesFacts(KubernetesApi.connect("bare", "nowhere")).namespace() is None


def test_the_shipped_role_lacks_nothing_and_a_right_taken_from_it_is_named(become: Become) -> None:
    assert KubernetesFacts(become(ROLE_FILE.read_text())).lacking(ROLE) == []
    taken = (
        Right(group="apps", resource="deployments/scale", verb="patch"),
        Right(group="coordination.k8s.io", resource="leases", verb="update"),
    )
    assert set(KubernetesFacts(become(shipped_without(*taken))).lacking(ROLE)) == set(taken)


def test_the_shipped_role_may_not_list_nodes(become: Become) -> None:
    with pytest.raises(ForbiddenError):
        KubernetesFacts(become(ROLE_FILE.read_text())).nodes()


def test_preflight_as_the_shipped_role(
    cluster: KubernetesApi,
    become: Become,
    release: Release,
    environment: Environment,
) -> None:
    """What is there passes, what nobody may ask is skipped, what does not answer is an error."""
    chart = str(Path(release.directory).parent / "v1_0_0" / "tars-1.0.0.tgz")
    Helm("bare", cluster.namespace).upgrade(
        "tars", chart, [], values_from=None, deadline=60, wait=False
    )
    outcome = asked(become(ROLE_FILE.read_text()), release, environment)
    assert one(outcome, "preflight.nodes").status is Status.SKIPPED
    assert one(outcome, "preflight.namespace").status is Status.PASS
    assert one(outcome, "preflight.rights").status is Status.PASS
    assert one(outcome, "preflight.helm_release").status is Status.PASS
    assert one(outcome, "preflight.route_owner").status is Status.PASS
    deploy = one(outcome, "preflight.deploy")
    assert deploy.status is Status.FAIL
    assert "stable is not complete" in deploy.reason, "no node runs its pods here"
    targets = one(outcome, "preflight.targets")
    assert targets.status is Status.ERROR
    assert NO_METRICS in targets.reason
    assert outcome.verdict is Verdict.NO_GO


def test_no_helm_release_and_no_namespace_are_a_no(
    cluster: KubernetesApi, release: Release, environment: Environment
) -> None:
    gone = KubernetesApi.connect("bare", "nowhere")
    place = environment.kubernetes.model_copy(update={"namespace": "nowhere"})
    outcome = asked(gone, release, environment.model_copy(update={"kubernetes": place}))
    assert one(outcome, "preflight.namespace").status is Status.FAIL
    outcome = asked(cluster, release, environment)
    helm = one(outcome, "preflight.helm_release")
    assert helm.status is Status.FAIL
    assert "no Helm release tars" in helm.reason


def test_a_missing_right_is_a_no_go_that_names_it(
    cluster: KubernetesApi,
    become: Become,
    release: Release,
    environment: Environment,
) -> None:
    taken = Right(group="gateway.networking.k8s.io", resource="httproutes", verb="patch")
    outcome = asked(become(shipped_without(taken)), release, environment)
    check = one(outcome, "preflight.rights")
    assert check.status is Status.FAIL
    assert "patch httproutes.gateway.networking.k8s.io" in check.reason
    assert outcome.verdict is Verdict.NO_GO


def test_go_no_go_needs_exactly_the_role_that_only_reads(
    api: BareApi,
    cluster: KubernetesApi,
    become: Become,
    release: Release,
    environment: Environment,
) -> None:
    """No error for want of a right; the audit log says which rights were used."""
    chart = str(Path(release.directory).parent / "v1_0_0" / "tars-1.0.0.tgz")
    Helm("bare", cluster.namespace).upgrade(
        "tars", chart, [], values_from=None, deadline=60, wait=False
    )
    reader = become(READ_ONLY.read_text())
    ours = context(
        release,
        environment,
        facts=KubernetesFacts(reader),
        workloads=KubernetesWorkloads(reader, release.rollout),
        routes=GatewayRoutes(reader, environment.gateway),
        journal=ConfigMapJournal(reader, release.rollout.application),
        lock=LeaseLock(reader, release.rollout.application, Run(id="r1", owner="me")),
        metrics=NoMetrics(),
    )
    outcome = go_no_go(
        ours,
        votes=[],
        required=(),
        window=60,
        recorded=[],
        staging=KubernetesWorkloads(reader, release.rollout),
    )
    assert one(outcome, "go_no_go.no_other_release").status is Status.PASS, outcome.checks
    assert "runs 1.0.0" in one(outcome, "go_no_go.staging").reason
    found = outcome.details.model_dump(mode="json")["preflight"]
    assert not [check for check in found if "the right to" in check["reason"]], found
    name = f"system:serviceaccount:{reader.namespace}:tarsrelease-read"
    mine = api.requests_of(name)
    kinds = {e["objectRef"]["resource"] for e in mine if e["responseStatus"]["code"] == 403}
    assert kinds <= {"nodes", "namespaces"}, "these are asked in case a ClusterRole allows them"
    used = {
        (e["objectRef"].get("apiGroup", ""), e["objectRef"]["resource"], e["verb"])
        for e in mine
        if "objectRef" in e and e["responseStatus"]["code"] != 403
    } - {("authorization.k8s.io", "selfsubjectaccessreviews", "create")}
    rules = next(d for d in yaml.safe_load_all(READ_ONLY.read_text()) if d["kind"] == "Role")
    granted = {
        (group, resource, verb)
        for rule in rules["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert used == granted
