"""Check that a document is plain UTF-8 text, before it is parsed. Pure."""

from __future__ import annotations

import json

LARGEST_TEXT = 256 * 2**10
"""Bytes of the largest manifest, rollout, values or SQL file that is read; people write them."""


def document_fault(content: bytes, *, json_only: bool = False) -> str | None:
    """Why the document must not be parsed; None if it may. `json_only`: it must be JSON."""
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return "begins with a byte order mark; it must be UTF-8 without one"
    try:
        text = content.decode()
    except UnicodeDecodeError as problem:
        return f"not UTF-8 at byte {problem.start}"
    if "\0" in text:
        return "has a NUL"
    return _json_fault(text) if json_only else None


def _json_fault(text: str) -> str | None:
    try:
        json.loads(text, parse_constant=_no_constant)
    except ValueError as problem:
        return f"is not JSON: {problem}"
    except RecursionError:
        return "is nested too deep"
    return None


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
