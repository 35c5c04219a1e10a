"""scripts/sbom lists what requirements/runtime.txt pins, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_pinned_package_is_listed_with_its_hashes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts/sbom", tmp_path / "sbom.json"], check=True)
    listed = json.loads((tmp_path / "sbom.json").read_text())
    lock = (ROOT / "requirements/runtime.txt").read_text()
    pinned = set(re.findall(r"^([\w.-]+)==([\w.+-]+)", lock, re.MULTILINE))
    assert pinned
    assert {(one["name"], one["version"]) for one in listed["components"]} == pinned
    assert sum(len(one["hashes"]) for one in listed["components"]) == lock.count("--hash=sha256:")
    assert all(one["purl"].startswith("pkg:pypi/") for one in listed["components"])
