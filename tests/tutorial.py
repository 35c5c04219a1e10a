"""docs/your-product.md as a new user types it: its files and its blocks, in their order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tarsrelease.rehearsal.binaries import resolve
from tarsrelease.rehearsal.paths import cache_root

PAGE = Path(__file__).parents[1] / "docs/your-product.md"
_PART = re.compile(
    r"^`(?P<file>[\w./-]+)`\n```yaml\n(?P<text>.*?)^```$|^```console\n(?P<block>.*?)^```$",
    re.M | re.S,
)


def script(*, until: str = "") -> str:
    """The page as one bash script; `until` is the heading that ends it."""
    page = PAGE.read_text()
    page = page[: page.index(f"\n## {until}")] if until else page
    lines = ["set -euo pipefail"]
    for part in _PART.finditer(page):
        if part["file"]:
            folder = Path(part["file"]).parent
            lines += [f"mkdir -p {folder}", f"cat > {part['file']} <<'END'\n{part['text']}END"]
        else:
            for line in part["block"].splitlines():
                assert line.startswith("$ "), line
                lines += [f"echo '+' {_quoted(line[2:])}", line[2:]]
    return "\n".join(lines) + "\n"


def commands(page: Path) -> list[str]:
    """The commands of the page's console blocks, in their order."""
    blocks = re.findall(r"^```console\n(.*?)^```$", page.read_text(), re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines), lines
    return [line[2:] for line in lines]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def run(folder: Path, text: str, log: Path) -> int:
    """Run the script in `folder`, with its output in `log`; the exit code."""
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Somebody"), ("EMAIL", "somebody@example.com"))
    }
    helm = Path(resolve(cache_root(), print).commands["helm"][0])
    path = [str(Path(sys.executable).parent), str(helm.parent), os.environ["PATH"]]
    with log.open("w") as output:
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=folder,
            env={**os.environ, **who, "PATH": os.pathsep.join(path)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return done.returncode
