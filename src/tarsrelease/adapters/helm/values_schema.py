"""A chart's values against its values.schema.json, by jsonschema; nothing is fetched for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import validators
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

_MANY = 20


def values_faults(schema: bytes, values: Mapping[str, Any]) -> list[str]:
    """What the schema refuses, one text each; a schema that is none is a fault, too."""
    try:
        described = json.loads(schema)
        if not isinstance(described, (dict, bool)):
            return ["values.schema.json holds no schema"]
        kind: Any = validators.validator_for(described, default=validators.Draft202012Validator)
        kind.check_schema(described)
        # A registry of its own, that retrieves nothing: a schema cannot make us ask the network.
        checker = kind(described, registry=Registry())
        found = sorted(checker.iter_errors(_plain(values)), key=lambda error: error.json_path)
    except (ValueError, RecursionError) as problem:
        return [f"values.schema.json cannot be read: {problem}"]
    except SchemaError as problem:
        return [f"values.schema.json is no schema: {problem.message}"]
    except Unresolvable as problem:
        return [f"values.schema.json refers to what is not in it: {problem}"]
    return [f"{error.json_path}: {error.message:.200}" for error in found[:_MANY]]


def _plain(value: Any) -> Any:
    """As JSON has it; YAML's dates are texts there, and keys are always text."""
    return json.loads(json.dumps(value, default=str))
