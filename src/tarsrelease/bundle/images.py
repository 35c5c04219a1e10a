"""Check that the images' tags still point to the digests in the manifest. Pure, given a registry.

Does not trust the registry's statements: hashes the bytes itself, and follows an index to the
manifest of the release's platform (OCI distribution-spec and image-spec 1.1, Docker's schema 2).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tarsrelease.bundle.checksum_parser import shown
from tarsrelease.bundle.results import not_checked
from tarsrelease.bundle.sources import Registry
from tarsrelease.model.bundle import Image
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.verification import INDEXES, LARGEST_MANIFEST, MANIFESTS, Fetched

_ID = "images.registry"


class _RefusedError(Exception):
    """What is wrong with the image, for people."""


@dataclass(frozen=True, slots=True)
class Platform:
    """Operating system, architecture and, where it matters, its variant."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """From ``linux/arm64/v8``. Raises ValueError for anything else."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise ValueError(f"{text!r} is not a platform such as linux/amd64")
        return cls(*parts)

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    def runs(self, described: Mapping[str, Any]) -> bool:
        """Whether an image of this description (of an index or configuration) is for us."""
        return (
            described.get("os") == self.os
            and described.get("architecture") == self.architecture
            and (not self.variant or described.get("variant", "") in ("", self.variant))
        )


def image_checks(
    images: Sequence[Image], registry: Registry | None, why: str, platform: str, *, layers: bool
) -> list[Check]:
    """One check per image. If `registry` is None, `why` says why it is not checked."""
    wanted = Platform.parse(platform)
    checks = []
    for image in images:
        expected = f"{image.tag} points to {image.digest} for {platform}"
        if registry is None:
            reference = f"{image.name}:{image.tag}"
            checks.append(_unknown(image, expected, f"{reference} ({why})"))
            continue
        try:
            found = _found(image, registry, wanted, layers=layers)
        except _RefusedError as problem:
            checks.append(_check(image, Status.FAIL, expected, str(problem)))
        except (UnreachableError, UsageError) as problem:
            checks.append(_unknown(image, expected, problem.detail.found))
        else:
            checks.append(_check(image, Status.PASS, expected, found))
    return checks


def _unknown(image: Image, expected: str, why: str) -> Check:
    return not_checked(_ID, expected, why, source=image.name, service=image.service)


def _check(image: Image, status: Status, expected: str, reason: str) -> Check:
    return Check(
        id=_ID,
        status=status,
        service=image.service,
        observed=Observed(value=image.digest, unit="digest") if status is Status.PASS else None,
        expected=expected,
        reason=reason,
        source=f"{image.name}:{image.tag}",
    )


def _found(image: Image, registry: Registry, platform: Platform, *, layers: bool) -> str:
    """(1) The tag's content, (2) what it is, (3) the platform's manifest, (4) its digest is the
    pinned one, (5) its configuration is for the platform, (6) its layers exist."""
    where = f"{image.name}:{image.tag}"
    top = registry.manifest(image.name, image.tag)  # (1)
    if top is None:
        raise _RefusedError(f"{where} does not exist in the registry")
    digest, document, is_index = _read(top, where)  # (2)
    chosen_digest, chosen = digest, document
    if is_index:  # (3)
        chosen_digest, chosen = _of_platform(image, registry, document, platform, where)
    if image.digest not in (digest, chosen_digest):  # (4)
        raise _RefusedError(_other_digest(image, where, digest, document, is_index=is_index))
    _check_configuration(image, registry, chosen, platform, where)  # (5)
    listed = _descriptors(chosen.get("layers"), f"the layers of {where}")
    if layers:  # (6)
        for layer in listed:
            if not registry.has_blob(image.name, str(layer["digest"])):
                raise _RefusedError(f"{where}: its layer {layer['digest']} does not exist")
    much = f", {len(listed)} layers exist" if layers else ""
    return f"{where} is {image.digest}" + (f" ({platform}: {chosen_digest})" * is_index) + much


def _read(fetched: Fetched, where: str) -> tuple[str, Mapping[str, Any], bool]:
    """Digest, document and whether it is an index, all taken from the bytes themselves."""
    digest = "sha256:" + hashlib.sha256(fetched.content).hexdigest()
    if fetched.digest is not None and fetched.digest != digest:
        raise _RefusedError(
            f"{where}: the registry says Docker-Content-Digest {shown(fetched.digest)}, "
            f"its content is {digest}"
        )
    said = fetched.media_type.partition(";")[0].strip()
    try:
        document = json.loads(fetched.content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _RefusedError(f"{where}: the registry's answer is not a manifest ({shown(said)})")
    if said not in (*INDEXES, *MANIFESTS):
        raise _RefusedError(f"{where}: the media type {shown(said)} is not an image's")
    if document.get("mediaType", said) != said:
        inside = shown(str(document["mediaType"]))
        raise _RefusedError(f"{where}: the registry says it is {said}, the content {inside}")
    is_index = said in INDEXES
    other = "layers" if is_index else "manifests"
    if document.get("schemaVersion") != 2 or other in document:
        raise _RefusedError(f"{where}: it is not a {said}, although its media type says so")
    return digest, document, is_index


def _of_platform(
    image: Image, registry: Registry, index: Mapping[str, Any], platform: Platform, where: str
) -> tuple[str, Mapping[str, Any]]:
    fitting = [
        entry
        for entry in _descriptors(index.get("manifests"), f"the index of {where}")
        if platform.runs(_platform_of(entry))
    ]
    if not fitting:
        raise _RefusedError(f"{where} has no image for {platform}")
    if len({entry["digest"] for entry in fitting}) > 1:
        raise _RefusedError(f"{where} has several images for {platform}")
    digest = str(fitting[0]["digest"])
    fetched = registry.manifest(image.name, digest)
    if fetched is None:
        raise _RefusedError(f"{where}: its manifest for {platform}, {digest}, does not exist")
    real, document, is_index = _read(fetched, f"{where} for {platform}")
    if real != digest or len(fetched.content) != fitting[0].get("size"):
        raise _RefusedError(
            f"{where} for {platform}: expected {digest} with {fitting[0].get('size')} bytes, the "
            f"registry sent {real} with {len(fetched.content)}"
        )
    if is_index:
        raise _RefusedError(f"{where} for {platform} is an index in an index")
    return digest, document


def _other_digest(
    image: Image, where: str, digest: str, document: Mapping[str, Any], *, is_index: bool
) -> str:
    entries = _descriptors(document.get("manifests"), where) if is_index else []
    for entry in entries:
        if entry["digest"] == image.digest:
            described = _platform_of(entry)
            other = f"{described.get('os')}/{described.get('architecture')}"
            return (
                f"{where}: the manifest pins {image.digest}, which is the digest of {shown(other)}"
            )
    return f"{where} is {digest}, the manifest pins {image.digest}"


def _platform_of(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    described = entry.get("platform")
    return described if isinstance(described, Mapping) else {}


def _check_configuration(
    image: Image,
    registry: Registry,
    manifest: Mapping[str, Any],
    platform: Platform,
    where: str,
) -> None:
    (described,) = _descriptors([manifest.get("config")], f"the configuration of {where}")
    digest = str(described["digest"])
    content = registry.blob(image.name, digest, LARGEST_MANIFEST)
    if content is None:
        raise _RefusedError(f"{where}: its configuration {digest} does not exist")
    real = "sha256:" + hashlib.sha256(content).hexdigest()
    if real != digest:
        raise _RefusedError(f"{where}: its configuration is {real}, not {digest}")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not platform.runs(document):
        raise _RefusedError(f"{where}: its configuration is not for {platform}")


def _descriptors(found: object, what: str) -> list[Mapping[str, Any]]:
    """The list of descriptors that it should be, each with a digest of SHA-256."""
    entries = found if isinstance(found, list) else []
    good = [
        entry
        for entry in entries
        if isinstance(entry, Mapping) and str(entry.get("digest", "")).startswith("sha256:")
    ]
    if not good or len(good) != len(entries):
        raise _RefusedError(f"{what}: no list of descriptors with SHA-256 digests")
    return good
