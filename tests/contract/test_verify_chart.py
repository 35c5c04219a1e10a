"""chart.render and chart.images with the real Helm, and the pinned Kubernetes schema."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from bundle_samples import TEMPLATE, write_sources

from tarsrelease.adapters.files.bundle_build import build_bundle
from tarsrelease.adapters.kubernetes.schema import pinned_schema
from tarsrelease.bundle.rendered_images import image_references, split_reference
from tarsrelease.model.outcome import Check, Status
from tarsrelease.rehearsal.binaries import resolve, standard_modules
from tarsrelease.rehearsal.paths import cache_root, source_root
from tarsrelease.wiring.verification import Wishes, verified


@pytest.fixture(scope="module")
def helm() -> str:
    """Helm as the tool finds it, or the rehearsal's own (built where it is not there yet)."""
    found = os.environ.get("TARSRELEASE_HELM") or shutil.which("helm")
    if found:
        return found
    modules = [
        replace(module, programs=tuple(one for one in module.programs if one.name == "helm"))
        for module in standard_modules()
    ]
    wanted = [module for module in modules if module.programs]
    return resolve(cache_root(), print, wanted).commands["helm"][0]


def checks_of(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    helm: str,
    template: str,
    canary: str = "replicas: 1\n",
) -> dict[str, Check]:
    """The chart's checks of a bundle whose chart has this template."""
    monkeypatch.setenv("TARSRELEASE_HELM", helm)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    sources = write_sources(tmp_path / "project")
    (sources.source / "chart/templates/web.yaml").write_text(template)
    (sources.out / "values-canary.yaml").write_text(canary)
    build_bundle(sources.source, "1.2.0", sources.out)
    outcome = verified(sources.out, Wishes(offline=True))
    assert not list(tmp_path.glob("tarsrelease-chart-*"))
    # Of several findings of a check, the first.
    return {check.id: check for check in reversed(outcome.checks) if check.id.startswith("chart.")}


def test_a_chart_that_renders_what_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helm: str
) -> None:
    checks = checks_of(tmp_path, monkeypatch, helm, TEMPLATE)
    assert {check.status for check in checks.values()} == {Status.PASS}, checks
    assert checks["chart.render"].reason.startswith("4 objects")


INIT = TEMPLATE + "      initContainers: [{name: init, image: busybox}]\n"
CRON = """
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: demo}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: x, image: "registry.example/demo/web:v1.2.0"}]
"""
CUSTOM = """
---
apiVersion: example.org/v1
kind: Worker
metadata: {name: demo}
spec: {pod: {containers: [{name: x, image: "evil.example/x@sha256:%s"}]}}
""" % ("c" * 64)  # fmt: skip
VOLUME = TEMPLATE + "      volumes: [{name: v, image: {reference: evil.example/models}}]\n"


@pytest.mark.parametrize(
    ("template", "check", "said"),
    [
        (INIT, "chart.images", "Deployment/demo-web for stable runs busybox"),
        (TEMPLATE + CRON, "chart.images", "runs registry.example/demo/web:v1.2.0, which"),
        (TEMPLATE + CUSTOM, "chart.images", "Worker/demo for stable runs evil.example/x"),
        (VOLUME, "chart.images", "evil.example/models"),
        (TEMPLATE.replace(":{{ .tag }}@", ":latest@"), "chart.images", "tag is v1.2.0"),
        (TEMPLATE.split("---")[0], "chart.images", "which nothing rendered for stable runs"),
        (TEMPLATE.replace("replicas: {{", "replcas: {{"), "chart.render", "spec.replcas is no"),
        (
            TEMPLATE.replace("replicas: {{ .Values.replicas }}", 'replicas: "2"'),
            "chart.render",
            "spec.replicas must be a whole number",
        ),
        (
            TEMPLATE.replace("  selector: {matchLabels: {app: web}}\n", ""),
            "chart.render",
            "spec.selector is missing",
        ),
        (TEMPLATE.replace("apps/v1", "apps/v1beta1"), "chart.render", "has no Deployment in"),
        (TEMPLATE + '\n---\n{{ fail "not today" }}\n', "chart.render", "not today"),
        (TEMPLATE + "\n{{ .Values.x.y.z }}\n", "chart.render", "does not render"),
    ],
)
def test_a_chart_that_does_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    helm: str,
    template: str,
    check: str,
    said: str,
) -> None:
    found = checks_of(tmp_path, monkeypatch, helm, template)[check]
    assert found.status is Status.FAIL
    assert said in found.reason


def test_the_canarys_own_render_is_checked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helm: str
) -> None:
    canary = 'images: {web: {digest: "sha256:%s"}}\n' % ("d" * 64)  # fmt: skip
    found = checks_of(tmp_path, monkeypatch, helm, TEMPLATE, canary)["chart.images"]
    assert found.status is Status.FAIL
    assert "for the canary runs" in found.reason


def test_the_schema_refuses_the_canarys_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helm: str
) -> None:
    checks = checks_of(tmp_path, monkeypatch, helm, TEMPLATE, "replicas: many\n")
    assert "values-canary.yaml: $.replicas" in checks["chart.values"].reason
    assert "does not render for the canary" in checks["chart.render"].reason


@pytest.mark.parametrize("release", ["v1_0_0", "v1_0_1"])
def test_the_worked_examples_are_whole(
    monkeypatch: pytest.MonkeyPatch, helm: str, release: str
) -> None:
    monkeypatch.setenv("TARSRELEASE_HELM", helm)
    outcome = verified(source_root() / "release" / release, Wishes(offline=True))
    assert [check.reason for check in outcome.checks if check.status is Status.FAIL] == []
    assert {"chart.render", "chart.images", "chart.values"} <= {
        check.id for check in outcome.checks if check.status is Status.PASS
    }


@pytest.mark.parametrize(
    ("found", "faults"),
    [
        ({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}, []),
        ({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": 1}}, ["data.a must be text"]),
        ({"apiVersion": "v1", "kind": "ConfigMap", "data": None}, []),
        ({"apiVersion": "v1", "kind": "Configmap"}, ["Kubernetes"]),
        ({"kind": "ConfigMap"}, ["it has no apiVersion"]),
        ({"apiVersion": "v1", "kind": "Service", "spec": {"ports": {}}}, ["spec.ports must be a"]),
        (
            {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"targetPort": "http"}]}},
            ["spec.ports[0].port is missing"],
        ),
        ({"apiVersion": "v1", "kind": "Secret", "immutable": "yes"}, ["immutable must be true or"]),
    ],
)
def test_what_kubernetes_would_refuse(found: dict[str, Any], faults: list[str]) -> None:
    said = pinned_schema().faults(found)
    assert said is not None
    assert len(said) == len(faults), said
    assert all(one.startswith(start) for one, start in zip(said, faults, strict=True))


def test_a_kind_of_somebody_else_is_not_judged() -> None:
    assert pinned_schema().faults({"apiVersion": "example.org/v1", "kind": "Worker"}) is None


def test_references_are_found_and_split() -> None:
    pod = {"containers": [{"image": "a"}, {"name": "none"}], "initContainers": [{"image": "b"}]}
    assert list(image_references({"x": [{"spec": pod}]})) == ["a", "", "b"]
    assert split_reference("h:5/a/b:t@sha256:c") == ("h:5/a/b", "t", "sha256:c")
    assert split_reference("busybox") == ("busybox", "", "")
