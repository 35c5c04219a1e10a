"""What the Job's pod runs, run here: without a kubeconfig, a token or any right in a cluster."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from migration_rig import ROOT, VARIABLE, Rig, Sql, a_run

from tarsrelease.adapters.postgres.job import _job, packed
from tarsrelease.model.database import MigrationJob

JOB = MigrationJob(image="tarsrelease", secret="database")
FILES = {
    "expand.sql": Sql("ALTER TABLE missions ADD COLUMN trace_id text;"),
    "contract.sql": Sql("ALTER TABLE missions DROP COLUMN agent;", phase="contract"),
}


def as_the_pod(rig: Rig, folder: Path, *command: str, left_out: str = "") -> tuple[int, Any]:
    """Exit code and outcome of the Job's container; `left_out` is a variable it does without."""
    file = folder / "rehearsal.yaml"
    environment = yaml.safe_load((ROOT / "environments/rehearsal.yaml").read_text())
    environment["database"] = {"dsn_env": VARIABLE}
    file.write_text(yaml.safe_dump(environment))
    volume = folder / "volume"
    volume.mkdir(exist_ok=True)
    (volume / "bundle.tgz.b64").write_text(packed(folder / "bundle", file))
    arguments = ["--release", "release", "--environment", "environments/rehearsal.yaml"]
    pod = _job("a-job", JOB, VARIABLE, [*command, *arguments, "--format", "json"], a_run("day"))
    spec = pod["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    [container] = spec["containers"]
    given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    given.pop(left_out, None)
    done = subprocess.run(
        container["command"],
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": "/nonexistent",
            "VOLUME_BUNDLE": str(volume),
            VARIABLE: rig.dsn(),
            **given,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_contract_migration_asks_the_cluster_nothing_there(rig: Rig, tmp_path: Path) -> None:
    """Who made the Job has looked; a pod that had to look, too, would need rights to do so."""
    rig.release(FILES)
    code, outcome = as_the_pod(rig, tmp_path, "migrate", "up")
    assert code == 0, outcome["error"]
    contract = ("migrate", "up", "--phase", "contract")
    code, outcome = as_the_pod(rig, tmp_path, *contract, left_out="TARSRELEASE_JOB")
    assert code == 2, "by hand it looks, and there is nothing to look with"
    assert "kubeconfig" in outcome["error"]["doing"]
    code, outcome = as_the_pod(rig, tmp_path, *contract)
    assert code == 0, outcome
    assert outcome["details"]["statements"] == 1
    assert [(row.file, row.run) for row in rig.history()] == [
        ("expand.sql", "day"),
        ("contract.sql", "day"),
    ]


def test_what_is_packed_is_the_bundle_and_no_way_out_of_the_cluster(
    rig: Rig, tmp_path: Path
) -> None:
    rig.release(FILES)
    file = tmp_path / "place.yaml"
    file.write_text("kubernetes: {context: here}\ndatabase: {port_forward: {port: 5432}, x: 1GB}\n")
    content = base64.b64decode(packed(tmp_path / "bundle", file))
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(["tar", "-xz", "-C", str(unpacked)], input=content, check=True)
    assert (unpacked / "release/contract.sql").read_text() == FILES["contract.sql"].text
    environment = yaml.safe_load((unpacked / "environments/place.yaml").read_text())
    assert environment == {"kubernetes": {}, "database": {"x": "1GB"}}
