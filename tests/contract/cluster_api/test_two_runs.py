"""Two runs on a real API server: one works, the other says who does. See its audit log."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from bare_api import BareApi

from tarsrelease.adapters.helm.releases import Helm
from tarsrelease.adapters.kubernetes.client import DEPLOYMENT, KubernetesApi
from tarsrelease.adapters.kubernetes.lock import LeaseLock
from tarsrelease.model.outcome import ExitCode
from tarsrelease.model.release import Release, Run

ROOT = Path(__file__).parents[3]
_WRITES = {"create", "update", "patch", "delete"}


class Runs:
    """Starts `tarsrelease canary deploy` as one of two users; nothing here ever becomes ready."""

    def __init__(self, api: BareApi, cluster: KubernetesApi, folder: Path) -> None:
        self.api, self.cluster, self.folder = api, cluster, folder
        self.started: list[subprocess.Popen[str]] = []
        place = yaml.safe_load((ROOT / "environments" / "rehearsal.yaml").read_text())
        place["kubernetes"] |= {"context": "bare", "namespace": cluster.namespace}
        place["limits"] = {**place.get("limits", {}), "deploy": "20s"}
        self.environment = folder / "rehearsal.yaml"
        self.environment.write_text(yaml.safe_dump(place))
        for user in ("one", "two"):
            space = ("--namespace", cluster.namespace)
            api.kubectl("create", "serviceaccount", user, *space)
            api.kubectl(
                *("create", "clusterrolebinding", f"{cluster.namespace}-{user}"),
                *("--clusterrole", "cluster-admin"),
                *("--serviceaccount", f"{cluster.namespace}:{user}"),
            )

    def start(self, user: str, run: str) -> subprocess.Popen[str]:
        token = self.api.kubectl(
            "create", "token", user, "--namespace", self.cluster.namespace
        ).strip()
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tarsrelease", "canary", "deploy", "--format", "json"),
                *("--release", str(ROOT / "release" / "v1_0_1")),
                *("--environment", str(self.environment)),
                *("--evidence", str(self.folder / f"evidence-{user}-{len(self.started)}")),
            ],
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(self.folder),
                "KUBECONFIG": str(self.api.kubeconfig(token)),
                "TARSRELEASE_HELM": self.api.programs["helm"][0],
                "TARSRELEASE_RUN": run,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def outcome(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        said, shown = process.communicate(timeout=180)
        assert said.strip(), shown
        found: dict[str, Any] = json.loads(said)
        return found

    def writes(self, user: str) -> list[str]:
        name = f"system:serviceaccount:{self.cluster.namespace}:{user}"
        return [
            f"{entry['verb']} {entry['objectRef']['resource']}"
            for entry in self.api.requests_of(name)
            if entry["verb"] in _WRITES
            if entry.get("objectRef", {}).get("namespace") == self.cluster.namespace
            if "dryRun" not in entry["requestURI"] and entry["responseStatus"]["code"] < 400
        ]


@pytest.fixture
def runs(api: BareApi, cluster: KubernetesApi, release: Release, tmp_path: Path) -> Iterator[Runs]:
    """1.0.0 is installed and, as its status says, complete."""
    chart = str(Path(release.directory).parent / "v1_0_0" / "tars-1.0.0.tgz")
    Helm("bare", cluster.namespace).upgrade(
        "tars", chart, [], values_from=None, deadline=60, wait=False
    )
    for found in cluster.select(DEPLOYMENT):
        number = found["spec"]["replicas"]
        status = {
            "observedGeneration": found["metadata"]["generation"],
            **dict.fromkeys(
                ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), number
            ),
        }
        api.kubectl(
            *("patch", "deployment", found["metadata"]["name"], "--subresource", "status"),
            *("--namespace", cluster.namespace, "--type", "merge"),
            *("--patch", json.dumps({"status": status})),
        )
    started = Runs(api, cluster, tmp_path)
    yield started
    for process in started.started:
        process.kill()
        process.wait()


def test_of_two_runs_within_a_second_one_works_and_one_says_why_not(runs: Runs) -> None:
    pair = {user: runs.start(user, f"run-{user}") for user in ("one", "two")}
    outcomes = {user: runs.outcome(process) for user, process in pair.items()}
    codes = {user: outcome["exit_code"] for user, outcome in outcomes.items()}
    assert sorted(codes.values()) == [ExitCode.NO, ExitCode.LOCKED], outcomes
    refused = next(user for user, code in codes.items() if code == ExitCode.LOCKED)
    worked = "two" if refused == "one" else "one"
    assert f"run-{worked}" in outcomes[refused]["error"]["found"]
    assert {"create deployments", "patch deployments"} & set(runs.writes(worked))
    assert runs.writes(refused) == []


def test_a_run_that_was_killed_is_run_again_with_the_same_id(
    runs: Runs, cluster: KubernetesApi
) -> None:
    first = runs.start("one", "the-run")
    lock = LeaseLock(cluster, "tars", Run(id="reader", owner="test"))
    end = time.monotonic() + 60
    while lock.holder() is None or not runs.writes("one"):
        assert time.monotonic() < end, "the first run never took the lock"
        time.sleep(0.2)
    first.kill()
    first.wait()
    killed = time.monotonic()
    second = runs.outcome(runs.start("two", "the-run"))
    assert second["exit_code"] == ExitCode.NO, second
    assert time.monotonic() - killed < 120
    assert runs.writes("two")
    assert lock.holder() is None
