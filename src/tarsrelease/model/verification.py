"""Facts for `verify` from other systems: registries, repositories, signatures."""

from __future__ import annotations

from dataclasses import dataclass

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
"""Media types of what leads from a tag to one manifest per platform."""
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""Media types of one image's manifest."""
LARGEST_MANIFEST = 4 * 2**20
"""Bytes that registries must take at least (distribution-spec 1.1, pushing manifests)."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a registry answered: the raw bytes, and what it said about them."""

    content: bytes
    media_type: str
    digest: str | None


@dataclass(frozen=True, slots=True)
class Commit:
    """What the repository around a bundle says about the commit that it was built from.

    `tags` are those on the commit; `inputs` is bundle.yaml at that commit, None where it had none.
    """

    tags: frozenset[str]
    inputs: bytes | None


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that holds: who signed, from which repository and commit."""

    signer: str
    repository: str
    commit: str
