"""What differs between two bundles. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tarsrelease.model.bundle import Manifest
from tarsrelease.steps.verification.chart_archive import ChartArchive
from tarsrelease.steps.verification.listed import shown

_KEYS = {"images": "service", "hotfixes": "id", "migrations": "file"}
"""What names an item in the manifest's lists."""


def file_differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """`before` and `after` are the SHA-256 of each file by path; a renamed file is told as one."""
    gone = {path: digest for path, digest in before.items() if path not in after}
    new = {path: digest for path, digest in after.items() if path not in before}
    lines = []
    for path, digest in sorted(gone.items()):
        moved = next((other for other, same in sorted(new.items()) if same == digest), None)
        if moved is None:
            lines.append(f"removed  {shown(path)}")
        else:
            lines.append(f"renamed  {shown(path)} to {shown(moved)}")
            del new[moved]
    lines += [f"added    {shown(path)}" for path in sorted(new)]
    return lines + [
        f"changed  {shown(path)}: {before[path][:12]} to {after[path][:12]}"
        for path in sorted(before.keys() & after.keys())
        if before[path] != after[path]
    ]


def manifest_differences(before: Manifest, after: Manifest) -> list[str]:
    """Field by field; images, hotfixes and migrations by their names, whatever their order."""
    return _differences(_plain(before), _plain(after), "")


def _plain(manifest: Manifest) -> dict[str, Any]:
    data = manifest.model_dump(mode="json", by_alias=True)
    for key, name in _KEYS.items():
        data[key] = {item[name]: item for item in data[key]}
    return data


def _differences(before: Any, after: Any, where: str) -> list[str]:
    if before == after:
        return []
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        lines = []
        for key in sorted(before.keys() | after.keys()):
            place = f"{where}.{key}" if where else str(key)
            if key not in before:
                lines.append(f"{place}: added")
            elif key not in after:
                lines.append(f"{place}: removed")
            else:
                lines += _differences(before[key], after[key], place)
        return lines
    return [f"{where}: {_short(before)} to {_short(after)}"]


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{len(value)} items"
    return shown(str(value))


def chart_differences(before: ChartArchive, after: ChartArchive) -> list[str]:
    """Files in the charts' archives, below their roots."""
    return file_differences(_below_root(before), _below_root(after))


def _below_root(chart: ChartArchive) -> dict[str, str]:
    return {path.partition("/")[2]: digest for path, digest in chart.digests.items()}
