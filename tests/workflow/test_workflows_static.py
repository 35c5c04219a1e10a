"""What must hold of every workflow file, whatever its jobs do; what act cannot show."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WAVES_EXAMPLE = ROOT / "examples/waves/production_waves.yaml"
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
NAMES = [file.name for file in FILES]
PIPELINE = "production_deploy_pipeline.yaml"

ALLOWED = {
    "actions/checkout": "3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
    "actions/upload-artifact": "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0",
    "actions/attest": "1e69f48acb82d1966a394da916b4c1698aa569d6 # v4.2.2",
    "actions/download-artifact": "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1",
}
ENVIRONMENT = "${{ inputs.environment }}"
APPROVALS = {
    "approve_release_manager": "-release-manager",
    "approve_sre": "-sre",
    "approve_full": "-full",
    **{f"hold_{place}": "-canary-hold" for place in (*range(1, 7), "full")},
}
"""Jobs that wait for a person, and how the name of their environment ends."""


def content(name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())
    parsed["on"] = parsed.pop(True)
    return parsed


def steps(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for job, found in content(name)["jobs"].items():
        for step in found["steps"]:
            yield job, step


def test_there_are_the_workflows_that_the_documentation_lists() -> None:
    documented = set(
        re.findall(r"^\| `(\w+\.yaml)` \|", (ROOT / "docs/pipeline.md").read_text(), re.M)
    )
    assert documented == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_permitted_but_what_a_job_says(name: str) -> None:
    workflow = content(name)
    assert workflow["permissions"] == {}
    for job, found in workflow["jobs"].items():
        permissions = found["permissions"]
        if job == "attest":
            assert permissions == {"id-token": "write", "attestations": "write"}
            assert "environment" not in found
            continue
        assert set(permissions) <= {"contents", "actions"}, job
        assert permissions.get("contents", "read") == "read", job
        if permissions.get("actions", "read") == "write":
            assert job.startswith("watch_"), "only who watches a wait may start another run"


def test_the_canary_is_evaluated_beside_each_job_that_leaves_it_with_traffic() -> None:
    jobs = content("production_deploy_pipeline.yaml")["jobs"]
    watched = [job["if"] for name, job in jobs.items() if name.startswith("watch_")]
    waits = [name for name in jobs if name.startswith("hold_")]
    for name in [*waits, "approve_full", "validate"]:
        assert any(condition.startswith(jobs[name]["if"]) for condition in watched), name


@pytest.mark.parametrize("name", NAMES)
def test_only_four_actions_of_others_and_each_by_its_commit(name: str) -> None:
    text = (ROOT / ".github" / "workflows" / name).read_text()
    for uses in re.findall(r"uses: (.+)", text):
        if uses.startswith("$/actions/"):
            assert (ROOT / uses.removeprefix("$/") / "action.yml").exists(), uses
        else:
            action, _, version = uses.partition("@")
            assert version == ALLOWED[action], uses


@pytest.mark.parametrize("name", NAMES)
def test_no_credentials_stay_on_the_disk_and_none_are_inherited(name: str) -> None:
    assert "secrets: inherit" not in (ROOT / ".github" / "workflows" / name).read_text()
    checkouts = [
        step for _, step in steps(name) if step.get("uses", "").startswith("actions/checkout")
    ]
    assert checkouts
    for step in checkouts:
        assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", NAMES)
def test_no_expression_reaches_a_shell(name: str) -> None:
    for job, step in steps(name):
        assert "${{" not in step.get("run", ""), job


@pytest.mark.parametrize("name", NAMES)
def test_what_a_person_typed_goes_to_an_input_or_a_variable_and_nowhere_else(name: str) -> None:
    for job, step in steps(name):
        for key in ("uses", "shell", "working-directory"):
            assert "inputs." not in str(step.get(key, "")), job


@pytest.mark.parametrize("name", NAMES)
def test_a_forks_pull_request_starts_nothing_with_secrets(name: str) -> None:
    workflow = content(name)
    triggers = set(workflow["on"]) if isinstance(workflow["on"], (dict, list)) else {workflow["on"]}
    assert not triggers & {
        "pull_request_target",
        "workflow_run",
        "issue_comment",
        "repository_dispatch",
    }
    if "pull_request" in triggers:
        assert "secrets." not in json.dumps(workflow)
        assert not [job for job in workflow["jobs"].values() if "environment" in job]


@pytest.mark.parametrize("name", NAMES)
def test_a_job_with_secrets_is_in_an_environment_without_being_an_approval(name: str) -> None:
    for job, found in content(name)["jobs"].items():
        text = json.dumps(found)
        if "secrets." in text:
            assert found["environment"] in (
                *(ENVIRONMENT, f"{ENVIRONMENT}-rollback"),
                *(f"{ENVIRONMENT}-read", "production-read", f"{ENVIRONMENT}-announce"),
            ), job
        else:
            assert found.get("environment") not in (ENVIRONMENT, f"{ENVIRONMENT}-rollback"), job


@pytest.mark.parametrize("name", NAMES)
def test_every_job_ends_by_itself(name: str) -> None:
    for job, found in content(name)["jobs"].items():
        assert 0 < found["timeout-minutes"] <= 180, job


def test_each_approval_is_in_the_environment_of_its_name_and_touches_nothing() -> None:
    jobs = content(PIPELINE)["jobs"]
    waiting = {
        job: found["environment"].removeprefix(ENVIRONMENT)
        for job, found in jobs.items()
        if found.get("environment", ENVIRONMENT)
        not in (ENVIRONMENT, *(f"{ENVIRONMENT}-{end}" for end in ("rollback", "read", "announce")))
    }
    assert waiting == APPROVALS
    for job in APPROVALS:
        assert not [step for step in jobs[job]["steps"] if step.get("uses", "").startswith("$/")]
    approve = content("contract_migrations.yaml")["jobs"]["approve"]
    assert approve["environment"] == f"{ENVIRONMENT}-contract"


def test_before_the_approvals_every_credential_only_reads() -> None:
    """A job that needs no approval runs in the environment of the read-only credentials."""
    jobs = content(PIPELINE)["jobs"]

    def approved(job: str) -> bool:
        needs = jobs[job].get("needs", [])
        before = [needs] if isinstance(needs, str) else needs
        return job in APPROVALS or any(map(approved, before))

    early = {job for job in jobs if not approved(job)}
    asks = "ask_release_manager"  # which sends a message
    assert early == {"plan", "verify", "environments", "go_no_go", asks}
    assert {jobs[job].get("environment") for job in early - {asks}} == {None, f"{ENVIRONMENT}-read"}
    for job in (asks, "ask_sre"):
        assert jobs[job]["environment"] == f"{ENVIRONMENT}-announce"
        assert "KUBECONFIG" not in json.dumps(jobs[job])
        assert "TARS_PROMETHEUS_TOKEN" not in json.dumps(jobs[job])
    assert "TARS_DATABASE_DSN" not in json.dumps([jobs[job] for job in early])
    monitoring = content("post_ga_monitoring.yaml")["jobs"]
    reading = {name for name, job in monitoring.items() if "secrets." in json.dumps(job)}
    assert {monitoring[name]["environment"] for name in reading} == {"production-read"}
    assert reading == {name for name, job in monitoring.items() if "environment" in job}


def test_every_environment_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "pipeline.md").read_text()
    for ending in {*APPROVALS.values(), "-contract", "-rollback", "-read", "-announce"}:
        assert f"`production{ending}`" in text


def test_environment_file_and_init_name_the_environments_of_the_workflows() -> None:
    used = {
        job["environment"].replace(ENVIRONMENT, "production")
        for name in NAMES
        for job in content(name)["jobs"].values()
        if "environment" in job
    }
    people = yaml.safe_load((ROOT / "environments" / "production.yaml").read_text())["github"]
    places = {place["name"]: place.get("reviewers", []) for place in people["environments"]}
    assert set(places) == used
    waiting = {f"production{ending}" for ending in {*APPROVALS.values(), "-contract"}}
    assert {name for name, reviewers in places.items() if reviewers} == waiting
    assert people["two_people"] == ["production-release-manager", "production-sre"]
    printed = subprocess.run(
        [
            *(sys.executable, "-m", "tarsrelease", "init", "--github"),
            *("--environment", "production"),
        ],
        cwd=ROOT,
        env={**os.environ, "GITHUB_REPOSITORY": "org/tars"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    made = set(re.findall(r"--method PUT repos/org/tars/environments/(\S+)", printed))
    assert made == used


SECRETS = re.compile(r"secrets\.(\w+)")


def test_every_secret_and_variable_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "pipeline.md").read_text()
    for name in NAMES:
        workflow = (ROOT / ".github" / "workflows" / name).read_text()
        for named in {*SECRETS.findall(workflow), *re.findall(r"\bvars\.(\w+)", workflow)}:
            assert f"`{named}`" in text, named


def test_the_whole_chain_is_attested_by_a_job_that_can_do_nothing_else() -> None:
    job = content(PIPELINE)["jobs"]["attest"]
    assert job["if"].startswith("always()")
    assert "finish" in job["needs"]
    assert "secrets." not in json.dumps(job)
    *_, attest = job["steps"]
    assert attest["with"] == {"subject-path": "evidence/**/evidence.jsonl"}
    assert attest["continue-on-error"] is True


def test_the_certification_package_is_attested_by_a_job_that_can_do_nothing_else() -> None:
    for name, after in ((PIPELINE, "finish"), ("post_ga_monitoring.yaml", "certify")):
        jobs = content(name)["jobs"]
        job = jobs["attest"]
        assert after in job["needs"]
        assert set(job["permissions"]) == {"id-token", "attestations"}
        assert "secrets." not in json.dumps(job)
        [attest] = [
            step
            for step in job["steps"]
            if step.get("with") == {"subject-path": "certification/SHA256SUMS"}
        ]
        assert attest["uses"].startswith("actions/attest@")
        written = json.dumps(jobs[after])
        assert "report certify evidence --output-dir certification" in written
        assert written.count('"name": "certification-${{ github.run_attempt }}"') == 1


def test_telling_people_decides_nothing_and_ends_by_itself() -> None:
    told = [
        step for name in NAMES for _, step in steps(name) if step.get("uses") == "$/actions/notify"
    ]
    assert len(told) >= 6
    for step in told:
        assert step["continue-on-error"] is True
        assert step["timeout-minutes"] <= 2
        assert step["with"]["pagerduty"] == "${{ inputs.notify_pagerduty }}"
    events = {step["with"]["event"] for step in told}
    ended = "${{ steps.back.outputs.exit-code == '0' && 'rollback' || 'rollback-failed' }}"
    before = {"scheduled", "started", "waiting"}
    assert events == {*before, "hold", "protected", ended, "promoted", "complete"}


def test_only_steps_that_announce_have_the_receivers_secrets() -> None:
    announce = {"notify", "canary-gate", "promote", "rollback"}
    with_them = set()
    for name in NAMES:
        for _, step in steps(name):
            given = json.dumps(step.get("env", {}))
            if "TARS_SLACK_TOKEN" in given:
                with_them.add(step["uses"].removeprefix("$/actions/"))
                for channel in ("SLACK_WEBHOOK_URL", "PAGERDUTY_ROUTING_KEY", "STATUSPAGE_TOKEN"):
                    assert f"TARS_{channel}" in given
            else:
                assert "TARS_SLACK" not in given
                assert "ROUTING_KEY" not in given
    assert with_them == announce


def test_the_page_of_the_release_is_an_artifact() -> None:
    finish = content(PIPELINE)["jobs"]["finish"]["steps"]
    (written,) = [step for step in finish if step.get("uses") == "$/actions/dashboard"]
    (kept,) = [step for step in finish if step.get("with", {}).get("path") == "page"]
    assert written["with"]["out"].startswith("page/")
    assert written["continue-on-error"] is kept["continue-on-error"] is True


def test_a_day_waits_for_the_one_before_and_going_back_waits_for_nobody() -> None:
    groups = {name: content(name)["concurrency"] for name in NAMES}
    day, back = groups[PIPELINE], groups["production_rollback.yaml"]
    assert day["group"] == "tarsrelease-${{ inputs.environment }}"
    assert groups["contract_migrations.yaml"]["group"] == day["group"]
    assert back["group"] not in {each["group"] for name, each in groups.items() if each is not back}
    control = groups["release_control.yaml"]
    assert "inputs.command" in control["group"], "an abort does not wait for a hold"
    assert not control["cancel-in-progress"]
    assert not day["cancel-in-progress"]
    assert not back["cancel-in-progress"]
    for job in content(PIPELINE)["jobs"].values():
        assert "concurrency" not in job, "another day could get in between two stages"


def test_the_fields_are_those_of_the_runbook_and_a_few_optional_ones() -> None:
    fields = content(PIPELINE)["on"]["workflow_dispatch"]["inputs"]
    named = "deployment_strategy canary_stages stage_duration_minutes enable_feature_flags"
    assert list(fields)[:5] == [*named.split(), "notify_pagerduty"]
    assert set(list(fields)[5:]) == {
        *("release", "environment", "override_window", "window_override_reason"),
    }
    assert not any(field.get("required") for field in fields.values())
    runbook = ["canary", "1,10,25,50,100", "10", "true", "true"]
    assert runbook[0] in fields["deployment_strategy"]["options"]


def test_going_back_asks_for_a_proof_of_success_and_for_no_list_of_failures() -> None:
    job = content(PIPELINE)["jobs"]["rollback"]
    assert job["if"].startswith("always() &&")
    assert "needs.promote.result != 'success'" in job["if"]
    assert "failure()" not in job["if"]
    assert set(job["needs"]) == {"plan", "migrate", "promote"}


def test_the_example_of_waves_approves_each_wave_without_secrets() -> None:
    jobs = yaml.safe_load(WAVES_EXAMPLE.read_text())["jobs"]
    for number in (1, 2):
        approval, release = jobs[f"approve-{number}"], jobs[f"wave-{number}"]
        assert approval["environment"] == f"production-wave-{number}"
        assert "secrets." not in json.dumps(approval)
        assert release["needs"] == f"approve-{number}"
        assert release["env"]["WAVE"] == str(number)
    assert jobs["approve-2"]["needs"] == "wave-1"


def test_zizmor_finds_nothing_in_the_example_of_waves(tmp_path: Path) -> None:
    text = WAVES_EXAMPLE.read_text()
    assert "zizmor: ignore" not in text
    copied = tmp_path / "production_waves.yaml"
    copied.write_text(text.replace("@COMMIT", f"@{'0' * 40}"))
    argv = [str(Path(sys.executable).parent / "zizmor"), "--persona=pedantic", "--offline"]
    done = subprocess.run(
        [*argv, "--no-progress", str(copied)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_linters_find_nothing_and_are_told_to_overlook_nothing() -> None:
    files = [*map(str, FILES), str(WAVES_EXAMPLE)]
    beside = Path(sys.executable).parent
    for command in (
        [str(beside / "actionlint"), *files],
        [
            *(str(beside / "zizmor"), "--persona=pedantic", "--offline", "--strict-collection"),
            *("--no-progress", str(ROOT / ".github" / "workflows")),
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    text = "".join(file.read_text() for file in FILES)
    assert "zizmor: ignore" not in text
    assert "shellcheck disable" not in text
    assert not list((ROOT / ".github").glob("zizmor.y*ml"))
    assert not list((ROOT / ".github").glob("actionlint.y*ml"))
