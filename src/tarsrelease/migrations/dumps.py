"""Two schemas compared by their pg_dump."""

from __future__ import annotations

import difflib
from collections.abc import Iterator


def comparable(dump: str) -> list[str]:
    """The lines of a dump that describe the schema.

    Left out: comments, blank lines, and the \\restrict lines, whose key pg_dump draws at random.
    The columns of a table are sorted: a column that was dropped and added again is the last one.
    """
    lines: list[str] = []
    columns: list[str] | None = None
    for line in _lines(dump):
        if line.startswith("CREATE TABLE ") and line.endswith("("):
            columns = []
        elif columns is not None and line.startswith(")"):
            lines += sorted(columns)
            columns = None
        elif columns is not None:
            columns.append(line.rstrip(","))
            continue
        lines.append(line)
    return lines


def _lines(dump: str) -> Iterator[str]:
    for line in dump.splitlines():
        if line.strip() and not line.startswith(("--", "\\restrict", "\\unrestrict")):
            yield line.rstrip()


def executable(dump: str) -> str:
    """The dump as SQL alone: without psql's \\restrict commands."""
    return "\n".join(
        line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))
    )


def difference(before: str, after: str, *, names: tuple[str, str]) -> list[str]:
    """A unified diff of the comparable lines; empty if both describe the same schema."""
    return list(
        difflib.unified_diff(
            comparable(before), comparable(after), names[0], names[1], lineterm="", n=1
        )
    )
