"""Write container images as an OCI image layout whose bytes depend on nothing but the content.

Source of the format: OCI image-spec 1.1 (image-layout, index, manifest, config). Layers are
uncompressed tar archives, as the bytes that a compressor writes differ between its versions.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"

_NOBODY = "65532:65532"
"""The user of images that need no rights, as the distroless images have it."""

Descriptor = dict[str, Any]
"""mediaType, digest (``sha256:…``) and size in bytes of a blob."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image: `reference` is ``name:tag``; the same for each architecture but for its program.

    `entrypoint` and `arguments` are what a container runs; `labels` go into its configuration.
    """

    reference: str
    entrypoint: tuple[str, ...]
    arguments: tuple[str, ...]
    labels: Mapping[str, str]
    ports: tuple[int, ...] = ()


def program_layer(name: str, program: bytes) -> bytes:
    """A layer that holds one executable, ``/name``, owned by root, without a time stamp."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(program)
        entry.mode = 0o755
        archive.addfile(entry, io.BytesIO(program))
    return buffer.getvalue()


def layer_descriptor(layer: bytes) -> Descriptor:
    """The descriptor of an uncompressed layer."""
    return _store(None, _LAYER, layer)


def index_digests(images: Sequence[Image], layers: Mapping[str, Descriptor]) -> dict[str, str]:
    """The digests that `write_layout` gives, from the layers' descriptors alone."""
    return {
        image.reference: _store(None, _INDEX, _json(_index(None, image, layers)))["digest"]
        for image in images
    }


def write_layout(
    folder: Path, images: Sequence[Image], layers: Mapping[str, bytes]
) -> dict[str, str]:
    """Write `images` into the new folder and give the digest of each by its reference.

    `layers` holds an uncompressed layer for each architecture (``amd64``, ``arm64``). A digest is
    that of the image's index over the architectures.
    """
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    stored = {architecture: _store(blobs, _LAYER, layer) for architecture, layer in layers.items()}
    listed: list[Descriptor] = []
    digests: dict[str, str] = {}
    for image in images:
        index = _store(blobs, _INDEX, _json(_index(blobs, image, stored)))
        digests[image.reference] = index["digest"]
        listed.append(
            index | {"annotations": {"org.opencontainers.image.ref.name": image.reference}}
        )
    (folder / "index.json").write_bytes(
        _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": listed})
    )
    return digests


def _index(blobs: Path | None, image: Image, layers: Mapping[str, Descriptor]) -> dict[str, Any]:
    manifests = []
    for architecture, layer in sorted(layers.items()):
        config = _store(blobs, _CONFIG, _json(_configuration(image, architecture, layer)))
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": config,
            "layers": [layer],
        }
        platform = {"architecture": architecture, "os": "linux"}
        manifests.append(_store(blobs, _MANIFEST, _json(manifest)) | {"platform": platform})
    return {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}


def _configuration(image: Image, architecture: str, layer: Descriptor) -> dict[str, Any]:
    return {
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": list(image.entrypoint),
            "Cmd": list(image.arguments),
            "User": _NOBODY,
            "ExposedPorts": {f"{port}/tcp": {} for port in image.ports},
            "Labels": dict(image.labels),
        },
        # An uncompressed layer's digest is also its diff id.
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }


def _store(blobs: Path | None, media_type: str, content: bytes) -> Descriptor:
    digest = hashlib.sha256(content).hexdigest()
    if blobs is not None:
        (blobs / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
