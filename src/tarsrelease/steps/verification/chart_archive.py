"""What a packaged Helm chart says about itself, read without unpacking it. Pure."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

_LARGEST = 4 * 2**20  # Chart.yaml and values.yaml are text written by people


@dataclass(frozen=True)
class ChartArchive:
    """`metadata` is Chart.yaml, `values` values.yaml; `faults` say what is wrong."""

    metadata: Mapping[str, Any]
    values: Mapping[str, Any]
    faults: tuple[str, ...]


def read_chart(content: bytes, name: str) -> ChartArchive:
    """Read ``NAME/Chart.yaml`` and ``NAME/values.yaml``.

    Helm takes links and a second Chart.yaml without a word (the last one wins): both are faults.
    """
    faults: list[str] = []
    wanted = {f"{name}/Chart.yaml": b"", f"{name}/values.yaml": b""}
    seen: set[str] = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                faults += _member_faults(member, name, seen)
                seen.add(member.name)
                if member.name in wanted and member.isfile() and member.size <= _LARGEST:
                    file = archive.extractfile(member)
                    wanted[member.name] = file.read() if file else b""
    except (tarfile.TarError, OSError, EOFError) as problem:
        return ChartArchive({}, {}, (f"not a gzipped tar archive: {problem}",))
    metadata = _mapping(wanted[f"{name}/Chart.yaml"])
    values = _mapping(wanted[f"{name}/values.yaml"])
    if metadata is None:
        faults.append(f"{name}/Chart.yaml is missing or holds no mapping")
    if values is None:
        faults.append(f"{name}/values.yaml is missing or holds no mapping")
    return ChartArchive(metadata or {}, values or {}, tuple(faults))


def _member_faults(member: tarfile.TarInfo, name: str, seen: set[str]) -> list[str]:
    faults = []
    parts = member.name.split("/")
    if parts[0] != name or ".." in parts:
        faults.append(f"{member.name!r} lies outside {name}/")
    if not (member.isfile() or member.isdir()):
        faults.append(f"{member.name!r} is neither a file nor a folder")
    if member.name in seen:
        faults.append(f"{member.name!r} stands twice")
    return faults


def _mapping(content: bytes) -> dict[str, Any] | None:
    try:
        data = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    return data if isinstance(data, dict) else None
