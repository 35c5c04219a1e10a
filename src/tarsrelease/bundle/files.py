"""A bundle's files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One thing found in a bundle. `path` is relative to it, with slashes.

    `problem` says why it cannot count as a file (a link that leaves the bundle or leads nowhere, a
    device, an unreadable folder); None for a regular file or a link to one inside.
    """

    path: str
    size: int
    problem: str | None = None


class BundleFiles(Protocol):
    """A bundle's files, read only."""

    def listing(self) -> list[BundleFile]:
        """Everything in it but folders, sorted by path; links are not followed into folders."""

    def read(self, path: str) -> bytes | None:
        """The content, or None if there is no such file."""

    def digests(self, paths: Sequence[str]) -> dict[str, str | None]:
        """The SHA-256 (hex) of each file, None where it cannot be read; large files streamed."""
