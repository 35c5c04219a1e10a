"""Is a document small, plain text that a parser can be given? Pure.

A parser of YAML or JSON can be made to work for ever, or to run out of stack, by a few lines. What
would do so is refused before a parser that keeps line numbers sees it.
"""

from __future__ import annotations

import json
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

LARGEST_TEXT = 256 * 2**10
"""Bytes of the largest manifest, rollout, values or SQL file that is read; people write them."""
_MOST_VALUES = 50_000
_DEEPEST = 50
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def document_fault(content: bytes, *, json_only: bool = False) -> str | None:
    """Why this is not parsed; None where it may be. `json_only` for what must be JSON."""
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return "begins with a byte order mark; it must be UTF-8 without one"
    try:
        text = content.decode()
    except UnicodeDecodeError as problem:
        return f"not UTF-8 at byte {problem.start}"
    if "\0" in text:
        return "holds a NUL"
    depth = _deepest_brackets(text)
    if depth > _DEEPEST:
        return f"brackets lie {depth} deep in each other; {_DEEPEST} is the most"
    if json_only:
        try:
            json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as problem:
            return f"is no JSON: {problem}"
    return _expansion_fault(text)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _deepest_brackets(text: str) -> int:
    """An upper bound: brackets in quotes are counted, too."""
    depth = deepest = 0
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}" and depth:
            depth -= 1
    return deepest


def _expansion_fault(text: str) -> str | None:
    """Whether aliases make a small text a large document, or one that contains itself."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError):
        return None  # its own reader says what is wrong, with the line
    except RecursionError:
        return f"is nested deeper than {_DEEPEST}"
    if root is None:
        return None
    sizes: dict[int, int] = {}
    try:
        size = _expanded(root, sizes, (), 0)
    except ValueError as problem:
        return str(problem)
    return f"holds {size} values once its aliases are followed" if size > _MOST_VALUES else None


def _expanded(node: Node, sizes: dict[int, int], above: tuple[int, ...], depth: int) -> int:
    if id(node) in above:
        raise ValueError("has an alias that contains itself")
    if depth > _DEEPEST:
        raise ValueError(f"is nested deeper than {_DEEPEST}")
    if id(node) not in sizes:
        inside: list[Node] = []
        if isinstance(node, SequenceNode):
            inside = node.value
        elif isinstance(node, MappingNode):
            inside = [part for pair in node.value for part in pair]
        here = (*above, id(node))
        sizes[id(node)] = 1 + sum(_expanded(one, sizes, here, depth + 1) for one in inside)
    return sizes[id(node)]
