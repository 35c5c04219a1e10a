"""Another repository that uses the actions, run by act: nothing of this one is in its checkout."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
COMMIT = "1f" * 20
"""The commit that a workflow pins; act is told which folder stands for it."""
ORG = "another-org/tarsrelease"
_GIT = ("git", "-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")


@dataclass(frozen=True)
class Ran:
    """How one run of a workflow ended: act's exit code, and what it printed."""

    code: int
    printed: str

    @property
    def lines(self) -> list[str]:
        """What the steps printed, without act's prefix."""
        return re.findall(r"^\[[^\]]*\]\s+\| (.*)$", self.printed, re.MULTILINE)

    def said(self, prefix: str) -> list[str]:
        """The rest of each line that a step printed and that begins so."""
        return [line.removeprefix(prefix) for line in self.lines if line.startswith(prefix)]


def exported(folder: Path) -> Path:
    """This repository as a commit would hold it: changes count, ignored files do not."""
    environment = {**os.environ, "GIT_INDEX_FILE": str(folder / "index")}
    for arguments in (["read-tree", "HEAD"], ["add", "--all"]):
        subprocess.run(["git", *arguments], cwd=ROOT, env=environment, check=True)
    tree = subprocess.run(
        ["git", "write-tree"], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()
    export = folder / "export"
    export.mkdir()
    archive = subprocess.run(
        ["git", "archive", tree], cwd=ROOT, check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(export)], input=archive, check=True)
    return export


def uses(action: str, **given: str) -> dict[str, object]:
    """A step that uses an action of this repository, as another one writes it."""
    step: dict[str, object] = {"name": action, "uses": f"{ORG}/actions/{action}@{COMMIT}"}
    return step | ({"with": {k.replace("_", "-"): v for k, v in given.items()}} if given else {})


def commit(folder: Path, steps: list[dict[str, object]]) -> None:
    """A workflow with one job of these steps, committed with all that stands in the folder."""
    workflow = {
        "name": "Use it",
        "on": {"workflow_dispatch": {"inputs": {"text": {"type": "string"}}}},
        "jobs": {
            "job": {
                "runs-on": "ubuntu-latest",
                "steps": [{"uses": f"actions/checkout@{COMMIT}"}, *steps],
            }
        },
    }
    path = folder / ".github" / "workflows" / "use.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(workflow, sort_keys=False))
    if not (folder / ".git").exists():
        subprocess.run([*_GIT, "init", "-q"], cwd=folder, check=True)
    subprocess.run([*_GIT, "add", "--all"], cwd=folder, check=True)
    subprocess.run([*_GIT, "commit", "-q", "--allow-empty", "-m", "Use it"], cwd=folder, check=True)


def outside(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run it here."""
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)


def act(
    folder: Path,
    export: Path,
    cache: Path,
    *,
    text: str = "",
    through: Callable[[list[str]], subprocess.CompletedProcess[str]] = outside,
    **secrets: str,
) -> Ran:
    """Run the folder's workflow. `text` is the event's one field; secrets reach no command line.

    `through` runs the command line somewhere else, such as in a cluster's network; whose PATH and
    HOME are used, and nothing else of that environment.
    """
    event = cache / "event.json"
    event.write_text(json.dumps({"inputs": {"text": text}}))
    hidden = cache / "secrets.yaml"
    hidden.write_text(json.dumps(secrets))
    argv = [
        str(Path(sys.executable).with_name("act")),
        "workflow_dispatch",
        *("--directory", str(folder)),
        *("--workflows", str(folder / ".github" / "workflows")),
        *("--eventpath", str(event)),
        *("--platform", "ubuntu-latest=-self-hosted"),
        *("--secret-file", str(hidden)),
        *("--env-file", os.devnull, "--input-file", os.devnull, "--var-file", os.devnull),
        *("--action-offline-mode", "--no-cache-server"),
        *("--local-repository", f"{ORG}@{COMMIT}={export}"),
    ]
    only = [
        'PATH="$PATH"',
        'HOME="$HOME"',
        f"XDG_CACHE_HOME={shlex.quote(str(cache / 'xdg'))}",
        f"TARSRELEASE_ACTIONS_CACHE={shlex.quote(str(cache / 'installed'))}",
    ]
    ran = through(["bash", "-c", f"exec env -i {' '.join(only)} {shlex.join(argv)}"])
    return Ran(ran.returncode, ran.stdout + ran.stderr)
