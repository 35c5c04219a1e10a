"""What a statement did on a throwaway copy."""

from __future__ import annotations

from dataclasses import dataclass

from tarsrelease.migrations.locks import Footprint


@dataclass(frozen=True, slots=True)
class Trial:
    """`deleted`, `updated`: tables of which it changed rows, or would if there were any. `moved`:
    sequences whose position it set. `session`: what it left in its session and a resumed migration
    would lack. `reads`: it used rows of tables, so that its branches may depend on them.

    `calls`, `fires`: functions that it calls and triggers that it fires, or would if there were
    rows, and what these may remove by their text.
    """

    footprint: Footprint
    deleted: frozenset[str] = frozenset()
    updated: frozenset[str] = frozenset()
    moved: frozenset[str] = frozenset()
    session: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    fires: tuple[str, ...] = ()
    reads: bool = False
