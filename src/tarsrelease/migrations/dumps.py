"""Two schemas compared by their pg_dump."""

from __future__ import annotations

import difflib
import re
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


_NOT_RESTORED = re.compile(
    r"\\(un)?restrict|ALTER (EVENT TRIGGER|FOREIGN DATA WRAPPER) .* OWNER TO "
)
"""psql's commands, and what only superusers may own: the copy's superuser owns it already."""


def executable(dump: str) -> str:
    """The dump as SQL that a copy can be restored from."""
    return "\n".join(line for line in dump.splitlines() if not _NOT_RESTORED.match(line))


def difference(before: str, after: str, *, names: tuple[str, str]) -> list[str]:
    """A unified diff of the comparable lines; empty if both describe the same schema."""
    return list(
        difflib.unified_diff(
            comparable(before), comparable(after), names[0], names[1], lineterm="", n=1
        )
    )
