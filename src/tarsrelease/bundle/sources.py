"""Optional sources of verify besides the bundle's files; without one, checks are NOT CHECKED."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tarsrelease.model.bundle import Source
from tarsrelease.model.bundle_input import BundleInput
from tarsrelease.model.verification import Commit, Fetched, Signed


class Registry(Protocol):
    """Container registries, read only. `name` begins with the registry's host.

    Each method raises UnreachableError where the registry does not answer, and UsageError where
    it does not let us in.
    """

    def manifest(self, name: str, reference: str) -> Fetched | None:
        """The manifest or index of a tag or digest; None if it does not exist."""

    def blob(self, name: str, digest: str, largest: int) -> bytes | None:
        """A small blob; None if there is none. One of more than `largest` bytes is not read."""

    def has_blob(self, name: str, digest: str) -> bool:
        """Whether the blob exists; it is not read."""


class Signatures(Protocol):
    """Attestations from files."""

    def check(self, digest: str) -> Signed | str:
        """Of the artifact with this SHA-256 (hex): who signed it, or why no attestation holds."""


Objects = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Means:
    """The ways to look further. None of them is needed for checksums and agreement.

    `read_input` reads bundle.yaml; `values_faults` says what the chart's schema refuses in
    values; `render` gives the objects of a Helm release's name, a chart's archive and layers of
    values, or what keeps it from rendering; `object_faults` says what Kubernetes would refuse in
    an object, None for a kind that it does not know, and `objects_by` whose description that goes
    by; `sql_faults` says what stops a migration (path, content, phase); `commit` looks a commit up,
    None where it is unknown here; `running` says which version of an application runs, None where
    none does.
    """

    read_input: Callable[[str, bytes], BundleInput | tuple[str, ...]] | None = None
    values_faults: Callable[[bytes, Mapping[str, Any]], list[str]] | None = None
    render: Callable[[str, bytes, Sequence[Mapping[str, Any]]], Objects | str] | None = None
    object_faults: Callable[[Mapping[str, Any]], list[str] | None] | None = None
    objects_by: str = ""
    sql_faults: Callable[[str, bytes, str], list[str]] | None = None
    commit: Callable[[Source], Commit | str] | None = None
    running: Callable[[str], str | None] | None = None
    registry: Registry | None = None
    signatures: Signatures | None = None
    platform: str = "linux/amd64"
    layers: bool = False


NOTHING = Means()
