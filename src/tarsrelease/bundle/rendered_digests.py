"""Digests of rendered objects, to tell two renderings of a chart apart. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any


def digests(rendered: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The SHA-256 (hex) of each object's canonical JSON, by ``Kind/name``, sorted."""
    found: dict[str, list[str]] = {}
    for each in rendered:
        name = f"{each.get('kind')}/{(each.get('metadata') or {}).get('name')}"
        text = json.dumps(each, sort_keys=True, separators=(",", ":"), default=str)
        found.setdefault(name, []).append(hashlib.sha256(text.encode()).hexdigest())
    return {name: sorted(found[name]) for name in sorted(found)}


def differing(
    checked: Sequence[Mapping[str, Any]], planned: Sequence[Mapping[str, Any]]
) -> list[str]:
    """The objects that are not the same in both, as ``Kind/name``.

    Helm applies a chart's ``crds/`` apart from its manifest, so a definition that is only among
    the checked ones is no difference.
    """
    first, second = digests(checked), digests(planned)
    return [
        name
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
        and not (name.startswith("CustomResourceDefinition/") and name not in second)
    ]
