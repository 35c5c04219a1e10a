"""Relation names of files and manifests in PostgreSQL's terms."""

from __future__ import annotations


def regclass(name: str) -> str:
    """A relation's name (``table`` or ``schema.table``, unquoted) as to_regclass reads it."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split(".", 1))


def name_of(oid: str) -> str:
    """SQL for the name of the relation with this oid (an expression): as `regclass` takes it.

    Unquoted, and without its schema if the search path finds it and its own name has no dot.
    """
    visible = (
        "CASE WHEN pg_table_is_visible(named.oid) AND strpos(named.relname, '.') = 0 "
        "THEN named.relname::text "
        "ELSE space.nspname || '.' || named.relname END"
    )
    tables = "pg_class named JOIN pg_namespace space ON space.oid = named.relnamespace"
    return f"(SELECT {visible} FROM {tables} WHERE named.oid = {oid})"  # noqa: S608 - constants only
