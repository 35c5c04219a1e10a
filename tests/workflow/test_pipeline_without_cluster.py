"""The real pipeline with its real actions, as far as it comes where no cluster answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from act_runs import PIPELINE, ROOT, Came, Repository

from tarsrelease.rehearsal.paths import cache_root

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NOWHERE = """\
apiVersion: v1
kind: Config
current-context: rehearsal
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: rehearsal, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: of-no-use-at-all}}]
"""


def played(folder: Path, *, tamper: bool = False, **fields: str) -> Came:
    repository = Repository(folder / "run")
    repository.variables = {"TARSRELEASE_REQUIRE": "migrations"}
    repository.secrets = {
        "KUBECONFIG": NOWHERE,
        "TARS_DATABASE_DSN": "postgresql://reader:of-no-use@127.0.0.1:1/nothing",
    }
    cache = cache_root() / "actions"
    repository.env = {"TARSRELEASE_ACTIONS_CACHE": str(cache), "PYTHON": sys.executable}
    if tamper:
        notes = repository.root / "release" / "v1_0_1" / "RELEASE_NOTES.md"
        notes.write_text(notes.read_text() + "one more line\n")
    inputs = {"canary_stages": "10,100", "environment": "rehearsal", **fields}
    return repository.run(PIPELINE, inputs, timeout=500)


def outcomes(came: Came, job: str) -> list[dict[str, object]]:
    lines = (came.artifacts / f"evidence-{job}-1" / "evidence.jsonl").read_text().splitlines()
    return [json.loads(line)["outcome"] for line in lines]


@pytest.mark.parametrize("stages", ["10,50", "$(touch /tmp/owned),100", "1,100\n::error::x"])
def test_a_bad_list_of_stages_ends_the_day_before_it_begins(tmp_path: Path, stages: str) -> None:
    came = played(tmp_path, canary_stages=stages)
    assert came.code != 0
    assert came.ran() == {"plan", "finish"}, came.log[-4000:]
    assert not Path("/tmp/owned").exists()


def test_a_bundle_that_was_touched_is_not_approved_by_anybody(tmp_path: Path) -> None:
    came = played(tmp_path, tamper=True)
    assert came.ran() == {"plan", "verify", "finish"}, came.log[-4000:]
    [verified] = outcomes(came, "verify")
    assert verified["verdict"] == "no-go"


def test_a_database_that_does_not_answer_ends_in_the_rollback_job(tmp_path: Path) -> None:
    came = played(tmp_path)
    assert came.code != 0
    approvals = {"approve_release_manager", "approve_sre"}
    expected = {"plan", "verify", "migrate", "rollback", "finish"} | approvals
    assert came.ran() == expected, came.log[-4000:]
    [migrated] = outcomes(came, "migrate")
    assert migrated["exit_code"] == 69
    [back] = outcomes(came, "rollback")
    assert back["exit_code"] == 69
    assert "of-no-use" not in came.log, "a secret was printed"
    page = subprocess.run(
        [
            *(sys.executable, "-m", "tarsrelease", "report", "day", str(came.artifacts)),
            *("--format", "markdown"),
        ],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "the rollback ended UNREACHABLE" in page
    for step in ("plan", "verify", "migrate up", "rollback"):
        assert f"| {step} |" in page
