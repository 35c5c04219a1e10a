"""The files of docs/your-product.md, built and verified as that page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "your-product.md"
_GIT = ("git", "-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")


def write_product(folder: Path) -> None:
    """Every file of the page: its path in backticks on a line of its own, its text below."""
    blocks = re.findall(r"^`([\w./-]+)`\n```yaml\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert {path for path, _ in blocks} >= {"release/v1_4_0/rollout.yaml"}
    for path, text in blocks:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def commands() -> list[list[str]]:
    found = re.findall(r"^\$ tarsrelease (.*?)(?: +#.*)?$", PAGE.read_text(), re.M)
    return [line.split() for line in found]


def run(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


def commit(folder: Path) -> None:
    for arguments in (("add", "--all"), ("commit", "-q", "-m", "As the page says")):
        done = run(folder, *_GIT, *arguments)
        assert done.returncode == 0, done.stderr


def test_a_product_that_follows_the_page_has_a_bundle_that_verifies(tmp_path: Path) -> None:
    write_product(tmp_path)
    assert run(tmp_path, "git", "init", "-q").returncode == 0
    tool = (sys.executable, "-m", "tarsrelease")
    build, verify = (
        next(line for line in commands() if line[: len(words)] == words)
        for words in (["bundle", "build"], ["verify"])
    )
    for step in (build, verify):
        commit(tmp_path)
        done = run(tmp_path, *tool, *step)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "release/v1_4_0/shop-1.4.0.tgz").exists()


def test_every_command_of_the_page_exists_with_its_options(tmp_path: Path) -> None:
    """A wrong option is refused with `--help` behind it, too; what `--help` shows is not run."""
    for line in commands():
        done = run(tmp_path, sys.executable, "-m", "tarsrelease", *line, "--help")
        assert done.returncode == 0, (line, done.stderr)
        options = [word for word in line if word.startswith("--")]
        assert all(option in done.stdout for option in options), (line, done.stdout)
