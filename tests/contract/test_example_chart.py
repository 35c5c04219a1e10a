"""The worked example's chart as the bundles hold it, rendered by Helm."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tarsrelease.rehearsal.binaries import resolve
from tarsrelease.rehearsal.paths import cache_root

ROOT = Path(__file__).parents[2]
SERVICES = {"orchestration-agent", "insight-engine", "dashboard-api"}
ONCE = {"CronJob", "Job", "StatefulSet", "PersistentVolumeClaim", "HorizontalPodAutoscaler"}

Helm = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def helm() -> Helm:
    program = resolve(cache_root(), print).commands["helm"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*program, *arguments], capture_output=True, text=True, check=False, timeout=60
        )

    return run


def rendered(helm: Helm, release: str, version: str, *arguments: str) -> list[dict[str, Any]]:
    archive = ROOT / f"release/v{version.replace('.', '_')}/tars-{version}.tgz"
    done = helm("template", release, str(archive), "--namespace", "somewhere", *arguments)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def names(documents: list[dict[str, Any]], kind: str) -> set[str]:
    return {each["metadata"]["name"] for each in documents if each["kind"] == kind}


@pytest.mark.parametrize("version", ["1.0.0", "1.0.1"])
def test_stable_and_canary_share_nothing(helm: Helm, version: str) -> None:
    folder = ROOT / f"release/v{version.replace('.', '_')}"
    stable = rendered(helm, "tars", version)
    canary = rendered(helm, "tars-canary", version, "-f", str(folder / "values-canary.yaml"))
    for documents, prefix in ((stable, "tars"), (canary, "tars-canary")):
        assert names(documents, "Service") == {f"{prefix}-{service}" for service in SERVICES}
        assert names(documents, "Deployment") == {
            f"{prefix}-{service}" for service in SERVICES | {"ppo-agent"}
        }
        assert names(documents, "ConfigMap") == {f"{prefix}-config"}
    assert names(stable, "CronJob") == {"tars-db-maintenance"}
    assert not {each["kind"] for each in canary} & ONCE
    assert not any(each["kind"] == "HTTPRoute" for each in stable + canary)
    both = [
        {(each["kind"], each["metadata"]["name"]) for each in part} for part in (stable, canary)
    ]
    assert not both[0] & both[1]
    for service in (each for each in stable + canary if each["kind"] == "Service"):
        selected = [
            each["metadata"]["name"]
            for each in stable + canary
            if each["kind"] == "Deployment"
            and service["spec"]["selector"].items()
            <= each["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert selected == [service["metadata"]["name"]]


@pytest.mark.parametrize("version", ["1.0.0", "1.0.1"])
def test_images_are_pinned_as_the_bundle_says(helm: Helm, version: str) -> None:
    manifest = yaml.safe_load(
        (ROOT / f"release/v{version.replace('.', '_')}/manifest.production.json").read_text()
    )
    allowed = {f"{i['name']}:{i['tag']}@{i['digest']}" for i in manifest["images"]}
    used = {
        container["image"]
        for each in rendered(helm, "tars", version)
        if each["kind"] == "Deployment"
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert used == allowed


def test_pods_end_without_losing_requests(helm: Helm) -> None:
    for each in rendered(helm, "tars", "1.0.1"):
        if each["kind"] != "Deployment":
            continue
        assert each["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        pod = each["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["lifecycle"]["preStop"] == {"sleep": {"seconds": 3}}
        config = next(e for e in rendered(helm, "tars", "1.0.1") if e["kind"] == "ConfigMap")
        drain = float(config["data"]["TARS_DRAIN_SECONDS"])
        # Five seconds for open requests, three for WebSocket clients' farewell.
        assert 3 + drain + 5 + 3 < pod["terminationGracePeriodSeconds"]


def test_labels_tell_whose_a_pod_is(helm: Helm) -> None:
    for each in rendered(helm, "tars", "1.0.1"):
        if each["kind"] == "Deployment":
            metadata = each["spec"]["template"]["metadata"]
            service = each["metadata"]["name"].removeprefix("tars-")
            expected = {
                "app.kubernetes.io/name": "tars",
                "app": f"tars-{service}",
                "service": service,
                "deployment": "stable",
                "version": "1.0.1",
            } | ({"agent_type": "ppo"} if service == "ppo-agent" else {})
            assert expected.items() <= metadata["labels"].items()
            assert metadata["annotations"]["prometheus.io/scrape"] == "true"
            assert metadata["annotations"]["prometheus.io/port"] == "8080"


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("replica=2", "replica"),
        ("deployment=blue", "deployment"),
        ("images.dashboard-api.digest=sha256:12", "digest"),
        ("drainSeconds=60", "drainSeconds"),
    ],
)
def test_wrong_values_are_refused(helm: Helm, setting: str, named: str) -> None:
    done = helm("template", "tars", str(ROOT / "release/v1_0_1/tars-1.0.1.tgz"), "--set", setting)
    assert done.returncode != 0
    assert named in done.stderr


def test_lint_is_clean(helm: Helm) -> None:
    done = helm("lint", "--strict", str(ROOT / "examples/tars/chart"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_feature_flags_reach_the_pods_and_a_changed_flag_rolls_them(helm: Helm) -> None:
    def seen(flag: str) -> tuple[str, str]:
        documents = rendered(helm, "tars", "1.0.1", "--set", f"featureFlags.missions_cache={flag}")
        config = next(each for each in documents if each["kind"] == "ConfigMap")["data"]
        deployment = next(each for each in documents if each["kind"] == "Deployment")
        annotations = deployment["spec"]["template"]["metadata"]["annotations"]
        return config["TARS_FEATURE_MISSIONS_CACHE"], annotations["checksum/config"]

    on, off = seen("true"), seen("false")
    assert (on[0], off[0]) == ("true", "false")
    assert on[1] != off[1]
