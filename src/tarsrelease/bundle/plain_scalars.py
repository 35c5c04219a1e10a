"""Scalars of a chart's YAML as Helm's reader (sigs.k8s.io/yaml, in Go) takes them. Pure.

PyYAML makes numbers of ``12:30`` and dates of ``2026-01-01``, fails for ``2026-13-01``, and reads
integers of any length; Go takes all of these as text.
"""

from __future__ import annotations

from typing import Any

LONGEST = 64
"""Bits of Go's integers."""


def as_go_does(loader: Any) -> Any:
    """The loader's class, with these scalars as text."""
    loader.add_constructor("tag:yaml.org,2002:int", _integer)
    loader.add_constructor("tag:yaml.org,2002:float", _float)
    loader.add_constructor("tag:yaml.org,2002:timestamp", loader.construct_yaml_str)
    return loader


def _integer(loader: Any, node: Any) -> int | str:
    text: str = node.value
    if ":" in text:
        return text
    try:
        found: int = loader.construct_yaml_int(node)
    except ValueError:  # 0x_ and the like, or more digits than Python reads
        return text
    return found if found.bit_length() <= LONGEST else text


def _float(loader: Any, node: Any) -> float | str:
    text: str = node.value
    if ":" in text:
        return text
    try:
        found: float = loader.construct_yaml_float(node)
    except ValueError:
        return text
    return found
