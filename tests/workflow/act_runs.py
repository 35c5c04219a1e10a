"""The real workflow files, run by act: what is replaced, what is run, and what came of it.

act knows no environments, so nothing waits for a person, and it starts a job when all jobs of the
level before have ended, so nothing can look on beside a job that waits. Replaced are therefore: the
approvals that a scenario rejects (by a step that fails), the jobs that watch a wait (by nothing),
`$/` (act knows only `./`), and the four actions of GitHub's own (checkout is act's own business;
artifacts are copied to a folder, attestations are listed). A test may let further jobs pass without
doing anything. Everything else in the file runs unchanged.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
PIPELINE = "production_deploy_pipeline.yaml"
REF = "release/v1.0.1"
_KEPT = ("actions", "environments", "release", "requirements", "scripts", "src", "pyproject.toml")
_ARTIFACTS = ("actions/upload-artifact@", "actions/download-artifact@")
_REJECTED = [{"name": "Rejected", "run": "echo a person said no; exit 1"}]
_COPY_UP = """\
name: upload-artifact
description: Copies, as act's artifact server cannot.
inputs:
  name: {description: n, required: true}
  path: {description: p, required: true}
  retention-days: {description: r}
runs:
  using: composite
  steps:
    - shell: bash
      run: |
        mkdir -p "$ARTIFACTS/$NAME"
        while read -r path; do
          case "$path" in
            !*) rm -rf "$ARTIFACTS/$NAME/${path#!*/}" ;;
            ?*) if [ -e "$path" ]; then cp -r "$path/." "$ARTIFACTS/$NAME"; fi ;;
          esac
        done <<< "$FROM"
      env: {NAME: "${{ inputs.name }}", FROM: "${{ inputs.path }}"}
"""
_COPY_DOWN = """\
name: download-artifact
description: Copies, as act's artifact server cannot.
inputs:
  pattern: {description: n}
  path: {description: p, required: true}
runs:
  using: composite
  steps:
    - shell: bash
      run: mkdir -p "$TO" && cp -r "$ARTIFACTS"/. "$TO"
      env: {TO: "${{ inputs.path }}"}
"""
_ATTEST = """\
name: attest
description: Needs GitHub's own token; here it lists what would be attested.
inputs:
  subject-path: {description: p, required: true}
runs:
  using: composite
  steps:
    - shell: bash
      run: shopt -s globstar; ls $FROM > "$ARTIFACTS.attested"
      env: {FROM: "${{ inputs.subject-path }}"}
"""
_SEEN = "results_of_the_run"


@dataclass(frozen=True)
class Came:
    """What came of a run: the exit code, each job's result, what was traced, act's output."""

    code: int
    results: Mapping[str, str]
    trace: Sequence[Mapping[str, Any]]
    log: str
    summary: str
    artifacts: Path

    def ran(self) -> set[str]:
        """The jobs that were not skipped."""
        return {name for name, result in self.results.items() if result != "skipped"}


@dataclass
class Repository:
    """A repository with the workflow files in it, made for one run of act in `folder`.

    `rejects` are approvals that a person refuses, `passes` jobs that do nothing here. `enter` leads
    into another network.
    """

    folder: Path
    rejects: Sequence[str] = ()
    passes: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    enter: Callable[[list[str]], list[str]] = list
    kept: Sequence[str] = _KEPT
    path: str | None = None

    def __post_init__(self) -> None:
        self.root = self.folder / "repository"
        self.artifacts = self.folder / "artifacts"
        self.trace = self.folder / "trace.jsonl"
        self.artifacts.mkdir(parents=True)
        self.root.mkdir()
        for name in self.kept:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self.root / name, symlinks=True, ignore=ignored)
            elif source.exists():
                shutil.copy2(source, self.root / name)
        for name, text in (
            ("upload-artifact", _COPY_UP),
            ("download-artifact", _COPY_DOWN),
            ("attest", _ATTEST),
        ):
            stub = self.folder / name
            stub.mkdir()
            (stub / "action.yml").write_text(text)

    def workflow(self, name: str) -> dict[str, Any]:
        """The workflow file with anchors resolved and replaced what the module says."""
        text = (WORKFLOWS / name).read_text().replace("uses: $/", "uses: ./")
        content: dict[str, Any] = yaml.safe_load(text)
        content["on"] = content.pop(True)  # YAML 1.1 reads the key `on` as a boolean
        jobs = content["jobs"]
        for job, steps in [(name, job["steps"]) for name, job in jobs.items()]:
            if job in self.rejects:
                jobs[job]["steps"] = _REJECTED
            elif job.startswith("watch_") or job in self.passes:
                jobs[job]["steps"] = [{"name": "not here", "run": "true"}]
            else:
                jobs[job]["steps"] = [self._step(step) for step in steps]
        jobs[_SEEN] = {
            "if": "always()",
            "needs": list(jobs),
            "runs-on": "ubuntu-latest",
            "steps": [
                {
                    "run": 'printf "%s" "$NEEDS" > "$TRACED.needs"',
                    "env": {"NEEDS": "${{ toJSON(needs) }}"},
                }
            ],
        }
        return content

    def _step(self, step: dict[str, Any]) -> dict[str, Any]:
        return step

    def stubs(self, content: Mapping[str, Any]) -> list[str]:
        """--local-repository for the actions of GitHub's own that the workflow names."""
        found = {
            step["uses"]
            for job in content["jobs"].values()
            for step in job["steps"]
            if step.get("uses", "").startswith(("actions/attest@", *_ARTIFACTS))
        }
        return [
            argument
            for uses in sorted(found)
            for argument in (
                "--local-repository",
                f"{uses}={self.folder / uses.partition('/')[2].partition('@')[0]}",
            )
        ]

    def run(self, name: str, inputs: Mapping[str, str], *, timeout: float = 120.0) -> Came:
        """Run the workflow with a person's inputs; the rest are the file's defaults."""
        content = self.workflow(name)
        asked = content["on"]["workflow_dispatch"].get("inputs", {})
        assert set(inputs) <= set(asked), "a field that the workflow does not have"
        defaults = {key: _text(known.get("default", "")) for key, known in asked.items()}
        file = self.root / ".github" / "workflows" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(content, sort_keys=False, width=10_000))
        self._commit()
        event = self.folder / "event.json"
        event.write_text(json.dumps({"ref": f"refs/heads/{REF}", "inputs": defaults | inputs}))
        done = subprocess.run(
            self.enter([*self._command(file, event), *self.stubs(content)]),
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        log = done.stdout + done.stderr
        (self.folder / "act.log").write_text(log)
        needs = Path(f"{self.trace}.needs")
        assert needs.exists(), log[-6000:]
        results = {job: each["result"] for job, each in json.loads(needs.read_text()).items()}
        lines = self.trace.read_text().splitlines() if self.trace.exists() else []
        summary = self.folder / "summary.md"
        return Came(
            done.returncode,
            results,
            [json.loads(line) for line in lines],
            log,
            summary.read_text() if summary.exists() else "",
            self.artifacts,
        )

    def _command(self, file: Path, event: Path) -> list[str]:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        if self.path is not None:
            kept["PATH"] = self.path
        variables = kept | {
            "HOME": str(home),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "ACT_DISABLE_VERSION_CHECK": "1",
        }
        inside = {"TRACED": str(self.trace), "ARTIFACTS": str(self.artifacts), **self.env}
        files = {"vars": self.variables, "secrets": self.secrets}
        for name, values in files.items():
            (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(dict(values), width=100_000))
        return [
            *("env", "-i", *(f"{name}={value}" for name, value in variables.items())),
            *(act(), "workflow_dispatch", "-C", str(self.root), "-W", str(file), "-e", str(event)),
            *("-P", "ubuntu-latest=-self-hosted", "--log-prefix-job-id"),
            *(
                "--var-file",
                str(self.folder / "vars.yaml"),
                "--secret-file",
                str(self.folder / "secrets.yaml"),
            ),
            *("--env-file", "/dev/null", "--input-file", "/dev/null"),
            *("--action-offline-mode", "--no-cache-server", "--pull=false"),
            *(part for name, value in inside.items() for part in ("--env", f"{name}={value}")),
        ]

    def _commit(self) -> None:
        git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
        for command in (
            ["init", "--quiet", "--initial-branch", REF],
            ["remote", "add", "origin", "https://github.com/example/tars.git"],
            ["add", "--all"],
            ["commit", "--quiet", "--allow-empty", "--message", "as released"],
        ):
            subprocess.run([*git, *command], cwd=self.root, check=False, capture_output=True)


_TRACED = """\
name: {name}
description: Writes down that it was called, and answers as the scenario says.
inputs: {inputs}
outputs: {outputs}
runs:
  using: composite
  steps:
    - id: run
      shell: bash
      env:
        INPUTS: ${{{{ toJSON(inputs) }}}}
      run: exec "$PYTHON" -I "$ANSWERS" {name}
"""


class Traced(Repository):
    """The same with every action of ours replaced by one that writes down that it was called.

    `answers` are what it then does: by ``job/action`` its verdict, or a number, its exit code.
    """

    answers: Mapping[str, str | int] = {}

    def __post_init__(self) -> None:
        self.kept = ("scripts",)
        super().__post_init__()
        self.env = {
            **self.env,
            "PYTHON": sys.executable,
            "ANSWERS": str(Path(__file__).with_name("answer.py")),
        }

    def workflow(self, name: str) -> dict[str, Any]:
        content = super().workflow(name)
        (self.folder / "answers.json").write_text(json.dumps(dict(self.answers)))
        called: dict[str, set[str]] = {}
        for job in content["jobs"].values():
            for step in job["steps"]:
                uses = step.get("uses", "")
                if uses.startswith("./actions/"):
                    called.setdefault(uses.removeprefix("./actions/"), set()).update(
                        step.get("with", {})
                    )
        shutil.rmtree(self.root / "actions", ignore_errors=True)
        for action, inputs in called.items():
            folder = self.root / "actions" / action
            folder.mkdir(parents=True)
            outputs = {
                key: {"description": key, "value": f"${{{{ steps.run.outputs.{key} }}}}"}
                for key in ("verdict", "plan", "tarsrelease")
            }
            (folder / "action.yml").write_text(
                _TRACED.format(
                    name=action,
                    inputs=json.dumps({key: {"description": key} for key in sorted(inputs)}),
                    outputs=json.dumps(outputs),
                )
            )
        return content

    def _step(self, step: dict[str, Any]) -> dict[str, Any]:
        if "scripts/approval" in step.get("run", ""):
            said = r'printf "by=octocat\nreason=seen\n" >> "$GITHUB_OUTPUT"'
            return {**step, "run": said}
        return {**step, "run": "true"} if "report day" in step.get("run", "") else step


def act() -> str:
    """act beside this Python, or on PATH."""
    beside = Path(sys.executable).with_name("act")
    found = str(beside) if beside.exists() else shutil.which("act")
    assert found, "act is missing: scripts/setup dev installs it"
    return found


def _text(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)
