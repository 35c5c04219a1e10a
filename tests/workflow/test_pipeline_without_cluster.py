"""The real pipeline with its real actions, as far as it comes where no cluster answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import standin
import yaml
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


def played(
    folder: Path, *, tamper: bool = False, passes: Sequence[str] = (), **fields: str
) -> Came:
    repository = Repository(folder / "run", passes=passes)
    repository.variables = {"TARSRELEASE_REQUIRE": "migrations"}
    repository.secrets = {
        "KUBECONFIG": NOWHERE,
        "TARS_DATABASE_DSN": "postgresql://reader:of-no-use@127.0.0.1:1/nothing",
        **standin.SECRETS,
    }
    cache = cache_root() / "actions"
    repository.env = {"TARSRELEASE_ACTIONS_CACHE": str(cache), "PYTHON": sys.executable}
    if tamper:
        notes = repository.root / "release" / "v1_0_1" / "RELEASE_NOTES.md"
        notes.write_text(notes.read_text() + "one more line\n")
    inputs = {"canary_stages": "10,100", "environment": "rehearsal", **fields}
    with standin.running(folder / "told.jsonl") as address:
        place = repository.root / "environments" / "rehearsal.yaml"
        standin.write(place, address)
        content = yaml.safe_load(place.read_text())
        content["limits"]["rollback"] = "15s"  # nothing answers, and it tries all that time
        place.write_text(yaml.safe_dump(content))
        repository.secrets |= {"TARS_SLACK_WEBHOOK_URL": f"{address}/hook"}
        return repository.run(PIPELINE, inputs, timeout=500)


def outcomes(came: Came, job: str) -> list[dict[str, Any]]:
    lines = (came.artifacts / f"evidence-{job}-1" / "evidence.jsonl").read_text().splitlines()
    return [json.loads(line)["outcome"] for line in lines]


@pytest.mark.parametrize("stages", ["10,50", "$(touch /tmp/owned),100", "1,100\n::error::x"])
def test_a_bad_list_of_stages_ends_the_day_before_it_begins(tmp_path: Path, stages: str) -> None:
    came = played(tmp_path, canary_stages=stages)
    assert came.code != 0
    assert came.ran() == {"plan", "finish", "attest"}, came.log[-4000:]
    assert not Path("/tmp/owned").exists()


def test_a_bundle_that_was_touched_is_not_approved_by_anybody(tmp_path: Path) -> None:
    came = played(tmp_path, tamper=True)
    assert came.ran() == {"plan", "verify", "environments", "finish", "attest"}, came.log[-4000:]
    [verified] = outcomes(came, "verify")
    assert verified["verdict"] == "no-go"


def report(what: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tarsrelease", "report", what, str(folder), *more],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )


LOOKED = {"plan", "verify", "environments", "go_no_go", "finish", "attest"}


def test_a_cluster_that_does_not_answer_is_a_no_before_anybody_is_asked(tmp_path: Path) -> None:
    came = played(tmp_path)
    assert came.ran() == LOOKED, came.log[-4000:]
    [asked] = outcomes(came, "environments")
    assert asked["verdict"] == "proceed", asked
    [criteria] = outcomes(came, "go_no_go")
    assert criteria["verdict"] == "no-go"
    checks = {check["id"]: check for check in criteria["checks"]}
    assert checks["go_no_go.verified"]["status"] == "pass", "the evidence of verify was taken up"
    assert checks["go_no_go.stable"]["status"] == "error"
    assert standin.told(tmp_path / "told.jsonl") == []
    whole = report("evidence", came.artifacts)
    assert whole.returncode == 0, whole.stdout
    shutil.rmtree(came.artifacts / "evidence-verify-1")
    assert report("evidence", came.artifacts).returncode == 1, "go_no_go names what is missing"


def test_a_database_that_does_not_answer_ends_in_the_rollback_job(tmp_path: Path) -> None:
    came = played(tmp_path, passes=("go_no_go", "preflight"), notify_pagerduty="true")
    assert came.code != 0
    approvals = {"approve_release_manager", "approve_sre", "ask_release_manager", "ask_sre"}
    expected = LOOKED | approvals | {"preflight", "migrate", "rollback"}
    assert came.ran() == expected, came.log[-4000:]
    planned, begun, migrated = outcomes(came, "migrate")
    assert planned["step"] == begun["step"] == "notify send"
    assert migrated["exit_code"] == 69
    back, announced, said = outcomes(came, "rollback")
    assert back["exit_code"] == 69
    assert announced["step"] == "messages"
    assert said["details"]["warnings"] == []
    told = standin.told(tmp_path / "told.jsonl")
    # Each channel has its own order, and both are told at the same time.
    words = ("approval", "approval", "scheduled", "begun", "being rolled back", "could not be")
    texts = [body["text"] for path, body in told if path == "/hook"]
    assert len(texts) == len(words)
    assert all(word in text for word, text in zip(words, texts, strict=True)), texts
    paged = [(path, body) for path, body in told if path != "/hook"]
    assert [path for path, _ in paged] == ["/v2/change/enqueue"] * 5 + ["/v2/enqueue"]
    assert (came.artifacts / "page-1" / "release.html").is_file()
    assert paged[-1][1]["payload"]["severity"] == "critical"
    assert "of-no-use" not in came.log, "a secret was printed"
    page = report("day", came.artifacts, "--format", "markdown").stdout
    assert "the rollback ended UNREACHABLE" in page
    for step in ("plan", "verify", "migrate up", "rollback"):
        assert f"| {step} |" in page
