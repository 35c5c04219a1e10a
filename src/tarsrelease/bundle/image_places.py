"""Where a chart's values have an image. Pure."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping
from typing import Any

import yaml

from tarsrelease.bundle.chart import laid_over
from tarsrelease.bundle.plain_scalars import as_go_does
from tarsrelease.model.bundle import ImagePaths

_UNPACKED = re.compile(r"charts/([^/]+)/values\.yaml")
_PACKED = re.compile(r"charts/([^/]+)\.tgz")
_LARGEST = 2**20


@as_go_does
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Values as Helm reads them."""


def places_of(prefix: str, defaults: Mapping[str, Any]) -> ImagePaths:
    """The places under the key `prefix`: registry and digest only where the chart has them.

    A text there is the whole image.
    """
    there = at(defaults, prefix.split("."))
    if isinstance(there, str):
        return ImagePaths(reference=prefix)
    keys = there if isinstance(there, Mapping) else {}
    return ImagePaths(
        registry=f"{prefix}.registry" if "registry" in keys else None,
        repository=f"{prefix}.repository",
        tag=f"{prefix}.tag",
        digest=f"{prefix}.digest" if "digest" in keys else None,
    )


def at(values: Any, path: list[str] | tuple[str, ...]) -> Any:
    """The value at `path`, whose numbers count the items of lists from 0; None if there is none."""
    for key in path:
        if isinstance(values, list) and key.isdecimal():
            values = values[int(key)] if int(key) < len(values) else None
        else:
            values = values.get(key) if isinstance(values, Mapping) else None
    return values


def chart_defaults(files: Mapping[str, bytes]) -> dict[str, Any]:
    """The chart's values.yaml over those of its subcharts (`files` by path in the chart).

    A file that cannot be read counts as empty: whether it can is another question.
    """
    below: dict[str, Any] = {}
    for path, content in files.items():
        if found := _UNPACKED.fullmatch(path):
            below[found[1]] = _mapping(content)
        elif _PACKED.fullmatch(path):
            below |= _packed(content)
    return laid_over(below, _mapping(files.get("values.yaml", b"")))


def _packed(content: bytes) -> dict[str, Any]:
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                folder, _, rest = member.name.partition("/")
                if rest == "values.yaml" and member.isfile() and member.size <= _LARGEST:
                    file = archive.extractfile(member)
                    return {folder: _mapping(file.read() if file else b"")}
    except (tarfile.TarError, OSError, EOFError):
        pass
    return {}


def _mapping(content: bytes) -> dict[str, Any]:
    try:
        found = yaml.load(content, Loader=_Loader)  # noqa: S506 - a safe one
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}
