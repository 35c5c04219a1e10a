"""No finding in the actions, and no suppression; their pages say what they take and give."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tarsrelease.actions.command_lines import ACTIONS
from tarsrelease.actions.inputs import read

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "actions"
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/action.yml"))
PROGRAMS = Path(sys.executable).parent


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def test_there_are_actions() -> None:
    assert set(NAMES) == set(ACTIONS)


def test_zizmor_finds_nothing_even_when_it_is_pedantic() -> None:
    files = [FOLDER / name / "action.yml" for name in NAMES]
    done = run(
        PROGRAMS / "zizmor", "--offline", "--strict-collection", "--persona=pedantic",
        "--no-config", "--no-progress", "--format=json", *files,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == []


def test_zizmor_would_find_something(tmp_path: Path) -> None:
    """The same call, with an input in the shell."""
    bad = (FOLDER / "promote" / "action.yml").read_text()
    bad = bad.replace('_lib/run" promote', '_lib/run" ${{ inputs.release }}')
    (tmp_path / "action.yml").write_text(bad)
    done = run(
        PROGRAMS / "zizmor", "--offline", "--persona=pedantic", "--no-config", "--no-progress",
        "--format=json", tmp_path / "action.yml",
    )  # fmt: skip
    assert "template-injection" in done.stdout


def test_every_action_has_the_published_schema() -> None:
    done = run(
        PROGRAMS / "check-jsonschema", "--builtin-schema", "vendor.github-actions",
        *(FOLDER / name / "action.yml" for name in NAMES),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    scripts = [
        path
        for path in sorted((FOLDER / "_lib").iterdir())
        if path.is_file() and path.read_text().startswith("#!/usr/bin/env bash")
    ]
    assert len(scripts) == 3
    done = run(PROGRAMS / "shellcheck", *scripts)
    assert done.returncode == 0, done.stdout


def test_nothing_is_suppressed() -> None:
    for path in FOLDER.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert not re.search(r"zizmor:|shellcheck disable|noqa|actionlint", path.read_text())


def test_the_pages_are_as_the_actions_make_them() -> None:
    done = run(sys.executable, ROOT / "scripts" / "action_pages", "--check")
    assert done.returncode == 0, done.stderr


def examples(page: Path) -> list[dict[str, Any]]:
    """The steps in a page's YAML blocks."""
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    return [step for block in blocks for step in steps_of(yaml.safe_load(block))]


def steps_of(block: Any) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = block if isinstance(block, list) else block["steps"]
    return steps


PAGES = [
    *(FOLDER / name / "README.md" for name in NAMES),
    FOLDER / "README.md",
    ROOT / "docs" / "authentication.md",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.parent.name + "/" + path.name)
def test_the_examples_of_a_page_are_taken_as_they_stand(page: Path) -> None:
    ours = [
        step for step in examples(page) if re.match(r"OWNER/tarsrelease/", step.get("uses", ""))
    ]
    if page.parent.name in NAMES:
        assert any(f"/actions/{page.parent.name}@" in step["uses"] for step in ours)
    assert ours
    for step in ours:
        match = re.fullmatch(r"OWNER/tarsrelease/actions/([a-z-]+)@[0-9a-f]{40}", step["uses"])
        assert match is not None
        action = ACTIONS[match[1]]
        given = {
            key: re.sub(r"\$\{\{.*?\}\}", "", value) for key, value in step.get("with", {}).items()
        }
        filled = {key: value or _stand_in(key) for key, value in given.items()}
        seen = read(json.dumps(filled), action.inputs)
        assert seen.problems == ()
        assert action.refusal(seen.given) is None


def _stand_in(key: str) -> str:
    known = {"ref": "release/v1.0.1", "kubeconfig": "{clusters: [], contexts: [], users: []}"}
    return (known | {"by": "octocat"})[key]


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_hands_our_actions_what_they_know(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text())["jobs"]
    for name, job in jobs.items():
        for step in job.get("steps", []):
            match = re.fullmatch(r"(?:\$/|\./)actions/([a-z-]+)", step.get("uses", ""))
            if match is None:
                continue
            action, given = ACTIONS[match[1]], step.get("with", {})
            assert set(given) <= set(action.inputs), f"{name}: {match[1]}"
            required = {key for key, one in action.inputs.items() if one.required}
            assert required <= set(given), f"{name}: {match[1]}"
            plain = {key: str(text) for key, text in given.items() if "${{" not in str(text)}
            seen = read(json.dumps(plain), {key: action.inputs[key] for key in plain})
            assert seen.problems == ()
