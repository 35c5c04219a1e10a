"""Validation errors of a document, as findings with a line and a suggestion."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tarsrelease.adapters.files.yaml_source import Document, Finding, Place

M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], document: Document) -> M | tuple[Finding, ...]:
    """The document as `model`, or all its mistakes, ordered by line."""
    if document.findings:
        return document.findings
    if not isinstance(document.data, dict):
        return (Finding(1, (), "the file must hold a mapping of keys"),)
    try:
        # JSON mode is strict without refusing lists for tuples: no "yes" for true, no "10" for 10.
        return model.model_validate_json(json.dumps(document.data), strict=True)
    except ValidationError as problem:
        schema = model.model_json_schema()
        findings = [_finding(error, document, schema) for error in problem.errors()]
        return tuple(sorted(findings, key=lambda found: found.line))


def _finding(error: ErrorDetails, document: Document, schema: dict[str, Any]) -> Finding:
    place = _place(error["loc"], document.data)
    if error["type"] == "extra_forbidden":
        known = _known_keys(schema, error["loc"][:-1])
        key = str(error["loc"][-1])
        near = difflib.get_close_matches(key, known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(known))}"
        return Finding(document.line_of(place), place, f"unknown key; {advice}")
    if error["type"] == "missing":
        where = (*place, str(error["loc"][-1]))
        return Finding(document.line_of(place), where, "is missing")
    if error["type"] == "union_tag_invalid":
        place = (*place, error["ctx"]["discriminator"].strip("'()"))
    if not place or not error["loc"]:
        place = _mentioned(error["msg"], document) or place
    return Finding(document.line_of(place), place, _said(error))


def _said(error: ErrorDetails) -> str:
    text = error["msg"].removeprefix("Value error, ")
    given, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return text
        case "string_type":
            return f'{json.dumps(given)} must be text; quote it: "{given}"'
        case "int_type" | "int_from_float":
            return f"{json.dumps(given)} must be a whole number, without quotes or unit"
        case "bool_type":
            return f"{json.dumps(given)} must be true or false"
        case "string_pattern_mismatch":
            return f"{json.dumps(given)} does not match {context['pattern']}"
        case "literal_error" | "union_tag_invalid":
            wanted = str(context.get("expected") or context.get("expected_tags"))
            written = str(context.get("tag", given))
            near = difflib.get_close_matches(written, re.findall(r"'([^']+)'", wanted), n=1)
            return f"{written!r} is not one of {wanted}" + (
                f"; did you mean {near[0]}?" if near else ""
            )
        case "union_tag_not_found":
            return f"the key {context['discriminator'].replace('()', '')} is missing"
        case "too_short":
            return "must not be empty"
        case "greater_than_equal" | "less_than_equal":
            bound = context.get("ge", context.get("le"))
            side = "at least" if "ge" in context else "at most"
            return f"{json.dumps(given)} must be {side} {bound}"
    return f"{text} (found {json.dumps(given, default=str)})"


def _place(loc: tuple[int | str, ...], data: Any) -> Place:
    """The part of `loc` that exists in the data; pydantic adds the names of union members."""
    place: list[str | int] = []
    for part in loc:
        in_mapping = isinstance(data, dict) and part in data
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if not (in_mapping or in_list):
            continue
        data = data[part]
        place.append(part)
    return tuple(place)


def _known_keys(schema: dict[str, Any], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that the model allows at `loc`, read from its JSON Schema."""
    here = schema
    for part in loc:
        here = _resolved(here, schema)
        if str(part) in here.get("properties", {}):
            here = here["properties"][str(part)]
        elif isinstance(part, int):
            here = here.get("items", {})
        elif part in here.get("discriminator", {}).get("mapping", {}):
            here = {"$ref": here["discriminator"]["mapping"][part]}
        elif member := _member(here, part, schema):
            here = member
        elif isinstance(here.get("additionalProperties"), dict):
            here = here["additionalProperties"]
    return list(_resolved(here, schema).get("properties", {}))


def _member(here: dict[str, Any], kind: str | int, schema: dict[str, Any]) -> dict[str, Any] | None:
    """The member of a union without a mapping, by its kind."""
    for one in here.get("oneOf", ()):
        found = _resolved(one, schema)
        if found.get("properties", {}).get("kind", {}).get("const") == kind:
            return found
    return None


def _resolved(here: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for _ in range(8):  # a reference to an optional value to a reference; never deeper
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rsplit("/", 1)[-1]]
        elif "anyOf" in here:
            here = next(one for one in here["anyOf"] if one.get("type") != "null")
    return here


def _mentioned(message: str, document: Document) -> Place | None:
    """Where the message's first words point: a top-level key, or the item with the id it names."""
    words = re.findall(r"[\w.-]*\w", message.removeprefix("Value error, "))
    for word in words[:4]:
        for place in _ids(document.data, ()):
            if _at(document.data, place) == word and "." in word:
                return place
    return (words[0],) if words and (words[0],) in document.lines else None


def _ids(data: Any, place: Place) -> Iterator[Place]:
    children: Any = ()
    if isinstance(data, dict):
        if "id" in data:
            yield (*place, "id")
        children = data.items()
    elif isinstance(data, list):
        children = enumerate(data)
    for key, child in children:
        yield from _ids(child, (*place, key))


def _at(data: Any, place: Place) -> Any:
    for part in place:
        data = data[part]
    return data
