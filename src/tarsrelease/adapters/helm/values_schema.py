"""A chart's values against its values.schema.json, by jsonschema; nothing is fetched for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import validators
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from tarsrelease.adapters.child_environment import minimal
from tarsrelease.adapters.child_process import run

_MANY = 20
_LONGEST = 60.0
"""Seconds; on a busy machine a process takes some to start, which is no fault of the chart."""
_MEMORY = 2**31
"""Bytes of the process that checks."""
_SOURCE = str(Path(__file__).resolve().parents[3])
_CHILD = f"import sys; sys.path.insert(0, sys.argv[1]); from {__name__} import child; child()"
"""The package may be a checkout on sys.path instead of an installed one, as in an action."""


def bounded_values_faults(schema: bytes, values: Mapping[str, Any]) -> list[str]:
    """`values_faults` in a process of its own: a pattern may take longer than anybody waits."""
    given = json.dumps([schema.decode(errors="surrogateescape"), _plain(values)])
    try:
        ended = run(
            [sys.executable, "-I", "-c", _CHILD, _SOURCE],
            variables=minimal(),
            seconds=_LONGEST,
            stdin=given.encode(),
        )
        found: list[str] = json.loads(ended.out)
    except subprocess.TimeoutExpired:
        return [f"values.schema.json: checking the values took more than {_LONGEST:g} s"]
    except ValueError:
        return [f"values.schema.json: checking the values ended with {ended.code}"]
    return found


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


def child() -> None:
    """Check what standard input holds, with bounded memory; print the faults as JSON."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    schema, values = json.loads(sys.stdin.buffer.read())
    print(json.dumps(values_faults(schema.encode(errors="surrogateescape"), values)))
