"""A private copy of a bundle's checked bytes: what was verified is what acts.

Anyone with write access to the folder could exchange a file between the check and its use. Every
file that SHA256SUMS lists is read once, compared, and kept where only this user can write.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tarsrelease.adapters.files.bundle_files import FolderFiles
from tarsrelease.bundle.checksum_parser import LARGEST, parse_checksums, shown
from tarsrelease.model.bundle import CHECKSUMS
from tarsrelease.model.errors import UsageError


@dataclass(frozen=True, slots=True)
class PrivateBundle:
    """`folder` has what SHA256SUMS lists; `identity` is the SHA-256 (hex) of that list."""

    folder: Path
    identity: str


@contextmanager
def private_copy(bundle: Path) -> Iterator[PrivateBundle]:
    """The copy, which is removed at the end of the block.

    Raises UsageError for a bundle without SHA256SUMS, or with a file that is not as listed.
    """
    files = FolderFiles(bundle, hard_links=True)
    sums = bundle / CHECKSUMS
    content = files.read(CHECKSUMS) if sums.is_file() and sums.stat().st_size <= LARGEST else None
    if content is None:
        raise _refused(bundle, f"{bundle} has no {CHECKSUMS} that can be read")
    listed = parse_checksums(content)
    if listed.faults:
        raise _refused(bundle, f"{sums}: {listed.faults[0]}")
    folder = Path(tempfile.mkdtemp(prefix="tarsrelease-bundle-"))
    try:
        (folder / CHECKSUMS).write_bytes(content)
        for path, digest in listed.digests.items():
            found = files.read(path)
            if found is None or hashlib.sha256(found).hexdigest() != digest:
                what = "is missing" if found is None else "is not the file that SHA256SUMS lists"
                raise _refused(bundle, f"{bundle}/{shown(path)} {what}")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(found)
        yield PrivateBundle(folder, hashlib.sha256(content).hexdigest())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refused(bundle: Path, found: str) -> UsageError:
    return UsageError(
        doing="reading the release",
        found=found,
        expected="the bytes that the bundle lists",
        next_step=f"tarsrelease verify {bundle}; get the bundle again from where it was built",
    )
