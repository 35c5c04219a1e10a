"""The wanted families out of a metrics page: Prometheus' text format 0.0.4, and OpenMetrics 1.0.

A line filter and no parser of the whole: pages have thousands of lines, of which a gate needs a few
dozen. Time stamps and exemplars are left out, as a sample's time is that of its reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_LINE = re.compile(
    r"[ \t]*(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)[ \t]*"
    r'(?:\{(?P<labels>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?[ \t]*'
    r'(?P<value>[^\s{}"#]+)(?:[ \t]|$)'
)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_PLAIN = {"n": "\n", '"': '"', "\\": "\\"}


class Line(NamedTuple):
    """One line of a metrics page."""

    name: str
    labels: dict[str, str]
    value: float


def wanted_lines(page: bytes, names: Iterable[str]) -> list[Line]:
    """The lines of these metrics (`http_requests_total`, not the family `http_requests`).

    Raises ValueError with the line for one that cannot be read.
    """
    wanted = frozenset(names)
    starts = tuple(name.encode() for name in wanted)
    found = []
    for raw in page.split(b"\n"):
        if not raw.lstrip(b" \t").startswith(starts):
            continue
        line = raw.decode("utf-8", "replace").rstrip("\r")
        match = _LINE.match(line)
        if match is None:
            raise ValueError(f"this line is no metric: {line[:120]}")
        if match["name"] in wanted:
            labels = {
                name: _unescaped(text) for name, text in _LABEL.findall(match["labels"] or "")
            }
            found.append(Line(match["name"], labels, float(match["value"])))
    return found


def any_lines(page: bytes) -> list[Line]:
    """All lines of the page that are metrics, in their order."""
    found = []
    for raw in page.decode("utf-8", "replace").split("\n"):
        match = None if raw.lstrip().startswith("#") else _LINE.match(raw.rstrip("\r"))
        if match is not None:
            labels = {
                name: _unescaped(text) for name, text in _LABEL.findall(match["labels"] or "")
            }
            found.append(Line(match["name"], labels, float(match["value"])))
    return found


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: _PLAIN.get(found[1], found[0]), text)
