"""The real pipeline, run by act, whose real jobs talk to the API of the rehearsal cluster.

What is replaced: see act_runs. Stages are short, the canary's load is that of a rehearsal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import standin
import yaml
from act_runs import PIPELINE, ROOT, Came, Repository
from scenarios import SCENARIOS, Scenario, table

sys.path.insert(0, str(ROOT / "tests" / "cluster"))

from tars_day import NAMESPACE, Day

from tarsrelease.rehearsal import commands, world
from tarsrelease.rehearsal.paths import cache_root

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STAGE_MINUTES = "0.2"
"""Twelve seconds: with the rehearsal's confidence enough requests to decide."""


def test_the_table_in_the_documentation_is_that_of_the_scenarios() -> None:
    text = (ROOT / "docs" / "pipeline.md").read_text()
    assert "\n".join(table()) in text, "python tests/workflow/scenarios.py prints it"


@pytest.fixture(scope="module")
def cluster() -> Iterator[commands.Cluster]:
    running = commands.up(f"workflow-{os.getpid()}", print, tied=True)
    try:
        yield running
    finally:
        running.close(keep_logs=False)


@pytest.fixture(scope="module")
def packages() -> Path:
    """What the actions install, before the run goes where no index can be reached."""
    cache = cache_root() / "actions"
    variables = {
        **os.environ,
        "TARSRELEASE_ACTIONS_CACHE": str(cache),
        "PYTHON": sys.executable,
    }
    install = str(ROOT / "actions" / "_lib" / "install")
    subprocess.run(["bash", install], env=variables, check=True, timeout=300)
    return cache


class OnCluster(Repository):
    """The repository as it is, with an environment file for this very cluster."""

    def _step(self, step: dict[str, Any]) -> dict[str, Any]:
        if "scripts/approval" in step.get("run", ""):
            return {**step, "run": f"GITHUB_API_URL={self.address} {step['run']}"}
        return step

    def prepare(self, day: Day, packages: Path, address: str) -> None:
        cluster = day.cluster
        self.address = address
        target = self.root / "environments" / "rehearsal.yaml"
        content = yaml.safe_load(target.read_text())
        content["kubernetes"]["context"] = world.CONTEXT
        content["limits"] |= {"deploy": "90s"}
        content["overrides"] |= {"max_extension": "60s", "promotion_look": "5s"}
        target.write_text(yaml.safe_dump(content))
        standin.write(target, address)
        account = self.folder / "kubeconfig-tarsrelease"
        inside = [
            *(sys.executable, "-c", _ACCOUNT, NAMESPACE, str(ROOT / "rbac" / "role.yaml")),
            *(str(cluster.kubeconfig), str(account)),
        ]
        done = cluster.run(inside, timeout=60)
        assert done.returncode == 0, done.stderr
        self.variables = {"TARSRELEASE_REQUIRE": "chart"}
        self.secrets = {
            **standin.SECRETS,
            "TARS_SLACK_WEBHOOK_URL": f"{address}/hook",
            "KUBECONFIG": account.read_text(),
            world.DSN_VARIABLE: world.dsn(NAMESPACE),
        }
        self.enter = cluster.enter_argv
        kept = ("KUBECACHEDIR", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "NO_PROXY")
        self.env = {
            **{name: cluster.env[name] for name in kept},
            "TARSRELEASE_ACTIONS_CACHE": str(packages),
            "PYTHON": sys.executable,
        }
        self.path = cluster.env["PATH"]


_ACCOUNT = """
import sys
from pathlib import Path
from tarsrelease.rehearsal.access import as_service_account
namespace, role, source, target = sys.argv[1:]
as_service_account(["kubectl"], namespace, Path(role), Path(source), Path(target))
"""


@contextmanager
def disturbed(day: Day, repository: OnCluster, fault: str | None) -> Iterator[None]:
    if fault is None:
        yield
        return
    script = str(Path(__file__).with_name("disturb.py"))
    environment = str(repository.root / "environments" / "rehearsal.yaml")
    argv = day.cluster.enter_argv([sys.executable, script, environment, fault])
    with subprocess.Popen(argv, env=day.cluster.env, cwd=ROOT) as process:
        try:
            yield
            # A day that nothing disturbed would prove nothing. `full` has done its part and ended.
            assert process.poll() in (None, 0), f"{fault} ended with {process.returncode}"
        finally:
            process.terminate()


BEFORE_MIGRATIONS = """
DROP INDEX IF EXISTS idx_missions_status_created, idx_evaluations_mission_timestamp,
    idx_traces_span_id;
ALTER TABLE missions DROP COLUMN IF EXISTS trace_id, DROP COLUMN IF EXISTS span_id;
DROP TABLE IF EXISTS tarsrelease_migrations, tarsrelease_migration_lock;
DELETE FROM traces WHERE trace_id = '';
"""
"""The database as v1.0.0 has it, so that each run migrates it."""


def change(day: Day, repository: OnCluster, what: str | None) -> None:
    """Something that is wrong before the run begins."""
    if what == "tamper":
        notes = repository.root / "release" / "v1_0_1" / "RELEASE_NOTES.md"
        notes.write_text(notes.read_text() + "one more line\n")
    if what == "clash":  # the migration adds a column of this name and another type
        day.sql("ALTER TABLE missions ADD COLUMN span_id integer")


def story(came: Came) -> str:
    kept = [line for line in came.log.splitlines() if "level=" not in line]
    return f"{dict(came.results)}\n" + "\n".join(kept[-150:])


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(each, id=each.name, marks=() if each.default else pytest.mark.full)
        for each in SCENARIOS
    ],
)
def test_a_day_through_the_pipeline(
    scenario: Scenario, tmp_path: Path, cluster: commands.Cluster, packages: Path
) -> None:
    day = Day(cluster, tmp_path)
    day.kubectl("delete", "quota", "--all")
    # act gives all runs the same number, so the journal would know this run's messages already.
    day.kubectl("delete", "configmap", "tarsrelease-tars", "--ignore-not-found")
    day.install()
    day.sql(BEFORE_MIGRATIONS)
    repository = OnCluster(tmp_path / "run", rejects=scenario.rejects)
    inputs = {
        "canary_stages": scenario.stages,
        "stage_duration_minutes": STAGE_MINUTES,
        "enable_feature_flags": "true",
        "notify_pagerduty": "true",
        "environment": "rehearsal",
    }
    record = tmp_path / "told.jsonl"
    receivers = standin.running(record, day.cluster.enter_argv, day.cluster.env)
    change(day, repository, scenario.before)
    with day.load(300.0), receivers as address:
        repository.prepare(day, packages, address)
        _until_stable_can_be_measured(day)
        day.forget_clients()
        with disturbed(day, repository, scenario.disturb):
            came = repository.run(PIPELINE, inputs, timeout=800)
        seen = day.clients()
    jobs = {job for job in came.ran() - {"finish", "attest"} if not job.startswith("watch_")}
    assert jobs == set(scenario.jobs), story(came)
    assert (came.code != 0) == bool(scenario.code), story(came)
    stable = {"1.0.1"} if scenario.promoted else {"1.0.0"}
    assert day.versions() == stable, story(came)
    assert day.canary_weights() == []
    assert not {name for name in day.names("deployments") if name.startswith("tars-canary")}
    assert seen["sent"] > 500
    assert _told(record) == [*scenario.told[:-1], *_last(scenario, came)]
    if scenario.disturb is None:
        assert seen["lost"] == 0, seen
        assert set(seen["by_status"]) == {"200"}, seen
    if scenario.disturb == "errors@50":
        _traffic_was_off_before_the_rollback_job(came)
    if scenario.promoted:
        flags = day.kubectl("get", "configmap", "tars-config", "--output", "json")
        assert json.loads(flags)["data"]["TARS_FEATURE_MISSIONS_CACHE"] == "true"


def _until_stable_can_be_measured(day: Day) -> None:
    """Until go/no-go has what it asks of stable: pods that are scraped, and enough requests."""
    day.wait_until_scraped()
    end = time.monotonic() + 60
    while day.clients()["sent"] < 6000:  # 693 a service, and scrapes
        assert time.monotonic() < end, "there is too little load"
        time.sleep(0.5)


def _told(record: Path) -> list[str]:
    """What the channel was told, by a word of each; PagerDuty was told of each, too."""
    posted = standin.told(record)
    texts = [body["text"] for path, body in posted if path == "/hook"]
    words = (
        *("approval", "scheduled", "begun", "next stage", "holds", "promoted", "complete"),
        *("being rolled back", "is rolled back", "no incident", "could not be rolled back"),
    )
    headlines = [text.partition(": ")[0] for text in texts]
    said = [next(word for word in words if word in line) for line in headlines]
    events = [body for path, body in posted if path.startswith("/v2/")]
    # The end resolves a hold, too; a proven rollback resolves three kinds of alerts.
    assert len(events) == len(said) + ("complete" in said) + 3 * ("no incident" in said)
    return said


def _last(scenario: Scenario, came: Came) -> list[str]:
    """The last message: of a rollback, that it is proven, or that it is not."""
    if scenario.told[-1:] != ["no incident"]:
        return scenario.told[-1:]
    rollback = came.artifacts / "evidence-rollback-1" / "evidence.jsonl"
    outcome = json.loads(rollback.read_text().splitlines()[0])["outcome"]
    return ["could not be rolled back" if outcome["exit_code"] else "no incident"]


def _traffic_was_off_before_the_rollback_job(came: Came) -> None:
    """The gate itself takes the traffic off; the rollback job only does the rest."""
    gate = came.artifacts / "evidence-s2-1" / "evidence.jsonl"
    recorded = [json.loads(line)["outcome"] for line in gate.read_text().splitlines()]
    outcome = next(each for each in reversed(recorded) if each["step"] == "gate")
    assert outcome["verdict"] == "rollback"
    assert outcome["details"]["seconds_from_verdict_to_write"] < 2.0
    rollback = came.artifacts / "evidence-rollback-1" / "evidence.jsonl"
    began = json.loads(rollback.read_text().splitlines()[0])["outcome"]["started_at"]
    assert began > outcome["finished_at"]
