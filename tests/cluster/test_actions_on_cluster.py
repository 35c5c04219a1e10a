"""The actions as another repository uses them, on a cluster: one that releases T.A.R.S. with them.

That repository holds the bundle with its chart, and its environment; the actions come from this
one by commit. Its workflow is one job, so that a step's failure is met as a job meets it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tars_day import NAMESPACE, ROOT, Day

sys.path.insert(0, str(ROOT / "tests" / "workflow"))
from elsewhere import Ran, act, commit, exported, uses

from tarsrelease.rehearsal import world
from tarsrelease.rehearsal.commands import Cluster

pytestmark = pytest.mark.full

PLACE = {
    "release": "release/v1_0_1",
    "environment": "rehearsal",
    "kubeconfig": "${{ secrets.KUBECONFIG }}",
}
DSN = {"env": {"TARS_DATABASE_DSN": "${{ secrets.DSN }}"}}


class Elsewhere:
    """The other repository, on a cluster where 1.0.0 serves."""

    def __init__(self, day: Day, folder: Path) -> None:
        self.day = day
        self.folder = folder / "repository"
        self.cache = folder / "runner"
        self.cache.mkdir()
        shutil.copytree(ROOT / "release" / "v1_0_1", self.folder / "release" / "v1_0_1")
        (self.folder / "environments").mkdir()
        shutil.copy(day.environment, self.folder / "environments" / "rehearsal.yaml")
        source = folder / "source"
        source.mkdir()
        self.export = exported(source)
        # The cluster's network leads nowhere else: what an action installs is there beforehand.
        subprocess.run(
            ["bash", str(self.export / "actions" / "_lib" / "install")],
            env={**os.environ, "TARSRELEASE_ACTIONS_CACHE": str(self.cache / "installed")},
            check=True,
            capture_output=True,
        )

    def run(self, *steps: dict[str, Any]) -> Ran:
        commit(self.folder, list(steps))
        config = yaml.safe_load(Path(self.day.cluster.env["KUBECONFIG"]).read_text())
        return act(
            self.folder,
            self.export,
            self.cache,
            through=lambda argv: self.day.cluster.run(argv, timeout=500),
            KUBECONFIG=json.dumps(config),
            DSN=world.dsn(NAMESPACE),
        )


@pytest.fixture
def elsewhere(cluster: Cluster, tmp_path: Path) -> Elsewhere:
    folder = tmp_path / "day"
    folder.mkdir()
    day = Day(cluster, folder)
    day.install()
    return Elsewhere(day, tmp_path)


def told(number: int) -> dict[str, Any]:
    """Prints how the step `s<number>` ended, whatever became of it."""
    return {
        "name": f"Told {number}",
        "if": "always()",
        "env": {
            "ENDED": f"${{{{ steps.s{number}.outputs.verdict }}}} "
            f"${{{{ steps.s{number}.outputs.exit-code }}}}",
        },
        "run": f'echo "s{number}: ${{ENDED}}"',
    }


def step(number: int, action: str, more: dict[str, Any] | None = None, **given: str) -> Any:
    return {"id": f"s{number}", **uses(action, **{**PLACE, **given}), **(more or {})}


def test_a_release_from_its_migrations_to_its_promotion(elsewhere: Elsewhere) -> None:
    stages = {"stages": "25,100", "stage-duration": "10s"}
    with elsewhere.day.load():
        ran = elsewhere.run(
            step(1, "migrate", DSN, command="up", phase="expand"), told(1),
            step(2, "migrate", DSN, command="verify"), told(2),
            step(3, "canary-deploy"), told(3),
            step(4, "canary-gate", stage="25", **stages), told(4),
            step(5, "canary-gate", stage="100", **stages), told(5),
            step(6, "promote"), told(6),
        )  # fmt: skip
        clients = elsewhere.day.clients()
    assert ran.code == 0, ran.printed[-8000:]
    for number in range(1, 7):
        assert ran.said(f"s{number}: ") == ["proceed 0"]
    assert clients["lost"] == 0
    assert set(clients["by_status"]) == {"200"}
    assert '"1.0.1"' in elsewhere.day.kubectl(
        "get", "deployment", "tars-dashboard-api", "--output", "json"
    )
    assert "mermaid" in ran.printed


def test_a_bad_canary_is_taken_off_by_the_gate_and_rolled_back_by_the_next_step(
    elsewhere: Elsewhere,
) -> None:
    stages = {"stages": "25,100", "stage-duration": "60s"}
    fault = {
        "name": "Break the canary",
        "run": "kubectl get pods --namespace tars-production --selector deployment=canary "
        "--output jsonpath='{.items[*].status.podIP}' | tr ' ' '\\n' | while read -r pod; do "
        'curl -sf -d \'{"error_share": 1.0}\' "http://${pod}:8080/_faults"; done',
        "env": {"KUBECONFIG": elsewhere.day.cluster.env["KUBECONFIG"]},
    }
    with elsewhere.day.load():
        ran = elsewhere.run(
            step(1, "canary-deploy"), told(1),
            fault,
            step(2, "canary-gate", stage="25", **stages, **{"on-hold": "continue"}), told(2),
            step(3, "promote"), told(3),
            step(4, "rollback", {"if": "failure()"}, reason="the gate's verdict"), told(4),
        )  # fmt: skip
        elsewhere.day.forget_clients()
        clients = elsewhere.day.clients()
    assert ran.code == 1
    assert ran.said("s1: ") == ["proceed 0"], ran.printed[-8000:]
    assert ran.said("s2: ") == ["rollback 11"]
    assert ran.said("s3: ") == [" "]
    assert ran.said("s4: ") == ["proceed 0"], ran.printed[-8000:]
    assert "canary.error_rate" in ran.printed
    assert clients["lost"] == 0
    left = elsewhere.day.kubectl("get", "deployments", "--output", "name")
    assert "canary" not in left
