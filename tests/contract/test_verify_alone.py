"""verify needs no network, no programs and no place to write for what needs none of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from bundle_samples import commit_all, write_sources

from tarsrelease.adapters.files.bundle_build import build_bundle

UNSHARE = shutil.which("unshare")
NO_NETWORK = [UNSHARE or "", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = write_sources(tmp_path_factory.mktemp("alone") / "project")
    commit_all(sources.root)
    build_bundle(sources.source, "1.2.0", sources.out)
    return sources.out


def verified(bundle: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """In a network of its own that has not even loopback, without a PATH or a home."""
    if UNSHARE is None or subprocess.run([*NO_NETWORK, "true"], check=False).returncode != 0:
        pytest.skip("unshare cannot make a network here")
    command = [sys.executable, "-I", "-m", "tarsrelease", "verify", str(bundle), "--format", "json"]
    done = subprocess.run(
        [*NO_NETWORK, *command, *more],
        env={"PATH": "", "HOME": "/nonexistent"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("offline", [True, False])
def test_all_that_needs_nothing_is_checked_and_the_rest_is_told(
    bundle: Path, offline: bool
) -> None:
    code, outcome = verified(bundle, *(["--offline"] if offline else []))
    assert code == 0, outcome
    passed = {check["id"] for check in outcome["checks"] if check["status"] == "pass"}
    assert passed == {
        "bundle.checksums_form", "bundle.completeness", "bundle.links", "bundle.digest",
        "bundle.names", "bundle.schema", "bundle.canary_values", "rollout.schema",
        "manifest.schema", "manifest.files", "manifest.agreement", "manifest.input",
        "manifest.hotfixes", "manifest.migrations", "manifest.images", "manifest.source",
        "chart.archive", "chart.values", "migrations.lint",
    }  # fmt: skip
    left = {
        check["id"]: check["reason"] for check in outcome["checks"] if check["id"] not in passed
    }
    assert left.keys() == {
        "chart.render", "chart.images", "manifest.commit", "manifest.previous", "images.registry",
        "signatures.attestation",
    }  # fmt: skip
    assert all(reason.startswith("NOT CHECKED: ") for reason in left.values())
    assert "Helm was not found" in left["chart.render"]
    assert "there is no git here" in left["manifest.commit"]
    assert ("(--offline)" if offline else "cannot reach") in left["images.registry"]


def test_what_was_changed_is_still_a_no(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "v1_2_0")
    (tmp_path / "v1_2_0" / "NOTES.md").write_text("other\n")
    code, outcome = verified(tmp_path / "v1_2_0", "--offline")
    assert code == 1
    assert "NOTES.md was changed" in json.dumps(outcome)


def test_checksums_alone(bundle: Path) -> None:
    code, outcome = verified(bundle, "--checksums-only")
    assert code == 0
    assert "is valid" in outcome["summary"]
