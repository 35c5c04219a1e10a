"""A PromQL expression as values: only the parts that an import can read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label matcher; `op` is ``=``, ``!=``, ``=~`` or ``!~``."""

    label: str
    op: str
    value: str

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{self.label}{self.op}"{escaped}"'


@dataclass(frozen=True, slots=True)
class Selector:
    """A vector selector; its range and offset are left out."""

    metric: str
    matchers: tuple[Matcher, ...]

    def where(self, *matchers: Matcher) -> str:
        """The selector as text, with these matchers besides its own."""
        return f"{self.metric}{{{','.join(map(str, (*self.matchers, *matchers)))}}}"


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: float


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments."""

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregation such as ``sum``; by which labels it groups."""

    op: str
    argument: Expression
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two expressions."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Other:
    """Anything else, as text."""

    text: str


Expression = Number | Selector | Call | Aggregate | Binary | Other
Parse = Callable[[str], Expression]
"""Reads PromQL. Raises ValueError with what is wrong."""
