"""Rows as aligned text or as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import east_asian_width

Row = Sequence[str]


def _width(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def text_table(header: Row, rows: Sequence[Row], indent: str = "  ") -> list[str]:
    """Aligned lines under `header`; empty columns are left out."""
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    lines = [[header[i] for i in kept], *([row[i] for i in kept] for row in rows)]
    widths = [max(_width(line[i]) for line in lines) for i in range(len(kept))]
    return [
        (
            indent
            + "  ".join(
                cell + " " * (width - _width(cell))
                for cell, width in zip(line, widths, strict=True)
            )
        ).rstrip()
        for line in lines
    ]


def markdown_table(header: Row, rows: Sequence[Row]) -> list[str]:
    """GitHub's tables; a bar or a line break in a cell would end it."""
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]

    def line(row: Row) -> str:
        cells = (markdown_cell(row[i]) for i in kept)
        return "| " + " | ".join(cells) + " |"

    return [line(header), "|" + " --- |" * len(kept), *(line(row) for row in rows)]


def markdown_cell(text: str) -> str:
    """`text` so that it cannot leave its cell, nor become markup."""
    escaped = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    for mark in "*_`[":
        escaped = escaped.replace(mark, f"\\{mark}")
    return "<br>".join(escaped.splitlines())
