"""Is a rendered object one that Kubernetes would take? By the pinned schema, without a cluster."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from tarsrelease.adapters.schemas.compact import FILE

_OURS = "k8s.io"
_SCALARS: dict[str, tuple[tuple[type, ...], str]] = {
    "s": ((str,), "text"),
    "b": ((bool,), "true or false"),
    "i": ((int,), "a whole number"),
    "n": ((int, float), "a number"),
    "q": ((str, int, float), "text or a number"),
}


@cache
def _schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(gzip.decompress(FILE.read_bytes()))
    return loaded


def schema_version() -> str:
    """The Kubernetes version that the schema is of."""
    return str(_schema()["version"])


def object_faults(found: Mapping[str, Any]) -> list[str] | None:
    """What is wrong with a Kubernetes object; None for a kind that is not Kubernetes' own."""
    api_version, kind = found.get("apiVersion"), found.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str):
        return ["it has no apiVersion and kind"]
    name = _schema()["kinds"].get(f"{api_version} {kind}")
    if name is None:
        group = api_version.partition("/")[0] if "/" in api_version else ""
        known = {one.partition("/")[0] if "/" in one else "" for one in _schema()["kinds"]}
        if group in known:
            return [f"Kubernetes {schema_version()} has no {kind} in {api_version}"]
        return None
    faults: list[str] = []
    _check(found, f"#{name}", "", faults)
    return faults


def _check(value: Any, kind: str, where: str, faults: list[str]) -> None:
    if kind == "o" or value is None:  # the API server takes null for a field that is left out
        return
    if kind[0] == "[":
        if not isinstance(value, list):
            faults.append(f"{where} must be a list")
            return
        for number, item in enumerate(value):
            _check(item, kind[1:], f"{where}[{number}]", faults)
    elif kind[0] in "{#":
        if not isinstance(value, Mapping):
            faults.append(f"{where or 'it'} must be a mapping")
        elif kind[0] == "{":
            for key, item in value.items():
                _check(item, kind[1:], f"{where}.{key}", faults)
        else:
            _check_fields(value, _schema()["types"][kind[1:]], where, faults)
    else:
        types, words = _SCALARS[kind]
        if not isinstance(value, types) or (isinstance(value, bool) and kind != "b"):
            faults.append(f"{where} must be {words}, not {value!r:.60}")


def _check_fields(
    value: Mapping[str, Any], described: Mapping[str, Any], where: str, faults: list[str]
) -> None:
    prefix = f"{where}." if where else ""
    fields = described["f"]
    for key, item in value.items():
        if not fields:
            continue  # a type without fields of its own holds anything
        if key not in fields:
            faults.append(f"{prefix}{key} is no field that Kubernetes knows")
        else:
            _check(item, fields[key], f"{prefix}{key}", faults)
    faults += [
        f"{prefix}{name} is missing" for name in described.get("r", ()) if value.get(name) is None
    ]
