"""Validate rendered objects against the pinned Kubernetes schema, or a cluster's own."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from tarsrelease.adapters.schemas.compact import FILE, compacted

_SCALARS: dict[str, tuple[tuple[type, ...], str]] = {
    "s": ((str,), "text"),
    "b": ((bool,), "true or false"),
    "i": ((int,), "a whole number"),
    "n": ((int, float), "a number"),
    "q": ((str, int, float), "text or a number"),
}


class ObjectSchema:
    """The schema of a Kubernetes API server. `described` has the form of `compact.compacted`."""

    def __init__(self, described: Mapping[str, Any], name: str) -> None:
        self._types = described["types"]
        self._kinds = described["kinds"]
        self._groups = {_group(one.partition(" ")[0]) for one in self._kinds}
        self.name = name

    def faults(self, found: Mapping[str, Any]) -> list[str] | None:
        """The mistakes of an object; None if the schema does not have its API group."""
        api_version, kind = found.get("apiVersion"), found.get("kind")
        if not isinstance(api_version, str) or not isinstance(kind, str):
            return ["it has no apiVersion and kind"]
        name = self._kinds.get(f"{api_version} {kind}")
        if name is None:
            known = _group(api_version) in self._groups
            return [f"{self.name} has no {kind} in {api_version}"] if known else None
        faults: list[str] = []
        self._check(found, f"#{name}", "", faults)
        return faults

    def _check(self, value: Any, kind: str, where: str, faults: list[str]) -> None:
        if kind == "o" or value is None:  # the API server takes null for a field that is left out
            return
        if kind[0] == "[":
            if not isinstance(value, list):
                faults.append(f"{where} must be a list")
                return
            for number, item in enumerate(value):
                self._check(item, kind[1:], f"{where}[{number}]", faults)
        elif kind[0] in "{#":
            if not isinstance(value, Mapping):
                faults.append(f"{where or 'it'} must be a mapping")
            elif kind[0] == "{":
                for key, item in value.items():
                    self._check(item, kind[1:], f"{where}.{key}", faults)
            else:
                self._check_fields(value, self._types[kind[1:]], where, faults)
        else:
            types, words = _SCALARS[kind]
            if not isinstance(value, types) or (isinstance(value, bool) and kind != "b"):
                faults.append(f"{where} must be {words}, not {value!r:.60}")

    def _check_fields(
        self, value: Mapping[str, Any], described: Mapping[str, Any], where: str, faults: list[str]
    ) -> None:
        prefix = f"{where}." if where else ""
        fields = described["f"]
        for key, item in value.items():
            if not fields:
                continue  # a type without fields of its own holds anything
            if key not in fields:
                faults.append(f"{prefix}{key} is not a field in {self.name}")
            else:
                self._check(item, fields[key], f"{prefix}{key}", faults)
        faults += [
            f"{prefix}{name} is missing"
            for name in described.get("r", ())
            if value.get(name) is None
        ]


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


@cache
def pinned_schema() -> ObjectSchema:
    """The one that the package carries."""
    described: dict[str, Any] = json.loads(gzip.decompress(FILE.read_bytes()))
    return ObjectSchema(described, f"Kubernetes {described['version']}")


def served_schema(swagger: Mapping[str, Any]) -> ObjectSchema:
    """From a cluster's own description (/openapi/v2), custom resources included."""
    version = str(swagger.get("info", {}).get("version", ""))
    return ObjectSchema(compacted(swagger, version), f"the cluster (Kubernetes {version})")
