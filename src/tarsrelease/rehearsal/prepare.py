"""Prepares a cluster: programs, definitions, images and its spec."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tarsrelease.model.errors import UsageError
from tarsrelease.rehearsal.backfill import fill_cache
from tarsrelease.rehearsal.binaries import Binaries, resolve
from tarsrelease.rehearsal.crds import gateway_crds
from tarsrelease.rehearsal.gobuild import find_go, minimum_go
from tarsrelease.rehearsal.images import ImageBuildError, build_images
from tarsrelease.rehearsal.paths import Say, source_root, write_atomically
from tarsrelease.rehearsal.spec import Spec
from tarsrelease.rehearsal.state import StateFolder

_ON_PATH = ("kubectl", "helm", "promtool")


def fill(cache: Path, now: float, say: Say) -> None:
    """Fill the cache with everything that a cluster needs; quick when nothing is missing."""
    binaries = resolve(cache, say)
    gateway_crds(cache, say)
    _images(cache, say)
    fill_cache(binaries.commands["promtool"][0], cache, now)


def prepare(
    folder: StateFolder, cache: Path, scrape_interval: float, images: Path | None, say: Say
) -> dict[str, str]:
    """Write the spec, the images and the programs' links of one cluster; the parts' versions."""
    binaries = resolve(cache, say)
    crds = gateway_crds(cache, say)
    if images is None:
        content = json.dumps({"images": _images(cache, say)}, indent=2) + "\n"
    else:
        content = images.read_text()
    write_atomically(folder.images, content)
    _link(folder.bin, binaries)
    promtool = binaries.commands["promtool"][0]
    Spec(
        name=folder.name,
        tools=binaries.commands,
        crds=str(crds),
        manifests=str(_example() / "world"),
        kubeconfig=str(folder.kubeconfig),
        images=str(folder.images),
        scrape_interval=scrape_interval,
        history=[sys.executable, "-m", "tarsrelease.rehearsal.backfill", promtool, str(cache)],
    ).write(folder.spec)
    return binaries.versions


def _link(folder: Path, binaries: Binaries) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in _ON_PATH:
        (folder / name).symlink_to(binaries.commands[name][0])


def _images(cache: Path, say: Say) -> Sequence[Mapping[str, Any]]:
    services = _example() / "services"
    go = find_go(cache, minimum_go(services), say)
    try:
        return build_images(cache, services, say, go=str(go))
    except ImageBuildError as error:
        raise UsageError(
            doing="building the images of T.A.R.S.",
            found=str(error),
            expected="images from examples/tars/services",
            next_step="fix the named error, then run this command again",
        ) from error


def _example() -> Path:
    folder = source_root() / "examples" / "tars"
    if not folder.is_dir():
        raise UsageError(
            doing="finding the worked example's sources",
            found=f"no folder {folder}",
            expected="a checkout of tarsrelease",
            next_step="set TARSRELEASE_SOURCE=/path/to/checkout",
        )
    return folder
