"""What a Job gets of the environment's file: everything as it stands, but for the way there."""

from __future__ import annotations

import base64
import io
import tarfile
from pathlib import Path

import pytest

from tarsrelease.adapters.files.configuration import load_environment
from tarsrelease.adapters.postgres.job import packed

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["rehearsal", "production", "staging"])
def test_the_environment_travels_as_it_is_written(tmp_path: Path, name: str) -> None:
    file = ROOT / f"environments/{name}.yaml"
    forward = "database:\n  port_forward: {service: tars-postgres}\n"
    changed = tmp_path / f"{name}.yaml"
    changed.write_text(file.read_text().replace("database:\n", forward, 1))
    packet = base64.b64decode(packed(ROOT / "release/v1_0_1", changed))
    with tarfile.open(fileobj=io.BytesIO(packet)) as archive:
        archive.extractall(tmp_path / "inside", filter="data")
    inside = load_environment(str(tmp_path / f"inside/environments/{name}.yaml"))
    here = load_environment(str(file))
    assert inside.kubernetes.context is None
    assert inside.kubernetes.namespace == here.kubernetes.namespace
    assert inside.model_copy(update={"kubernetes": here.kubernetes}) == here
    assert (tmp_path / "inside/release/SHA256SUMS").is_file()
