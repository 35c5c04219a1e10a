"""Migrations from inside the cluster as a Job, and from outside through a port-forward."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tarsrelease.rehearsal import commands, world
from tarsrelease.rehearsal.images import TARSRELEASE

pytestmark = pytest.mark.slow

Kubectl = Callable[..., str]
ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "release/v1_0_1"
SCHEMA = ROOT / "examples/tars/services/internal/store/schema.sql"
IMAGE = ":".join(TARSRELEASE)
SERVICE = f"tars-postgres.{world.PRODUCTION}.svc.cluster.local"
DSN = "postgresql://tars:rehearsal-only@{host}:5432/{database}"
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
        server = "postgres" if name == "tars" else "tars"
        dropped = f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
        self.psql(server, dropped, f"CREATE DATABASE {name}")
        self.psql(name, SCHEMA.read_text())

    def psql(self, database: str, *statements: str) -> str:
        argv = ["psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1"]
        for one in statements:
            argv += ["-c", one]
        done = self.cluster.run([*argv, DSN.format(host=SERVICE, database=database)], timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def migrate(
        self, *arguments: str, dsn: str, bundle: Path = BUNDLE, **database: Any
    ) -> dict[str, Any]:
        """Run the command inside; its outcome."""
        environment = yaml.safe_load((ROOT / "environments/rehearsal.yaml").read_text())
        environment["name"] = "here"
        environment["kubernetes"]["context"] = world.CONTEXT
        environment["database"] = {"dsn_env": VARIABLE, **database}
        file = self.folder / "here.yaml"
        file.write_text(yaml.safe_dump(environment))
        done = self.cluster.run(
            [
                *(sys.executable, "-m", "tarsrelease", "migrate", *arguments, "--format", "json"),
                *("--release", str(bundle), "--environment", str(file)),
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


def test_a_job_migrates_where_the_database_is(
    cluster: commands.Cluster, kubectl: Kubectl, secret: str, tmp_path: Path
) -> None:
    place = Place(cluster, kubectl, "by_job", tmp_path)
    account = "migrator"  # with no right at all
    kubectl("-n", world.PRODUCTION, "delete", "serviceaccount", account, "--ignore-not-found")
    kubectl("-n", world.PRODUCTION, "create", "serviceaccount", account)
    job = {"image": IMAGE, "secret": secret, "service_account": account}
    outcome = place.migrate("up", "--as-job", dsn="", job=job)
    assert outcome["verdict"] == "proceed", outcome["error"]
    assert outcome["details"]["statements"] == 4
    assert "job: " in outcome["progress"], "its progress is shown as it comes"
    assert "idx_traces_span_id" in outcome["progress"]
    assert place.indexes() == "3"
    assert "by_job" not in outcome["progress"], "the DSN is not said"
    assert "journal" not in outcome["progress"], "who made the Job keeps the journal"
    jobs = json.loads(kubectl("-n", world.PRODUCTION, "get", "jobs", "-o", "json"))["items"]
    mine = [one for one in jobs if one["metadata"]["name"].startswith("tarsrelease-migrate-")]
    assert [one["status"]["succeeded"] for one in mine] == [1]
    [name] = [one["metadata"]["name"] for one in mine]
    ran_as = kubectl(
        *("-n", world.PRODUCTION, "get", "pods", "-l", f"job-name={name}"),
        *("-o", "jsonpath={.items[*].spec.serviceAccountName}"),
    )
    assert ran_as == account

    verified = place.migrate("verify", "--as-job", dsn="", job=job, answers_within="1s")
    assert verified["verdict"] == "proceed", verified["error"] or verified["checks"]

    place.psql("by_job", "DROP INDEX idx_traces_span_id")
    failed = place.migrate("verify", "--as-job", dsn="", job=job, answers_within="1s")
    assert failed["exit_code"] == 1, "a Job that fails gives its outcome all the same"


def test_the_shipped_environment_needs_nothing_else_in_a_rehearsal(
    cluster: commands.Cluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    """As in `rehearse shell`: the variable is set, and the image and the Secret are there."""
    place = Place(cluster, kubectl, "tars", tmp_path)
    shipped = yaml.safe_load((ROOT / "environments/rehearsal.yaml").read_text())["database"]
    outcome = place.migrate("up", "--as-job", dsn="", job=shipped["job"])
    assert outcome["verdict"] == "proceed", outcome["error"]
    here = place.migrate("status", dsn=cluster.env[VARIABLE])
    assert here["verdict"] == "proceed", here["error"]
    assert place.indexes() == "3"


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


KILLS = int(os.environ.get("TARSRELEASE_KILLS", "100"))
"""How often a Job is killed; fewer for a trial."""
SEED = os.environ.get("TARSRELEASE_KILLS_SEED", "as job")
"""Another seed gives other instants, so that a run can be split into portions."""


def migrating() -> list[int]:
    """Processes of the cluster's Jobs that migrate; a pod is a process of this machine.

    Those of a test beside this one are outside of the cluster's network.
    """
    own = Path("/proc/self/ns/net").readlink()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (
                b"tarsrelease\0migrate\0up" in (path / "cmdline").read_bytes()
                and (path / "ns/net").readlink() != own
                and b"\0TARSRELEASE_JOB=" in b"\0" + (path / "environ").read_bytes()
            ):
                found.append(int(path.name))
    return found


@pytest.mark.full
@pytest.mark.timeout(7200)
def test_a_job_that_is_killed_at_any_instant_is_continued_by_the_next_one(
    cluster: commands.Cluster, kubectl: Kubectl, secret: str, tmp_path: Path
) -> None:
    place = Place(cluster, kubectl, "by_job", tmp_path)
    job = {"image": IMAGE, "secret": secret}

    def run() -> dict[str, Any]:
        return place.migrate("up", "--as-job", "--wait", "30s", dsn="", job=job)

    def started() -> float:
        """The instant at which the pod's process is there."""
        deadline = time.monotonic() + 120
        while not migrating():
            assert time.monotonic() < deadline, "no process of a Job"
            time.sleep(0.02)
        return time.monotonic()

    with ThreadPoolExecutor(1) as pool:
        undisturbed = pool.submit(run)
        began = started()
        assert undisturbed.result()["verdict"] == "proceed", undisturbed.result()
        longest = time.monotonic() - began
        instants = random.Random(SEED)
        stopped = 0
        for _ in range(KILLS):
            place.psql("by_job", "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
            place.psql("by_job", SCHEMA.read_text())
            instant = instants.uniform(0, longest)
            running = pool.submit(run)
            started()
            time.sleep(instant)
            for pid in migrating():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            stopped += running.result()["verdict"] != "proceed"
            again = run()
            assert again["verdict"] == "proceed", (instant, again["error"])
            assert place.indexes() == "3", instant
            invalid = "SELECT count(*) FROM pg_index WHERE NOT (indisvalid AND indisready)"
            assert place.psql("by_job", invalid) == "0", instant
            finished = place.psql(
                "by_job",
                "SELECT string_agg(statement::text, ',' ORDER BY statement) "
                "FROM tarsrelease_migrations WHERE finished IS NOT NULL",
            )
            assert finished == "1,1,2,3", instant  # two files
    assert stopped > KILLS / 4, "most instants were after the end"


CONTRACT = "DROP INDEX CONCURRENTLY IF EXISTS idx_missions_status_created;\n"
STABLE = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: tars-dashboard-api, namespace: {world.PRODUCTION}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: tars-dashboard-api}}}}
  template:
    metadata:
      labels: {{app: tars-dashboard-api, deployment: stable, version: "VERSION"}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: {IMAGE}
          command: [sleep, "600"]
"""
_JOURNAL = """
import sys
from datetime import UTC, datetime
from tarsrelease.adapters.kubernetes.journal import ConfigMapJournal
from tarsrelease.adapters.kubernetes.client import KubernetesApi
from tarsrelease.model.journal import Entry, Phase
journal = ConfigMapJournal(KubernetesApi.connect(sys.argv[1], sys.argv[2]), "tars")
for action, phase in (("deploy", Phase.INTENT), ("promote", Phase.RESULT)):
    journal.append(Entry(at=datetime.now(UTC), run="day", release="1.0.1", step=action,
                         action=action, phase=phase))
"""


def with_contract(folder: Path) -> Path:
    """The example's bundle with a contract migration in it."""
    bundle = folder / "bundle"
    shutil.copytree(BUNDLE, bundle)
    (bundle / "migrations/contract.sql").write_text(CONTRACT)
    path = bundle / "manifest.production.json"
    manifest = json.loads(path.read_text())
    digest = hashlib.sha256(CONTRACT.encode()).hexdigest()
    manifest["migrations"].append(
        {"file": "migrations/contract.sql", "phase": "contract", "order": 1, "sha256": digest}
    )
    path.write_text(json.dumps(manifest))
    listed = sorted(each for each in bundle.rglob("*") if each.is_file())
    (bundle / "SHA256SUMS").write_text(
        "".join(
            f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.relative_to(bundle)}\n"
            for each in listed
            if each.name != "SHA256SUMS"
        )
    )
    return bundle


def test_contract_waits_until_nothing_can_be_rolled_back_to(
    cluster: commands.Cluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    place = Place(cluster, kubectl, "contract", tmp_path)
    bundle = with_contract(tmp_path)
    kubectl("-n", world.PRODUCTION, "delete", "configmap", "tarsrelease-tars", "--ignore-not-found")

    def contract(after: str, *how: str, dsn: str = place.dsn, **more: Any) -> dict[str, Any]:
        return place.migrate(
            *("up", "--phase", "contract", *how),
            dsn=dsn,
            bundle=bundle,
            contract_after=after,
            **more,
        )

    space = ("-n", world.PRODUCTION)
    kubectl(*space, "delete", "secret", "contract-dsn", "--ignore-not-found")
    kubectl(
        *space, "create", "secret", "generic", "contract-dsn", f"--from-literal=dsn={place.dsn}"
    )
    by_job: dict[str, Any] = {"dsn": "", "job": {"image": IMAGE, "secret": "contract-dsn"}}

    def stable(version: str) -> None:
        kubectl("apply", "-f", "-", stdin=STABLE.replace("VERSION", version))
        place_of = ("-n", world.PRODUCTION, "deployment/tars-dashboard-api", "--timeout=60s")
        kubectl("rollout", "status", *place_of)

    def refused(after: str, *reasons: str) -> None:
        for outcome in (contract(after), contract(after, "--as-job", **by_job)):
            assert outcome["exit_code"] == 1, outcome
            for reason in reasons:
                assert reason in outcome["error"]["found"]
        assert place.indexes() == "3"
        assert kubectl(*space, "get", "jobs", "-o", "name") == jobs, "none was made"

    jobs = kubectl(*space, "get", "jobs", "-o", "name")
    expanded = place.migrate("up", dsn=place.dsn, bundle=bundle)
    assert expanded["verdict"] == "proceed", expanded["error"]
    try:
        stable("1.0.0")
        refused("1s", "has not been promoted", "pods of 1.0.0 still run")
        argv = [sys.executable, "-c", _JOURNAL, world.CONTEXT, world.PRODUCTION]
        done = cluster.run(argv, timeout=60)
        assert done.returncode == 0, done.stderr
        refused("1h", "is watched until", "pods of 1.0.0 still run")
        stable("1.0.1")
        kubectl(
            *("-n", world.PRODUCTION, "wait", "--for=delete", "pod", "--timeout=60s"),
            *("-l", "app=tars-dashboard-api,version=1.0.0"),
        )
        refused("1h", "is watched until")
        outcome = contract("1s", "--as-job", **by_job)
        assert outcome["verdict"] == "proceed", outcome["error"]
        assert "Job tarsrelease-migrate-" in outcome["progress"]
        assert outcome["details"]["statements"] == 1
        assert place.indexes() == "2"
    finally:
        kubectl("-n", world.PRODUCTION, "delete", "deployment", "tars-dashboard-api")
        kubectl(
            *("-n", world.PRODUCTION, "delete", "configmap", "tarsrelease-tars"),
            "--ignore-not-found",
        )


def test_the_pods_use_is_read_from_prometheus_and_guarded(
    cluster: commands.Cluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    place = Place(cluster, kubectl, "guarded", tmp_path)
    pod = f'{{namespace="{world.PRODUCTION}",pod=~"tars-postgres-.*"}}'

    def guards(memory_below: str) -> dict[str, Any]:
        usage = {
            "cpu": f"container_cpu_usage_seconds_total{pod}",
            "cpu_below": 8,
            "memory": f"container_memory_working_set_bytes{pod}",
            "memory_below": memory_below,
        }
        return {"usage": usage, "patience": "3s"}

    held = place.migrate("up", dsn=place.dsn, guards=guards("1MB"))
    assert held["exit_code"] == 10, held
    [memory] = [check for check in held["checks"] if check["id"] == "database.memory"]
    assert memory["status"] == "fail"
    assert memory["observed"]["value"] > 1e6
    assert place.indexes() == "0", "nothing was begun"

    done = place.migrate("up", dsn=place.dsn, guards=guards("2GB"))
    assert done["verdict"] == "proceed", done
    read = {check["id"]: check for check in done["checks"]}
    assert read["database.memory"]["observed"]["value"] == pytest.approx(
        memory["observed"]["value"], rel=0.9
    )
    assert read["database.cpu"]["observed"]["value"] > 0
