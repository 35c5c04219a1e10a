"""The runner's interface: workflow commands on standard output, and files.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

LARGEST_OUTPUT = 10_000
"""Characters of one output; a job's outputs together may have 1 MB."""
ANNOTATIONS = 10
"""As many of one level are shown of a step; GitHub drops what comes after."""


def escape_data(text: str) -> str:
    """A command's message on one line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """A command's property, which a colon or a comma would end."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def annotation(level: str, title: str, message: str) -> str:
    """`level` is error, warning or notice."""
    return f"::{level} title={escape_property(title)}::{escape_data(message)}"


def annotation_lines(wanted: Iterable[tuple[str, str, str]]) -> list[str]:
    """Lines for (level, title, message); the tenth of a level says how many more there are."""
    by_level: dict[str, list[tuple[str, str]]] = {}
    for level, title, message in wanted:
        by_level.setdefault(level, []).append((title, message))
    lines = []
    for level, each in by_level.items():
        shown = each if len(each) <= ANNOTATIONS else each[: ANNOTATIONS - 1]
        lines += [annotation(level, *one) for one in shown]
        if len(each) > len(shown):
            rest = f"{len(each) - len(shown)} more; all of them are on the summary page"
            lines.append(annotation(level, "more", rest))
    return lines


def masks(values: Iterable[str]) -> list[str]:
    """Commands after which the runner shows *** instead of each value, line by line."""
    lines = {line.strip() for value in values for line in value.splitlines()}
    return [f"::add-mask::{escape_data(line)}" for line in sorted(lines) if len(line) > 3]


class Silence:
    """Lines between `begin` and `end` are no commands, whatever they hold."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(16)
        self.begin = f"::stop-commands::{self._token}"
        self.end = f"::{self._token}::"


def outputs(values: Mapping[str, str]) -> str:
    """The text for GITHUB_OUTPUT. No value can end its own block: the delimiter is random."""
    blocks = []
    for name, value in values.items():
        delimiter = f"end_{secrets.token_hex(16)}"
        blocks.append(f"{name}<<{delimiter}\n{value[:LARGEST_OUTPUT]}\n{delimiter}\n")
    return "".join(blocks)
