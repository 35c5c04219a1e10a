"""docs/your-product.md up to the verified bundle, and every command of it and of docs/how-to.md."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import tutorial

HOW_TO = tutorial.PAGE.with_name("how-to.md")


def commands() -> list[list[str]]:
    text = tutorial.PAGE.read_text() + HOW_TO.read_text()
    found = re.findall(r"^\$ tarsrelease (.*?)(?: +(?:#|\|\|).*)?$", text, re.M)
    found += re.findall(r" -- tarsrelease (.*)$", text, re.M)
    return [line.partition(" -- ")[0].split() for line in found]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed")
def test_the_page_leads_to_a_bundle_that_verifies(tmp_path: Path) -> None:
    log = tmp_path / "log"
    folder = tmp_path / "product"
    folder.mkdir()
    code = tutorial.run(folder, tutorial.script(until="4."), log)
    assert code == 0, log.read_text()[-4000:]
    assert "release/v6_9_2 is valid" in log.read_text()
    assert (folder / "release/v6_9_2/podinfo-6.9.2.tgz").exists()


def test_every_command_of_the_pages_exists_with_its_options(tmp_path: Path) -> None:
    """A wrong option is refused with `--help` behind it, too; what `--help` shows is not run."""
    assert len(commands()) > 10
    for line in commands():
        done = subprocess.run(
            [sys.executable, "-m", "tarsrelease", *line, "--help"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (line, done.stderr)
        options = [word for word in line if word.startswith("--")]
        assert all(option in done.stdout for option in options), (line, done.stdout)
