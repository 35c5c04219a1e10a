"""OCI layouts: every byte is addressed by its digest and depends on the content alone."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from tarsrelease.rehearsal.oci import Image, program_layer, write_layout

IMAGES = [
    Image("example.org/web:v1", ("/tars",), ("web",), {"version": "1"}, (8080,)),
    Image("example.org/worker:v1", ("/tars",), ("worker",), {"version": "1"}),
]
LAYERS = {
    "arm64": program_layer("tars", b"program for arm64"),
    "amd64": program_layer("tars", b"program for amd64"),
}


def blob(folder: Path, descriptor: dict[str, Any]) -> bytes:
    """The blob of a descriptor, after checking that it is what the descriptor says."""
    algorithm, _, digest = str(descriptor["digest"]).partition(":")
    content = (folder / "blobs" / algorithm / digest).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest
    assert len(content) == descriptor["size"]
    return content


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_layout_leads_from_each_reference_to_each_program(tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    digests = write_layout(folder, IMAGES, LAYERS)

    assert json.loads((folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    listed = json.loads((folder / "index.json").read_text())["manifests"]
    assert [each["annotations"]["org.opencontainers.image.ref.name"] for each in listed] == [
        "example.org/web:v1",
        "example.org/worker:v1",
    ]
    for image, each in zip(IMAGES, listed, strict=True):
        assert digests[image.reference] == each["digest"]
        manifests = json.loads(blob(folder, each))["manifests"]
        architectures = [manifest["platform"]["architecture"] for manifest in manifests]
        assert architectures == ["amd64", "arm64"]
        for architecture, descriptor in zip(architectures, manifests, strict=True):
            manifest = json.loads(blob(folder, descriptor))
            config = json.loads(blob(folder, manifest["config"]))
            assert config["architecture"] == architecture
            assert config["config"]["Entrypoint"] == ["/tars"]
            assert config["config"]["Cmd"] == list(image.arguments)
            (layer,) = manifest["layers"]
            assert config["rootfs"]["diff_ids"] == [layer["digest"]]
            with tarfile.open(fileobj=io.BytesIO(blob(folder, layer))) as archive:
                (member,) = archive.getmembers()
                program = archive.extractfile(member)
                assert program is not None
                assert program.read() == f"program for {architecture}".encode()
                assert (member.name, member.mode, member.mtime) == ("tars", 0o755, 0)
                assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    write_layout(tmp_path / "one", IMAGES, LAYERS)
    write_layout(tmp_path / "two", IMAGES, dict(reversed(LAYERS.items())))
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_another_program_gives_another_digest(tmp_path: Path) -> None:
    before = write_layout(tmp_path / "one", IMAGES, LAYERS)
    changed = LAYERS | {"arm64": program_layer("tars", b"another program")}
    after = write_layout(tmp_path / "two", IMAGES, changed)
    assert all(before[reference] != after[reference] for reference in before)


def test_programs_are_stored_once_for_all_images(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", IMAGES, LAYERS)
    stored = files(tmp_path / "layout").values()
    assert [list(stored).count(layer) for layer in LAYERS.values()] == [1, 1]
