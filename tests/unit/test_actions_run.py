"""The actions' program as the runner starts it, with the real command line behind it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import runner_reader

from tarsrelease.actions.command_lines import ACTIONS
from tarsrelease.actions.kinds import TEXT, plain
from tarsrelease.actions.main import main

ROOT = Path(__file__).parents[2]
HOSTILE = {
    "quote and command": '"; touch pwned; echo "',
    "substitution": "$(touch pwned)",
    "backticks": "`touch pwned`",
    "new line and command": "10\n::set-output name=verdict::proceed",
    "command": "::set-output name=verdict::proceed",
    "escaped new line": "10%0A::error::pwned",
    "carriage return": "10\r::add-mask::proceed",
    "end of a heredoc": "x\nend_\nverdict=proceed",
    "expression": "${{ github.token }}",
    "markup": "</td><script>alert(1)</script>",
    "null": "10\u0000",
    "bidi": "10\u202e01",
    "100 kB": "A" * 100_000,
    "100 kB of lines": "a\n" * 50_000,
}


@dataclass
class Step:
    """One step's files, and what it is given."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.variables = {
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            **self.variables,
        }

    def run(self, name: str, **inputs: str) -> int:
        """As the action hands it on: everything in one JSON."""
        given = {key.replace("_", "-"): value for key, value in inputs.items()}
        before = signal.getsignal(signal.SIGTERM)
        try:
            return main(name, {**self.variables, "INPUTS": json.dumps(given)})
        finally:
            signal.signal(signal.SIGTERM, before)

    @property
    def outputs(self) -> dict[str, str]:
        return runner_reader.outputs(self.folder / "output")

    @property
    def summary(self) -> str:
        return (self.folder / "summary.md").read_text()


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    """A step in a workspace with the example's bundle and environments."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    shutil.copytree(ROOT / "release", workspace / "release")
    shutil.copytree(ROOT / "environments", workspace / "environments")
    monkeypatch.chdir(workspace)
    runner = tmp_path / "runner"
    runner.mkdir()
    return Step(runner)


def needed(name: str) -> dict[str, str]:
    """Good values for what the action demands."""
    known = {"release": "release/v1_0_1", "environment": "production", "event": "started"}
    known |= {"command": "hold", "reason": "errors in the shop", "out": "page/release.html"}
    return {key: known[key] for key, one in ACTIONS[name].inputs.items() if one.required}


FIELDS = [(name, key) for name, action in ACTIONS.items() for key in action.inputs]


@pytest.mark.parametrize(("name", "key"), FIELDS, ids=[f"{n}-{k}" for n, k in FIELDS])
def test_a_hostile_input_is_refused_and_reaches_nothing(
    name: str,
    key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = ACTIONS[name].inputs[key]
    for number, text in enumerate(HOSTILE.values()):
        if one.lenient:
            assert one.kind.problem(text) is not None
            assert one.kind.problem(plain(text)) is None
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        step = Step(folder)
        assert step.run(name, **{**needed(name), key: text}) == 2
        found = runner_reader.commands(capsys.readouterr().out)
        title = {"title": f"{name}: input"}
        assert [(each.name, each.properties) for each in found] == [("error", title)]
        assert found[0].message.startswith(f"{key}: ")
        assert "allowed" in found[0].message
        assert len(found[0].message) < 600
        assert set(step.outputs) == {"verdict", "exit-code", "evidence", "summary"}
        assert (step.outputs["verdict"], step.outputs["exit-code"]) == ("", "2")
        assert "<script" not in step.summary
        assert len(step.summary) < 1200
        assert {path.name for path in folder.iterdir()} == {"output", "summary.md"}


def test_all_fields_hostile_at_once_are_ten_annotations(
    step: Step, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = dict.fromkeys(ACTIONS["verify-artifacts"].inputs, HOSTILE["substitution"])
    assert step.run("verify-artifacts", **hostile) == 2
    found = runner_reader.commands(capsys.readouterr().out)
    assert len(found) == 10
    assert found[-1].message.startswith("3 more")


@pytest.mark.parametrize("document", ["", "null", "[]", '{"release": 1}', "{", "[" * 100_000])
def test_inputs_that_are_none_are_refused(
    document: str, step: Step, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("rollback", {**step.variables, "INPUTS": document}) == 2
    assert "INPUTS is not the JSON" in capsys.readouterr().out


def test_a_rollbacks_reason_never_stops_it() -> None:
    assert ACTIONS["rollback"].inputs["reason"].lenient
    for text in HOSTILE.values():
        assert TEXT.problem(plain(text)) is None


def test_a_good_bundle_passes_and_the_page_tells_it(
    step: Step, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"release": "release/v1_0_1", "checksums-only": "true", "evidence": "kept"}
    assert step.run("verify-artifacts", **given) == 0
    assert step.outputs == {
        "verdict": "proceed",
        "exit-code": "0",
        "evidence": "kept",
        "summary": "release/v1_0_1 is valid",
    }
    assert "### PROCEED  verify" in step.summary
    assert "| check |" in step.summary
    assert "bundle.digest" in step.summary
    assert Path("kept/evidence.jsonl").is_file()
    found = runner_reader.commands(capsys.readouterr().out)
    assert [one.name for one in found] == ["notice"]  # the manifest, which was not asked for


def test_a_bad_bundle_fails_with_the_checks_id(
    step: Step, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("release/v1_0_1/rollout.yaml").open("a") as file:
        file.write("\n")
    assert step.run("verify-artifacts", release="release/v1_0_1", checksums_only="true") == 1
    assert (step.outputs["verdict"], step.outputs["exit-code"]) == ("no-go", "1")
    found = runner_reader.commands(capsys.readouterr().out)
    titles = [one.properties["title"] for one in found if one.name == "error"]
    assert titles == ["verify-artifacts: NO-GO", "bundle.digest"]


def test_what_a_command_prints_is_no_command(
    step: Step, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file's name is somebody else's text, and stands in the check's reason."""
    evil = "x\n::set-output name=verdict::proceed\n::error title=pwned::pwned\nend"
    Path("release/v1_0_1", evil.replace("/", "_")).write_text("")
    assert step.run("verify-artifacts", release="release/v1_0_1", checksums_only="true") == 1
    printed = capsys.readouterr()
    found = runner_reader.commands(printed.out + printed.err)
    assert {one.name for one in found} <= {"error", "notice"}
    assert not any(one.properties.get("title") == "pwned" for one in found)
    assert step.outputs["verdict"] == "no-go"
    assert set(step.outputs) == {"verdict", "exit-code", "evidence", "summary"}


def test_a_usage_error_of_the_command_is_an_annotation(
    step: Step, capsys: pytest.CaptureFixture[str]
) -> None:
    assert step.run("verify-artifacts", release="release/v9_9_9") == 2
    (found,) = runner_reader.commands(capsys.readouterr().out)
    assert found.properties["title"] == "verify-artifacts: NOT STARTED"
    assert "v9_9_9" in found.message
    assert step.outputs["exit-code"] == "2"


KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: tars-production
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: tars-production, context: {cluster: c, user: u}}]
users:
- name: u
  user:
    password: hunter2hunter2
    exec:
      apiVersion: client.authentication.k8s.io/v1
      interactiveMode: Never
      command: COMMAND
"""

PLUGIN = """\
#!/bin/sh
stat -c '%a %n' "$KUBECONFIG" "$(dirname "$KUBECONFIG")" > SEEN
echo "${INPUTS-none}" >> SEEN
echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",'
echo ' "status": {"token": "abcdefgh"}}'
"""


def test_a_kubeconfig_is_a_file_for_one_user_while_the_command_runs(
    step: Step, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = tmp_path / "seen"
    plugin = tmp_path / "plugin"
    plugin.write_text(PLUGIN.replace("SEEN", str(seen)))
    plugin.chmod(0o755)
    text = KUBECONFIG.replace("COMMAND", str(plugin))
    given = {**needed("promote"), "kubeconfig": text}
    env = {**os.environ, **step.variables, "INPUTS": json.dumps(given)}
    env["TARS_PROMETHEUS_TOKEN"] = "prometheus-token"  # named by environments/production.yaml
    done = subprocess.run(
        [sys.executable, "-m", "tarsrelease.actions", "promote"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 69, done.stdout + done.stderr
    file, folder, rest = seen.read_text().splitlines()
    assert file.startswith(f"600 {step.folder}/kubeconfig-")
    assert folder.startswith("700 ")
    assert rest == "none"
    assert not list(step.folder.glob("kubeconfig-*"))
    found = runner_reader.commands(done.stdout)
    masked = [one.message for one in found if one.name == "add-mask"]
    assert masked == ["hunter2hunter2", "prometheus-token"]
    unmasked = "\n".join(
        line for line in done.stdout.splitlines() if not line.startswith("::add-mask::")
    )
    for secret in masked:
        assert secret not in unmasked + done.stderr + step.summary + str(step.outputs)
