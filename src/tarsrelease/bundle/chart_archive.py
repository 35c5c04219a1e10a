"""What a packaged Helm chart says about itself, read without unpacking it. Pure.

Helm 4.2 takes links, and a second Chart.yaml without a word (the last one wins); readers of tar
archives end at different places. So an archive that two readers could understand differently is
refused, and nothing larger than the limits below is ever held in memory.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tarsrelease.bundle.checksum_parser import shown

LARGEST_ARCHIVE = 16 * 2**20
"""Bytes of the largest archive that is read; Helm's charts are limited by etcd to about 1 MiB."""
_LARGEST = 32 * 2**20  # unpacked, all together
_LARGEST_FILE = 5 * 2**20  # as Helm's own limit, loader.MaxDecompressedFileSize
_LARGEST_TEXT = 2**20  # Chart.yaml and values.yaml are text written by people
_MOST_MEMBERS = 10_000
_MANY = 20
_DEEPEST = 3  # subcharts in subcharts
_BLOCK = 512  # POSIX.1-2001, pax: ustar interchange format
_SUBCHART = re.compile(r"(?:[^/]+/)+charts/[^/]+\.tgz")
_TEMPLATE = re.compile(r"(?:^|/)templates/")
_COMMENT = re.compile(rb"\{\{-?\s*/\*.*?\*/\s*-?\}\}", re.DOTALL)
_LOOKUP = re.compile(rb"\{\{(?:(?!\}\}).)*\blookup\s+[\"`$.(]", re.DOTALL)
"""A template that asks the cluster renders something else there than here."""
_CALL = re.compile(rb"\blookup(?=\s+[\"`$.(])")
_PLAIN = re.compile(r"[ -\[\]-~]+")  # printable ASCII but the backslash, which is / on Windows

ReadValues = Callable[[str, bytes], Mapping[str, Any] | tuple[str, ...]]
"""Reads a mapping from YAML, given its path and content, or says what is wrong."""


@dataclass(frozen=True)
class ChartArchive:
    """`metadata` is Chart.yaml, `values` values.yaml, `values_schema` values.schema.json if there
    is one; `faults` say what is wrong. Those in `lookups` are none if no rendering gets there."""

    metadata: Mapping[str, Any]
    values: Mapping[str, Any]
    faults: tuple[str, ...]
    values_schema: bytes | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 (hex) of every file in it, by path."""
    lookups: tuple[str, ...] = ()


@dataclass
class _Reading:
    name: str | None
    wanted: dict[str, bytes] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    lookups: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)


def read_chart(content: bytes, name: str, read_values: ReadValues) -> ChartArchive:
    """Read ``NAME/Chart.yaml``, ``NAME/values.yaml`` and ``NAME/values.schema.json``."""
    reading = _Reading(name)
    _read(content, reading, depth=0)
    faults = reading.faults
    if len(faults) > _MANY:
        faults = [*faults[:_MANY], f"and {len(faults) - _MANY} more things are wrong"]
    lookups = tuple(reading.lookups[:_MANY])
    texts: dict[str, Mapping[str, Any]] = {}
    for text in ("Chart.yaml", "values.yaml"):
        path = f"{name}/{text}"
        found = _mapping(path, reading.wanted.get(path), read_values)
        texts[text] = {} if isinstance(found, tuple) else found
        if isinstance(found, tuple) and not reading.faults:
            faults += found
    return ChartArchive(
        texts["Chart.yaml"],
        texts["values.yaml"],
        (*faults, *lookups),
        reading.wanted.get(f"{name}/values.schema.json"),
        reading.digests,
        lookups,
    )


def _read(content: bytes, reading: _Reading, depth: int) -> None:
    unpacked = _unpacked(content)
    if isinstance(unpacked, str):
        reading.faults.append(unpacked)
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:", errors="strict") as archive:
            for count, member in enumerate(archive):
                if count >= _MOST_MEMBERS:
                    reading.faults.append(f"it has more than {_MOST_MEMBERS} files")
                    return
                _member(archive, member, reading, depth)
            end = archive.offset
            if archive.pax_headers:
                reading.faults.append(
                    "it has a PAX global header, which renames files for some readers only"
                )
    except (tarfile.TarError, OSError, EOFError, ValueError) as problem:
        reading.faults.append(f"not a gzipped tar archive: {problem}")
        return
    rest = unpacked[end:]
    # What follows the last member is two blocks of zeros, and what fills up the last record.
    if rest.count(0) != len(rest) or len(unpacked) % _BLOCK:
        reading.faults.append("it has data after its end, which other readers may read")


def _unpacked(content: bytes) -> bytes | str:
    """The bytes in a gzip file, or why they are not read; the limit holds while unpacking."""
    if len(content) > LARGEST_ARCHIVE:
        return f"it has {len(content)} bytes; more than {LARGEST_ARCHIVE} are not read"
    reader = zlib.decompressobj(wbits=31)  # gzip, RFC 1952
    try:
        unpacked = reader.decompress(content, _LARGEST + 1)
    except zlib.error as problem:
        return f"not a gzipped tar archive: {problem}"
    if len(unpacked) > _LARGEST:
        return f"it unpacks to more than {_LARGEST // 2**20} MiB: a decompression bomb"
    if not reader.eof:
        return "not a gzipped tar archive: it is truncated"
    if reader.unused_data:
        return "there is data after the end of the gzip file, which other readers may read"
    return unpacked


def _member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, reading: _Reading, depth: int
) -> None:
    path = member.name
    faults = _member_faults(member, reading)
    reading.seen.setdefault(path.casefold(), path)
    reading.faults += faults
    if faults or not member.isfile():
        return
    file = archive.extractfile(member)
    content = file.read() if file else b""
    reading.digests[path] = hashlib.sha256(content).hexdigest()
    if _TEMPLATE.search(path) and _LOOKUP.search(_COMMENT.sub(b"", content)):
        reading.lookups.append(f"{path} uses lookup, so that it renders differently in a cluster")
    subchart = _SUBCHART.fullmatch(path)
    if path.count("/") == 1 or subchart:
        if subchart and depth >= _DEEPEST:
            reading.faults.append(f"{path}: subcharts are nested too deep")
        elif subchart:
            inner = _Reading(None)
            _read(content, inner, depth + 1)
            reading.faults += [f"{path}: {fault}" for fault in inner.faults]
            reading.lookups += [f"{path}: {fault}" for fault in inner.lookups]
        else:
            reading.wanted[path] = content


def _member_faults(member: tarfile.TarInfo, reading: _Reading) -> list[str]:
    faults = []
    path, name = member.name, shown(member.name)
    parts = path.split("/")
    if reading.name is None:
        reading.name = parts[0]  # a subchart's folder may have any name, but only one
    if parts[0] != reading.name or {"..", ".", ""} & set(parts):
        faults.append(f"{name!r} is outside {reading.name}/")
    if _PLAIN.fullmatch(path) is None:
        faults.append(f"{name} has characters other than plain ASCII")
    if member.issparse() or not (member.isfile() or member.isdir()):
        faults.append(f"{name!r} is neither a file nor a folder{_instead(member)}")
    if member.size > _LARGEST_FILE:
        faults.append(f"{name!r} has {member.size} bytes, more than {_LARGEST_FILE}")
    first = reading.seen.get(path.casefold())
    if first == path and not member.isdir():
        faults.append(f"{name!r} is there twice")
    elif first is not None and first != path:
        faults.append(f"{name!r} and {first!r} differ only in case")
    return faults


def _instead(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return f", but a {'hard ' if member.islnk() else ''}link to {shown(member.linkname)!r}"
    return ", but a device or a pipe" if member.isdev() else ""


def _mapping(
    path: str, content: bytes | None, read_values: ReadValues
) -> Mapping[str, Any] | tuple[str, ...]:
    if content is None:
        return (f"{path} is missing",)
    if len(content) > _LARGEST_TEXT:
        return (f"{path} has {len(content)} bytes; more than {_LARGEST_TEXT} are not read",)
    return read_values(path, content)


def failing_at_lookup(content: bytes) -> bytes:
    """The archive with `fail` for each call of `lookup`: a rendering that gets there ends in error.

    `content` has no other faults.
    """
    written = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive,
        tarfile.open(fileobj=written, mode="w:gz", compresslevel=1) as changed,
    ):
        for member in archive:
            file = archive.extractfile(member)
            if file is None:
                continue
            text = file.read()
            if _SUBCHART.fullmatch(member.name):
                text = failing_at_lookup(text)
            elif _TEMPLATE.search(member.name):
                text = _CALL.sub(b"fail", text)
            fresh = tarfile.TarInfo(member.name)
            fresh.size = len(text)
            changed.addfile(fresh, io.BytesIO(text))
    return written.getvalue()
