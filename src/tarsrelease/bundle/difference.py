"""The differences between two bundles. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tarsrelease.bundle.chart_archive import ChartArchive
from tarsrelease.bundle.checksum_parser import shown
from tarsrelease.model.bundle import Manifest

_NAMES = ("service", "id", "file", "name", "weight", "path")
"""What names an item of a list, the first of these that every item has and that is its own."""


def file_differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Differences of files; `before` and `after` are SHA-256 by path. A renamed file is one."""
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
    return document_differences(
        *(one.model_dump(mode="json", by_alias=True) for one in (before, after))
    )


def document_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Of two documents as they are written: key by key, and what lists hold by its name."""
    return _differences(before, after, "")


def _differences(before: Any, after: Any, where: str) -> list[str]:
    if before == after:
        return []
    if isinstance(before, list) and isinstance(after, list):
        before, after = _by_name(before, after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        lines = []
        for key in sorted(before.keys() | after.keys(), key=str):
            place = f"{where}.{shown(str(key))}" if where else shown(str(key))
            if key not in before:
                lines.append(f"{place}: added")
            elif key not in after:
                lines.append(f"{place}: removed")
            else:
                lines += _differences(before[key], after[key], place)
        return lines
    return [f"{where}: {_short(before)} to {_short(after)}"]


def _by_name(before: list[Any], after: list[Any]) -> tuple[Any, Any]:
    """Both lists as mappings, by what names their items, or by place; as they are where neither
    tells which item became which."""
    both = [*before, *after]
    for name in _NAMES if all(isinstance(item, Mapping) for item in both) else ():
        keyed = [{str(item.get(name)): item for item in items} for items in (before, after)]
        if all(name in item for item in both) and [len(before), len(after)] == [*map(len, keyed)]:
            return keyed[0], keyed[1]
    if len(before) == len(after):
        return dict(enumerate(before)), dict(enumerate(after))
    return before, after


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
        return f"{len(value)} items"
    return shown(str(value))


def chart_differences(before: ChartArchive, after: ChartArchive) -> list[str]:
    """Files in the charts' archives, below their roots; and what Chart.yaml and the values say."""
    return [
        *file_differences(_below_root(before), _below_root(after)),
        *(f"Chart.yaml {line}" for line in document_differences(before.metadata, after.metadata)),
        *(f"values.yaml {line}" for line in document_differences(before.values, after.values)),
    ]


def _below_root(chart: ChartArchive) -> dict[str, str]:
    return {path.partition("/")[2]: digest for path, digest in chart.digests.items()}
