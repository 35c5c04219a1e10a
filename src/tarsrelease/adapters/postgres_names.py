"""Names as files and manifests write them, for PostgreSQL."""

from __future__ import annotations


def regclass(name: str) -> str:
    """A relation's name (``table`` or ``schema.table``, unquoted) as to_regclass reads it."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split(".", 1))
