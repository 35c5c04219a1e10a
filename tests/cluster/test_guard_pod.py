"""The guard as a pod: rbac/guard.yaml as it is shipped, and a gate whose process is killed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tars_day import NAMESPACE, Day

from tarsrelease.rehearsal.commands import Cluster
from tarsrelease.rehearsal.images import TARSRELEASE

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "rbac" / "guard.yaml"
GUARD = "tarsrelease-guard"
LABEL = f"app.kubernetes.io/name={GUARD}"
AFTER = "5s"


@pytest.fixture
def day(cluster: Cluster, tmp_path: Path) -> Iterator[Day]:
    day = Day(cluster, tmp_path)
    day.install()
    try:
        with day.load(400.0):
            day.wait_until_scraped()
            yield day
    finally:
        day.kubectl("delete", "--ignore-not-found", "--filename", str(MANIFEST))


def config_map(day: Day, name: str, *files: str) -> None:
    """As the manifest's comment creates it."""
    given = [f"--from-file={file}" for file in files]
    made = day.kubectl("create", "configmap", name, *given, "--dry-run=client", "--output", "yaml")
    path = day.folder / f"{name}.yaml"
    path.write_text(made)
    day.kubectl("apply", "--filename", str(path))


def install_guard(day: Day) -> None:
    """The manifest and its ConfigMaps; then what this cluster's node agent lacks.

    It mounts nothing and projects no token: a process finds its volumes in variables, so it gets
    the token of the same ServiceAccount from a Secret. The programs lie in the home folder of the
    user who runs the cluster, which another user may not read.
    """
    place = yaml.safe_load(day.environment.read_text())
    del place["kubernetes"]["context"]
    place["name"] = "production"
    environment = day.folder / "production.yaml"
    environment.write_text(yaml.safe_dump(place))
    config_map(day, f"{GUARD}-release", str(ROOT / "release" / "v1_0_1"))
    config_map(day, f"{GUARD}-environment", f"production.yaml={environment}")
    day.kubectl("apply", "--filename", str(MANIFEST))
    secret = day.folder / "secret.yaml"
    kubeconfig = day.kubeconfig_of(GUARD)
    secret.write_text(
        day.kubectl(
            *("create", "secret", "generic", GUARD, f"--from-file=config={kubeconfig}"),
            *("--dry-run=client", "--output", "yaml"),
        )
    )
    day.kubectl("apply", "--filename", str(secret))
    command = next(
        each["spec"]["template"]["spec"]["containers"][0]["command"]
        for each in yaml.safe_load_all(MANIFEST.read_text())
        if each["kind"] == "Deployment"
    )
    container: dict[str, Any] = {
        "name": "guard",
        "image": ":".join(TARSRELEASE),
        "command": ["env", "KUBECONFIG=$(VOLUME_LOGIN)/config", *command],
        "args": [
            "--release=$(VOLUME_RELEASE)",
            "--environment=$(VOLUME_ENVIRONMENT)/production.yaml",
            f"--after={AFTER}",
        ],
    }
    login = {"name": "login", "secret": {"secretName": GUARD}}
    user = {"runAsUser": 0, "runAsNonRoot": False}
    spec = {"containers": [container], "volumes": [login], "securityContext": user}
    patch = json.dumps({"spec": {"template": {"spec": spec}}})
    day.kubectl("patch", "deployment", GUARD, "--patch", patch)
    log_until(day, "guarding the traffic of", 90.0)


def log_until(day: Day, text: str, seconds: float) -> str:
    """The guard's log once it has this text."""
    end = time.monotonic() + seconds
    logs = ("kubectl", "--namespace", NAMESPACE, "logs", f"deployment/{GUARD}")
    while text not in (log := day.inside(*logs, expected=None)):
        assert time.monotonic() < end, log + day.kubectl("describe", "pods", "--selector", LABEL)
        time.sleep(1.0)
    return log


def requests_of_the_guard(day: Day) -> list[dict[str, Any]]:
    """What the API server's audit log has of its ServiceAccount."""
    user = f"system:serviceaccount:{NAMESPACE}:{GUARD}"
    log = (day.cluster.folder.logs / "audit.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in log]
    return [each for each in events if each.get("user", {}).get("username") == user]


def test_the_canary_of_a_dead_runner_loses_its_traffic(day: Day) -> None:
    install_guard(day)
    day.tarsrelease("canary", "deploy")
    day.killed(
        *("canary-10: 10 %", "canary", "gate", "--stage", "10", "--skip-stages", "a test"),
        delay=2.0,
    )
    assert day.canary_weights() == [10, 10, 10]
    log = log_until(day, "moving all traffic to stable", 150.0)
    assert "nobody has evaluated" in log
    end = time.monotonic() + 10
    while day.canary_weights() != [0, 0, 0]:
        assert time.monotonic() < end, log
        time.sleep(0.2)
    asked = requests_of_the_guard(day)
    refused = [each for each in asked if each.get("responseStatus", {}).get("code", 0) >= 400]
    assert not refused
    used = {(each["objectRef"]["resource"], each["verb"]) for each in asked if "objectRef" in each}
    assert ("httproutes", "patch") in used
    assert day.versions() == {"1.0.0", "1.0.1"}
    day.assert_no_client_noticed()
    # The way on: the stage again, or a rollback.
    day.tarsrelease("canary", "gate", "--stage", "10")
    day.tarsrelease("rollback")
    assert day.versions() == {"1.0.0"}
    day.assert_nothing_of_the_canary_is_left()
    day.assert_no_client_noticed()
