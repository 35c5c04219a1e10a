"""Migrations from inside the cluster as a Job, and from outside through a port-forward."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tarsrelease.rehearsal import commands, world

pytestmark = pytest.mark.slow

Kubectl = Callable[..., str]
ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "release/v1_0_1"
SCHEMA = ROOT / "examples/tars/services/internal/store/schema.sql"
IMAGE = "ghcr.io/tars-ai/tarsrelease"
SERVICE = f"tars-postgres.{world.PRODUCTION}.svc.cluster.local"
DSN = "postgresql://tars:tars@{host}:5432/{database}"
VARIABLE = "TARS_DATABASE_DSN"


class Place:
    """One database in the cluster's PostgreSQL, and the environment that leads to it."""

    def __init__(
        self, cluster: commands.Cluster, kubectl: Kubectl, name: str, folder: Path
    ) -> None:
        self.cluster = cluster
        self.kubectl = kubectl
        self.name = name
        self.folder = folder
        self.dsn = DSN.format(host=SERVICE, database=name)
        self.psql("tars", f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
        self.psql(name, SCHEMA.read_text())

    def psql(self, database: str, *statements: str) -> str:
        argv = ["psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1"]
        for one in statements:
            argv += ["-c", one]
        done = self.cluster.run([*argv, DSN.format(host=SERVICE, database=database)], timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def migrate(self, *arguments: str, dsn: str, **database: Any) -> dict[str, Any]:
        """Run the command inside; its outcome."""
        environment = yaml.safe_load((ROOT / "environments/rehearsal.yaml").read_text())
        environment["name"] = "here"
        environment["kubernetes"]["context"] = self.cluster.context
        environment["database"] = {"dsn_env": VARIABLE, **database}
        file = self.folder / "here.yaml"
        file.write_text(yaml.safe_dump(environment))
        done = self.cluster.run(
            [
                *(sys.executable, "-m", "tarsrelease", "migrate", *arguments, "--format", "json"),
                *("--release", str(BUNDLE), "--environment", str(file)),
                *("--evidence", str(self.folder / "evidence")),
            ],
            env={**self.cluster.env, VARIABLE: dsn},
            timeout=300,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        found["progress"] = done.stderr
        assert done.returncode == found["exit_code"]
        return found

    def indexes(self) -> str:
        return self.psql(self.name, "SELECT count(*) FROM pg_indexes WHERE indexname ~ '^idx_'")


@pytest.fixture
def secret(kubectl: Kubectl) -> str:
    """The DSN as the cluster keeps it; the tool itself never sees it."""
    name = "migration-dsn"
    kubectl("-n", world.PRODUCTION, "delete", "secret", name, "--ignore-not-found")
    dsn = DSN.format(host=SERVICE, database="by_job")
    kubectl(
        *("-n", world.PRODUCTION, "create", "secret", "generic", name, f"--from-literal=dsn={dsn}")
    )
    return name


def know_the_image(cluster: commands.Cluster) -> None:
    """Let the node agent start this tarsrelease for its image."""
    path = cluster.folder.images
    known = json.loads(path.read_text())
    path_of_venv = f"{Path(sys.executable).parent}{os.pathsep}/usr/local/bin:/usr/bin:/bin"
    entry = {
        "name": IMAGE,
        "tag": "test",
        "digest": "sha256:" + "0" * 64,
        "command": [str(Path(sys.executable).parent / "tarsrelease")],
        "env": {"PATH": path_of_venv},
    }
    known["images"] = [one for one in known["images"] if one["name"] != IMAGE] + [entry]
    path.write_text(json.dumps(known))


def test_a_job_migrates_where_the_database_is(
    cluster: commands.Cluster, kubectl: Kubectl, secret: str, tmp_path: Path
) -> None:
    know_the_image(cluster)
    place = Place(cluster, kubectl, "by_job", tmp_path)
    job = {"image": f"{IMAGE}:test", "secret": secret}
    outcome = place.migrate("up", "--as-job", dsn="", job=job)
    assert outcome["verdict"] == "proceed", outcome["error"]
    assert outcome["details"]["statements"] == 4
    assert "job: " in outcome["progress"], "its progress is shown as it comes"
    assert "idx_traces_span_id" in outcome["progress"]
    assert place.indexes() == "3"
    assert "by_job" not in outcome["progress"], "the DSN is not said"
    jobs = json.loads(kubectl("-n", world.PRODUCTION, "get", "jobs", "-o", "json"))["items"]
    mine = [one for one in jobs if one["metadata"]["name"].startswith("tarsrelease-migrate-")]
    assert [one["status"]["succeeded"] for one in mine] == [1]

    verified = place.migrate("verify", "--as-job", dsn="", job=job, answers_within="1s")
    assert verified["verdict"] == "proceed", verified["error"] or verified["checks"]

    place.psql("by_job", "DROP INDEX idx_traces_span_id")
    failed = place.migrate("verify", "--as-job", dsn="", job=job, answers_within="1s")
    assert failed["exit_code"] == 1, "a Job that fails gives its outcome all the same"


def test_a_job_that_cannot_start_says_why(
    cluster: commands.Cluster, kubectl: Kubectl, secret: str, tmp_path: Path
) -> None:
    place = Place(cluster, kubectl, "not_by_job", tmp_path)
    job = {"image": "ghcr.io/tars-ai/nowhere:1", "secret": secret}
    outcome = place.migrate("up", "--as-job", dsn="", job=job)
    assert outcome["exit_code"] == 2
    assert "Image" in outcome["error"]["found"] or "ErrImage" in outcome["error"]["found"]
    assert place.indexes() == "0"


def test_a_port_forward_leads_to_the_database(
    cluster: commands.Cluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    place = Place(cluster, kubectl, "by_forward", tmp_path)
    # A name that nobody resolves: only the port-forward leads there.
    dsn = DSN.format(host="postgres.invalid", database="by_forward")
    forward = {"service": "tars-postgres", "port": 5432}
    outcome = place.migrate("up", dsn=dsn, port_forward=forward)
    assert outcome["verdict"] == "proceed", outcome["error"]
    assert place.indexes() == "3"

    wrong = place.migrate("up", dsn=dsn, port_forward={"service": "nobody", "port": 5432})
    assert wrong["exit_code"] == 69
    assert "nobody" in wrong["error"]["found"]
