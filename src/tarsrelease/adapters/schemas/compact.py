"""Make kubernetes.json.gz, the pinned Kubernetes schema, from Kubernetes' own OpenAPI description.

``python -m tarsrelease.adapters.schemas.compact SWAGGER VERSION``, where SWAGGER is
``api/openapi-spec/swagger.json`` of k8s.io/kubernetes (Apache-2.0). Descriptions are left out, and
a type is one short text, so that reading it costs milliseconds:

- ``s`` text, ``b`` truth value, ``i`` whole number, ``n`` number, ``q`` text or number (quantities,
  ports), ``o`` anything;
- ``[T`` a list of T, ``{T`` a mapping of text to T, ``#NAME`` the type NAME.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("kubernetes.json.gz")
_SCALARS = {"string": "s", "boolean": "b", "integer": "i", "number": "n", "object": "o"}


def compacted(swagger: Mapping[str, Any], version: str) -> dict[str, Any]:
    """`kinds` maps ``apiVersion kind`` to a type, `types` a type to its fields (`f`) and what it
    requires (`r`)."""
    definitions = dict(swagger["definitions"])
    kinds = {}
    for name, definition in swagger["definitions"].items():
        marks = definition.get("x-kubernetes-group-version-kind", [])
        if len(marks) == 1:
            group, mark = marks[0]["group"], marks[0]
            api_version = f"{group}/{mark['version']}" if group else mark["version"]
            kinds[f"{api_version} {mark['kind']}"] = name
    needed: dict[str, Any] = {}
    waiting = list(kinds.values())
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        definition = definitions[name]
        fields = {
            field: _type(schema, definitions)
            for field, schema in definition.get("properties", {}).items()
        }
        needed[name] = {"f": fields, "r": sorted(definition.get("required", []))}
        waiting += [text.lstrip("[{")[1:] for text in fields.values() if "#" in text]
    short = {name: str(number) for number, name in enumerate(sorted(needed))}
    types = {
        short[name]: {
            "f": {field: _renamed(text, short) for field, text in sorted(value["f"].items())},
            **({"r": value["r"]} if value["r"] else {}),
        }
        for name, value in sorted(needed.items())
    }
    return {
        "version": version,
        "kinds": {kind: short[name] for kind, name in sorted(kinds.items())},
        "types": types,
    }


def _type(schema: Mapping[str, Any], definitions: dict[str, Any]) -> str:
    """Objects that are described in place, as custom resources' are, get a definition each."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/definitions/")
        if name.endswith((".Quantity", ".IntOrString")):
            return "q"
        definition = definitions[name]
        return f"#{name}" if "properties" in definition else _type(definition, definitions)
    if schema.get("type") == "array":
        return "[" + _type(schema.get("items", {}), definitions)
    if "properties" in schema and "x-kubernetes-preserve-unknown-fields" not in schema:
        name = f"in place {len(definitions)}"
        definitions[name] = schema
        return f"#{name}"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return "{" + _type(schema["additionalProperties"], definitions)
    return _SCALARS.get(str(schema.get("type")), "o")


def _renamed(text: str, short: Mapping[str, str]) -> str:
    head, mark, name = text.partition("#")
    return head + mark + short[name] if mark else text


def main(arguments: list[str]) -> int:
    """Write the file. Exit code 0, or 2 for wrong usage."""
    if len(arguments) != 2:
        print("usage: compact SWAGGER VERSION", file=sys.stderr)
        return 2
    swagger = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    text = json.dumps(compacted(swagger, arguments[1]), separators=(",", ":"))
    FILE.write_bytes(gzip.compress(text.encode(), mtime=0))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
