"""A Helm chart archive whose bytes depend on its content alone."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from collections.abc import Mapping

_LARGEST_STORED = 65535  # RFC 1951, 3.2.4: the length of a stored block has 16 bits
EPOCH = 315532800
"""1980-01-01, the earliest time that every archive format knows; SOURCE_DATE_EPOCH overrides it."""


def package_chart(name: str, files: Mapping[str, bytes], epoch: int = EPOCH) -> bytes:
    """``NAME/…`` of `files` (content by path in the chart) as a .tgz; `epoch` is every mtime."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        # Helm reads Chart.yaml wherever it stands; first is where its own packages have it.
        for path in sorted(files, key=lambda path: (path != "Chart.yaml", path)):
            member = tarfile.TarInfo(f"{name}/{path}")
            member.size = len(files[path])
            member.mtime = epoch
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(files[path]))
    return gzip_stored(raw.getvalue())


def gzip_stored(content: bytes) -> bytes:
    """RFC 1952 around stored blocks: compressors differ between machines, stored bytes do not."""
    blocks = [
        content[start : start + _LARGEST_STORED]
        for start in range(0, len(content), _LARGEST_STORED)
    ] or [b""]
    body = b"".join(
        struct.pack("<BHH", block is blocks[-1], len(block), len(block) ^ 0xFFFF) + block
        for block in blocks
    )
    header = b"\x1f\x8b\x08\x00" + b"\x00" * 4 + b"\x00\xff"
    return header + body + struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF)
