"""CONTRIBUTING.md's walk-throughs, followed on a copy of the repository."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w+) (file=(\S+)|run)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


def hunks(patch: str) -> Iterator[tuple[str, str]]:
    """The text before and after each hunk of a patch without line numbers."""
    for hunk in patch.split("@@\n")[1:]:
        lines = hunk.splitlines()
        yield (
            "\n".join(line[1:] for line in lines if not line.startswith("+")),
            "\n".join(line[1:] for line in lines if not line.startswith("-")),
        )


def follow(walk: str, copy: Path) -> int:
    """Apply the blocks in order and run the commands; how many commands there were."""
    ran = 0
    for language, _, file, body in _BLOCK.findall(walk):
        if language == "diff":
            text = (copy / file).read_text()
            for before, after in hunks(body):
                assert text.count(f"{before}\n") == 1, f"{file} has this once:\n{before}"
                text = text.replace(f"{before}\n", f"{after}\n")
            (copy / file).write_text(text)
        elif file:
            assert not (copy / file).exists(), f"{file} is new"
            (copy / file).write_text(body)
        else:
            for line in body.splitlines():
                ran += 1
                run(line.removeprefix("$ "), copy)
    return ran


def run(command: str, copy: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": str(copy / "src"),
        "PYTEST_DEBUG_TEMPROOT": str(copy.parent),  # apart from the runs of other people
    }
    done = subprocess.run(
        shlex.split(command), cwd=copy, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("title", ["Add a kind of check", "Add an adapter"])
def test_the_walk_through_works(title: str, copy: Path) -> None:
    assert follow(section(title), copy) >= 4


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_what_it_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    made = {file for _, _, file, _ in _BLOCK.findall(text)}
    named = set(re.findall(r"[`(]([a-z.][\w.-]*/[\w./-]*\w)[`)/ ]", text)) - made
    named = {name for name in named if not name.startswith("tarsrelease.dev/")}
    package = ROOT / "src" / "tarsrelease"
    assert len(named) > 5
    assert not {n for n in named if not (ROOT / n).exists() and not (package / n).exists()}


def test_the_architecture_shows_every_package_and_the_layers_that_are_enforced() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    package = ROOT / "src" / "tarsrelease"
    packages = {each.parent.name for each in package.glob("*/__init__.py")}
    assert packages == set(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    enforced = next(each["layers"] for each in contracts if each["type"] == "layers")
    shown = " ".join(text.split("```")[1].split())
    assert shown == " → ".join(enforced).replace("tarsrelease.", "")
