"""The worked example's Go modules and images: their own tests, and digests that bundles pin."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tarsrelease.rehearsal import pin_images
from tarsrelease.rehearsal.gobuild import find_go, minimum_go
from tarsrelease.rehearsal.images import build_images
from tarsrelease.rehearsal.paths import cache_root

ROOT = Path(__file__).parents[2]
SERVICES = ROOT / "examples/tars/services"
LOADGEN = ROOT / "src/tarsrelease/rehearsal/loadgen"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("module", [SERVICES, LOADGEN], ids=["services", "loadgen"])
def test_go(module: Path) -> None:
    """With the flags of the builds, so that what those compiled is not compiled again."""
    go = find_go(cache_root(), minimum_go(module), print)
    done = subprocess.run(
        [str(go), "test", "-count=1", "-trimpath", "-buildvcs=false", "./..."],
        cwd=module,
        env={**os.environ, "CGO_ENABLED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_bundles_pin_the_images_that_are_built(capfd: pytest.CaptureFixture[str]) -> None:
    assert pin_images.main(["--check"]) == 0, capfd.readouterr()


@pytest.mark.full
def test_images_do_not_depend_on_where_they_are_built(tmp_path: Path) -> None:
    elsewhere = tmp_path / "another" / "folder"
    shutil.copytree(SERVICES, elsewhere)
    go = str(find_go(cache_root(), minimum_go(SERVICES), print))
    here = build_images(cache_root(), SERVICES, print, go=go)
    there = build_images(tmp_path / "cache", elsewhere, print, go=go)
    assert [entry["digest"] for entry in there] == [entry["digest"] for entry in here]
