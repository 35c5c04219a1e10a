"""YAML text as plain values, with the line of each; what YAML hides is refused.

Refused, because they change a meaning silently: duplicate keys, keys that are no text, tags.
Words that YAML 1.1 reads as something else than they look (``yes``, ``1.10``, ``12:30``) keep their
text where a model expects text or a quantity; only under `free` paths (values that are handed on
as they are, such as Helm's) do they become what YAML says.

A few lines of YAML can stand for more values than there is memory, or for nesting that exhausts the
stack (libyaml's binding dies of it); both are refused while the text is read, with the line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import SafeConstructor
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tarsrelease.bundle.plain_scalars import LONGEST, as_go_does

Place = tuple[str | int, ...]
"""The way to a value: keys and indices from the document's root."""
ANY = "*"
"""Any key or index, in a place that is given as free."""

_TYPED = frozenset({"null", "bool", "int", "float", "str", "timestamp"})
_ALWAYS_TEXT = frozenset({"str", "timestamp"})  # Helm, too, takes 2026-01-01 as text


_MOST_VALUES = 50_000
_DEEPEST = 50
_SHOWN = 40


class BoundedLoader(yaml.SafeLoader):
    """YAML's safe values; a ComposerError for too many of them, or too deep in each other.

    Counted is what the document stands for: a value that an alias repeats counts again.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[Node, tuple[int, int]] = {}
        """Of each whole node: the values in it, and how deep they lie in each other."""

    def compose_node(self, parent: Node | None, index: Any) -> Any:
        """As `Composer.compose_node`, bounded."""
        peek: Any = self.peek_event
        event = peek()
        repeats = isinstance(event, AliasEvent)
        target = self.anchors.get(event.anchor) if repeats else None
        if target is not None and target not in self._sizes:
            raise ComposerError(None, None, "an alias that contains itself", event.start_mark)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _too_deep(event)
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if not repeats:
            self._sizes[node] = self._measured(node)
        count, height = self._sizes[node]
        if self._depth + height > _DEEPEST:
            raise _too_deep(event)
        if count > _MOST_VALUES:
            problem = f"more than {_MOST_VALUES} values, once aliases are followed"
            raise ComposerError(None, None, problem, event.start_mark)
        return node

    def _measured(self, node: Node) -> tuple[int, int]:
        inside: list[Node] = []
        if isinstance(node, SequenceNode):
            inside = node.value
        elif isinstance(node, MappingNode):
            inside = [part for pair in node.value for part in pair]
        sizes = [self._sizes[one] for one in inside]
        return 1 + sum(count for count, _ in sizes), 1 + max((high for _, high in sizes), default=0)


@as_go_does
class _ValuesLoader(BoundedLoader):
    """Values as Helm reads them, bounded."""


def _too_deep(event: Any) -> ComposerError:
    return ComposerError(None, None, f"nested deeper than {_DEEPEST}", event.start_mark)


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake: the line it stands in (from 1), where, and what is wrong."""

    line: int
    place: Place
    problem: str

    def __str__(self) -> str:
        where = show_place(self.place)
        return f"{self.line}: {where}: {self.problem}" if where else f"{self.line}: {self.problem}"


@dataclass(frozen=True)
class Document:
    """A YAML document. `lines` holds the line of each key or item, `findings` what is wrong."""

    data: Any
    lines: dict[Place, int]
    findings: tuple[Finding, ...] = ()

    def line_of(self, place: Place) -> int:
        """The line of `place`, or of the nearest thing around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def show_place(place: Place) -> str:
    """``stages[1].checks[0].below`` for a place."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


@dataclass
class _Reader:
    free: Sequence[Place]
    lines: dict[Place, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    constructor: SafeConstructor = field(default_factory=SafeConstructor)

    def find(self, node: Node, place: Place, problem: str) -> None:
        self.findings.append(Finding(node.start_mark.line + 1, place, problem))

    def value(self, node: Node, place: Place) -> Any:
        self.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, MappingNode):
            return self.mapping(node, place)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*place, i)) for i, item in enumerate(node.value)]
        return self.scalar(node, place)

    def mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged = {**self.merge(value_node, place), **merged}
                continue
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            if key is None:
                self.find(key_node, place, "a key must be text")
                continue
            if key in own:
                first = self.lines[(*place, key)]
                self.find(key_node, (*place, key), f"duplicate key (first in line {first})")
                continue
            self.lines[(*place, key)] = key_node.start_mark.line + 1
            own[key] = self.value(value_node, (*place, key))
        return {**merged, **own}

    def merge(self, node: Node, place: Place) -> dict[str, Any]:
        sources = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in sources:
            value = self.value(source, place)
            if not isinstance(value, dict):
                self.find(source, place, "<<: must be a mapping")
                continue
            merged = {**value, **merged}
        return merged

    def scalar(self, node: Node, place: Place) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind not in _TYPED:
            self.find(node, place, f"the tag {node.tag} is not supported; write the plain value")
            return None
        is_free = any(_is_in(place, path) for path in self.free)
        if kind in _ALWAYS_TEXT or (kind == "float" and not is_free):
            return node.value
        try:
            value = self.constructor.construct_object(node, deep=True)
        except ValueError as problem:
            self.find(node, place, f"{node.value[:_SHOWN]!r} cannot be read: {problem}")
            return None
        if isinstance(value, int) and value.bit_length() > LONGEST:
            self.find(node, place, f"a number of more than {LONGEST} bits")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self.find(node, place, f"{node.value!r} is not a JSON number")
            return None
        return value


def _is_in(place: Place, around: Place) -> bool:
    """Whether the place is inside another, whose parts may be `ANY`."""
    return len(place) >= len(around) and all(
        part in (here, ANY) for here, part in zip(place, around, strict=False)
    )


def read_yaml(text: str, *, free: Sequence[Place] = ()) -> Document:
    """Read one YAML document. Syntax errors are findings, too; `data` is None then."""
    try:
        node = yaml.compose(text, Loader=BoundedLoader)
    except yaml.YAMLError as problem:
        return Document(None, {}, (_told(problem),))
    if node is None:
        return Document(None, {}, (Finding(1, (), "the file is empty"),))
    reader = _Reader(free)
    data = reader.value(node, ())
    return Document(data, reader.lines, tuple(reader.findings))


def _told(problem: yaml.YAMLError) -> Finding:
    if not isinstance(problem, yaml.MarkedYAMLError):
        return Finding(1, (), str(problem))
    mark = problem.problem_mark or problem.context_mark
    said = " ".join(str(part) for part in (problem.context, problem.problem) if part)
    if "'\\t'" in said:
        said = "a tab; indent with spaces"
    return Finding(mark.line + 1 if mark else 1, (), said)


def read_values(path: str, content: bytes) -> Mapping[str, Any] | tuple[str, ...]:
    """A mapping as Helm reads it from a values file, or the file's mistakes."""
    try:
        data = yaml.load(content.decode(), Loader=_ValuesLoader)  # noqa: S506 - a safe one
    except yaml.YAMLError as problem:
        return (f"{path}:{_told(problem)}",)
    except ValueError as problem:  # no UTF-8
        return (f"{path}: {problem}",)
    return data if isinstance(data, dict) else (f"{path}:1: is not a mapping of values",)


def splice_scalars(text: str, changes: Sequence[tuple[Place, str]]) -> str:
    """Replace scalars of a YAML text in place, so that comments and order stay.

    `changes` are (place, new text of the scalar as YAML). Raises KeyError with the place where
    there is no such scalar.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    spans = []
    for place, new in changes:
        node = _node_at(root, place)
        spans.append((node.start_mark.index, node.end_mark.index, new))
    for start, end, new in sorted(spans, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def set_scalars(text: str, changes: Sequence[tuple[Place, str]]) -> str:
    """`splice_scalars` that adds the keys that are missing. A number as text is a place in a list.
    Raises KeyError with a place whose parent is no mapping, or a list without that place."""
    for place, new in changes:
        text = _set_scalar(text, place, new)
    return text


def _set_scalar(text: str, place: Place, new: str) -> str:
    node, depth = yaml.compose(text, Loader=yaml.SafeLoader), 0
    for part in place:
        if isinstance(node, SequenceNode):
            here = str(part)
            if not (here.isdecimal() and int(here) < len(node.value)):
                break
            node, depth = node.value[int(here)], depth + 1
            continue
        if not isinstance(node, MappingNode):
            break
        below = next((value for key, value in node.value if key.value == part), None)
        if below is None:
            break
        node, depth = below, depth + 1
    rest = place[depth:]
    if any(str(part).isdecimal() for part in rest):
        raise KeyError(show_place(place))
    if node is None:
        return text.rstrip("\n") + "\n" * bool(text) + _block(place, new, 0)
    if rest and isinstance(node, MappingNode):
        return _inserted(text, node, rest, new)
    empty = isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null"
    if not isinstance(node, ScalarNode) or (rest and not empty):
        raise KeyError(show_place(place))
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    value = _flow(rest, new) if rest else new
    space = " " if text[start - 1 : start] == ":" else ""
    return text[:start] + space + value + text[end:]


def _inserted(text: str, node: MappingNode, place: Place, new: str) -> str:
    """The text with a key before the first of the mapping `node`."""
    if not node.value or node.flow_style:
        start = int(node.start_mark.index) + 1
        rest = ", " if node.value else ""
        return text[:start] + _flow(place, new)[1:-1] + rest + text[start:]
    first = node.value[0][0].start_mark
    index, column = int(first.index), int(first.column)
    return text[:index] + _block(place, new, column).lstrip(" ") + (" " * column + text[index:])


def _block(place: Place, new: str, indent: int) -> str:
    lines = [f"{' ' * (indent + 2 * n)}{key}:" for n, key in enumerate(place)]
    return "\n".join(lines) + f" {new}\n"


def _flow(place: Place, new: str) -> str:
    for key in reversed(place):
        new = f"{{{key}: {new}}}"
    return new


def _node_at(node: Node | None, place: Place) -> ScalarNode:
    for part in place:
        if not isinstance(node, MappingNode):
            raise KeyError(show_place(place))
        node = next((value for key, value in node.value if key.value == part), None)
    if not isinstance(node, ScalarNode):
        raise KeyError(show_place(place))
    return node


def parse_yaml_file(path: Path, *, free: Sequence[Place] = ()) -> Document:
    """`read_yaml` of a file's text. Raises OSError and UnicodeDecodeError as reading does."""
    return read_yaml(path.read_text(encoding="utf-8"), free=free)
