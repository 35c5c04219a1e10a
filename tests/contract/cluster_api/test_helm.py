"""The helm binary on a real API server: values, histories, and what a killed one leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from bare_api import BareApi

from tarsrelease.adapters.helm.releases import Helm, laid_over
from tarsrelease.adapters.kubernetes.client import CONFIG_MAP, KubernetesApi
from tarsrelease.adapters.kubernetes.workloads import KubernetesWorkloads
from tarsrelease.model.errors import StoppedError, UnreachableError, UsageError
from tarsrelease.model.release import Release
from tarsrelease.rollout.rollback_plan import last_good

TEMPLATE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-config}
data: {said: {{ toJson .Values | quote }}}
"""
SLOW_HOOK = """
apiVersion: batch/v1
kind: Job
metadata: {name: slow, annotations: {helm.sh/hook: EVENT}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}
"""


def chart(folder: Path, version: str, **templates: str) -> str:
    """A chart with one ConfigMap that holds its values, and further templates."""
    root = folder / f"chart-{version}"
    (root / "templates").mkdir(parents=True)
    lines = ["apiVersion: v2", "name: app", f"version: {version}", f"appVersion: {version}"]
    (root / "Chart.yaml").write_text("\n".join(lines))
    (root / "values.yaml").write_text("a: {b: 1, c: 1}\nlist: [1, 2]\nswitch: {enabled: true}\n")
    for name, text in ({"config": TEMPLATE} | templates).items():
        (root / "templates" / f"{name}.yaml").write_text(text)
    return str(root)


@pytest.fixture
def helm(cluster: KubernetesApi) -> Helm:
    return Helm("bare", cluster.namespace)


def install(helm: Helm, name: str, path: str, *values: dict[str, Any], under: str = "") -> None:
    helm.upgrade(name, path, values, values_from=under or None, deadline=30, wait=False)


def said(cluster: KubernetesApi, name: str) -> str:
    found = cluster.get(CONFIG_MAP, f"{name}-config")
    assert found is not None
    text: str = found["data"]["said"]
    return text


def test_values_lie_over_those_that_the_user_gave_the_other_release(
    helm: Helm, cluster: KubernetesApi, tmp_path: Path
) -> None:
    path = chart(tmp_path, "1.0.0")
    install(helm, "app", path, {"a": {"b": 2, "c": 2}, "list": [3], "own": True})
    install(helm, "app-canary", path, {"a": {"b": 3}}, {"list": [4]}, under="app")
    expected = '{"a":{"b":3,"c":2},"list":[4],"own":true,"switch":{"enabled":true}}'
    assert said(cluster, "app-canary") == expected
    rendered = helm.render("app-canary", path, [{"a": {"b": 3}}, {"list": [4]}], values_from="app")
    assert [found["data"]["said"] for found in rendered] == [expected]
    assert helm.defaults(path)["list"] == [1, 2]


def test_values_merge_as_helm_merges_them() -> None:
    assert laid_over(
        [{"a": {"b": 1}, "c": [1]}, {"a": {"d": None}, "c": [2]}, {"a": {"b": 2}}]
    ) == {
        "a": {"b": 2, "d": None},
        "c": [2],
    }
    assert laid_over([{"a": {"b": 1}}, {"a": 1}, {"a": {"c": 1}}]) == {"a": {"c": 1}}


def test_a_history_is_read_and_an_absent_release_has_none(helm: Helm, tmp_path: Path) -> None:
    assert helm.history("app") == []
    helm.uninstall("app", deadline=30)  # none there is no error
    install(helm, "app", chart(tmp_path, "1.0.0"))
    install(helm, "app", chart(tmp_path, "1.0.1"))
    helm.rollback("app", 1, deadline=30, wait=False)
    found = [(each.number, each.status, each.app_version) for each in helm.history("app")]
    assert found == [
        (1, "superseded", "1.0.0"),
        (2, "superseded", "1.0.1"),
        (3, "deployed", "1.0.0"),
    ]
    helm.uninstall("app", deadline=30)
    assert helm.history("app") == []


def test_an_upgrade_that_fails_is_a_stop_and_not_a_good_revision(
    helm: Helm, tmp_path: Path
) -> None:
    install(helm, "app", chart(tmp_path, "1.0.0"))
    broken = chart(
        tmp_path, "1.0.1", bad="apiVersion: v1\nkind: Service\nmetadata: {name: Bad_Name}\n"
    )
    with pytest.raises(StoppedError, match="Bad_Name"):
        install(helm, "app", broken)
    history = helm.history("app")
    assert history[-1].status == "failed"
    good = last_good(history, "1.0.1", None)
    assert good is not None
    assert good.number == 1
    install(helm, "app", chart(tmp_path, "1.0.2"))  # a failed revision is in nobody's way


def interrupted(namespace: str, path: str, *, helm_too: bool) -> None:
    """`kill -9` to a process in the middle of an upgrade or installation, whose hook never ends.

    With `helm_too`, Helm is killed before it can mark what it could not finish.
    """
    code = (
        "import sys; from tarsrelease.adapters.helm.releases import Helm; "
        "Helm('bare', sys.argv[1]).upgrade('app', sys.argv[2], [], values_from=None, deadline=300)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, namespace, path])
    helm = Helm("bare", namespace)
    end = time.monotonic() + 60
    while not (history := helm.history("app")) or not history[-1].status.startswith("pending"):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
    for number in _helms(namespace) if helm_too else ():
        os.kill(number, signal.SIGKILL)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while _helms(namespace):  # ended by the kernel, as its parent is gone
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("helm_too", [False, True])
def test_a_killed_upgrade_leaves_no_helm_behind_and_the_next_run_recovers(
    helm: Helm, cluster: KubernetesApi, tmp_path: Path, helm_too: bool
) -> None:
    install(helm, "app", chart(tmp_path, "1.0.0"))
    hook = SLOW_HOOK.replace("EVENT", "pre-upgrade")
    interrupted(cluster.namespace, chart(tmp_path, "1.0.1", hook=hook), helm_too=helm_too)
    history = helm.history("app")
    # Asked to end by the kernel, Helm may mark its revision as failed, or leave it as it was.
    assert history[-1].status in (
        {"pending-upgrade"} if helm_too else {"pending-upgrade", "failed"}
    )
    good = last_good(history, "1.0.1", None)
    assert good is not None
    assert good.number == 1
    helm.rollback("app", good.number, deadline=30, wait=False)
    assert helm.history("app")[-1].status == "deployed"
    install(helm, "app", chart(tmp_path, "1.0.2"))
    assert helm.history("app")[-1].app_version == "1.0.2"


def test_a_killed_installation_can_be_removed_and_made_again(
    helm: Helm, cluster: KubernetesApi, tmp_path: Path
) -> None:
    hook = SLOW_HOOK.replace("EVENT", "pre-install")
    interrupted(cluster.namespace, chart(tmp_path, "1.0.0", hook=hook), helm_too=True)
    assert helm.history("app")[-1].status == "pending-install"
    helm.uninstall("app", deadline=30)
    assert helm.history("app") == []
    install(helm, "app", chart(tmp_path, "1.0.1"))


def _helms(namespace: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if command[0].endswith(b"helm") and namespace.encode() in command:
            found.append(int(folder.name))
    return found


def test_no_helm_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TARSRELEASE_HELM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="finding Helm") as missing:
        Helm(None, "x").history("app")
    assert "install" in missing.value.detail.next
    monkeypatch.setenv("TARSRELEASE_HELM", "/no/such/helm")
    with pytest.raises(UsageError, match="/no/such/helm"):
        Helm(None, "x").history("app")


def test_another_version_of_helm_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cluster: KubernetesApi
) -> None:
    script = tmp_path / "helm"
    script.write_text("#!/bin/sh\necho v2.17.0\n")
    script.chmod(0o755)
    monkeypatch.setenv("TARSRELEASE_HELM", str(script))
    with pytest.raises(UsageError, match=r"v2\.17\.0"):
        Helm("bare", cluster.namespace).rollback("app", 1, deadline=30)


def test_a_cluster_that_does_not_answer_is_unreachable(
    api: BareApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(api.kubeconfig().read_text().replace(api.url, "https://127.0.0.1:9"))
    monkeypatch.setenv("KUBECONFIG", str(nowhere))
    monkeypatch.setenv("TARSRELEASE_HELM", api.programs["helm"][0])
    with pytest.raises(UnreachableError):
        Helm("bare", "x").history("app")
    with pytest.raises(UnreachableError, match="no answer"):
        KubernetesApi.connect("bare", "x").get(CONFIG_MAP, "y")


def test_a_context_that_is_not_there_is_named(
    api: BareApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig()))
    with pytest.raises(UsageError, match="'elsewhere'") as unknown:
        KubernetesApi.connect("elsewhere", "x")
    assert "get-contexts" in unknown.value.detail.next
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="kubeconfig"):
        KubernetesApi.connect("bare", "x")
    assert os.environ["KUBECONFIG"]


DEPLOYMENT_TEMPLATE = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop-canary}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: c, image: "registry.example/shop:latest"}]}
"""


def test_the_version_comes_from_helms_record_if_nothing_else_says_it(
    helm: Helm, cluster: KubernetesApi, release: Release, tmp_path: Path
) -> None:
    workloads = KubernetesWorkloads(cluster, release.rollout)
    install(helm, "app", chart(tmp_path, "1.0.0", deployment=DEPLOYMENT_TEMPLATE))
    assert [each.version for each in workloads.deployments()] == ["1.0.0"]
    changed = DEPLOYMENT_TEMPLATE.replace("latest", "newest")
    install(helm, "app", chart(tmp_path, "1.1.0", deployment=changed))
    assert [each.version for each in workloads.deployments()] == ["1.1.0"]
