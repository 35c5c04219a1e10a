"""What can be done to a bundle: tools for the tamper matrix."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Tamper = Callable[[Path], object]
ZEROS = hashlib.sha256(b"").hexdigest()


def listed_again(folder: Path) -> None:
    """Write SHA256SUMS anew, as somebody who tampers would."""
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name != "SHA256SUMS":
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            name = path.relative_to(folder).as_posix()
            escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
            mark = "\\" if escaped != name else ""
            lines.append(f"{mark}{digest}  {escaped}\n".encode())
    (folder / "SHA256SUMS").write_bytes(b"".join(lines))


def then_listed(tamper: Tamper) -> Tamper:
    def both(folder: Path) -> None:
        tamper(folder)
        listed_again(folder)

    return both


def flipped(name: str) -> Tamper:
    """One bit in the middle of the file."""

    def tamper(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return tamper


def cut(name: str) -> Tamper:
    def tamper(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return tamper


def written(name: str, content: bytes | str) -> Tamper:
    def tamper(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return tamper


def changed(name: str, change: Callable[[bytes], bytes]) -> Tamper:
    def tamper(folder: Path) -> None:
        before = (folder / name).read_bytes()
        after = change(before)
        assert after != before
        (folder / name).write_bytes(after)

    return tamper


def replaced(name: str, before: str, after: str) -> Tamper:
    return changed(name, lambda content: content.replace(before.encode(), after.encode()))


def sums(change: Callable[[bytes], bytes]) -> Tamper:
    return changed("SHA256SUMS", change)


def swapped(one: str, other: str) -> Tamper:
    def tamper(folder: Path) -> None:
        first, second = (folder / one).read_bytes(), (folder / other).read_bytes()
        (folder / one).write_bytes(second)
        (folder / other).write_bytes(first)

    return tamper


def renamed(one: str, other: str) -> Tamper:
    return lambda folder: (folder / one).rename(folder / other)


def linked(name: str, target: str) -> Tamper:
    def tamper(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return tamper


def hard_linked(name: str) -> Tamper:
    def tamper(folder: Path) -> None:
        os.link(folder / name, folder.parent / "other-name")

    return tamper


def piped(name: str) -> Tamper:
    def tamper(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return tamper


def manifest(change: Callable[[Any], object]) -> Tamper:
    """Change the manifest's data, and list it again."""

    def tamper(folder: Path) -> None:
        path = folder / "manifest.production.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data, indent=2))

    return then_listed(tamper)


Entry = tuple[str, bytes | str | None]
"""A member of an archive: name and content; a text is a link's target, None a device."""


def members(folder: Path) -> list[Entry]:
    with tarfile.open(folder / "demo-1.2.0.tgz") as archive:
        return [
            (member.name, file.read())
            for member in archive.getmembers()
            if (file := archive.extractfile(member))
        ]


def tar_of(entries: Sequence[Entry], kind: bytes = tarfile.SYMTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in entries:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type = tarfile.CHRTYPE if content is None else kind
                member.linkname = content or ""
                archive.addfile(member)
    return buffer.getvalue()


def chart(change: Callable[[list[Entry]], list[Entry]], kind: bytes = tarfile.SYMTYPE) -> Tamper:
    """Pack the chart again with other members, and list it again."""

    def tamper(folder: Path) -> None:
        packed = gzip.compress(tar_of(change(members(folder)), kind), mtime=0)
        (folder / "demo-1.2.0.tgz").write_bytes(packed)

    return then_listed(tamper)


def packed(change: Callable[[bytes], bytes]) -> Tamper:
    """Change the archive's own bytes, and list it again."""
    return then_listed(changed("demo-1.2.0.tgz", change))


def in_chart(name: str, before: str, after: str) -> Tamper:
    def change(entries: list[Entry]) -> list[Entry]:
        found = [
            (path, content.replace(before.encode(), os.fsencode(after)))
            if path == name and isinstance(content, bytes)
            else (path, content)
            for path, content in entries
        ]
        assert found != entries
        return found

    return chart(change)
