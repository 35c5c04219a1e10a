"""What a statement did on a throwaway copy."""

from __future__ import annotations

from dataclasses import dataclass

from tarsrelease.migrations.locks import Footprint


@dataclass(frozen=True, slots=True)
class Trial:
    """`deleted`, `updated`: tables of which it changed rows, or would if there were any. `session`:
    what it left in its session and a resumed migration would lack."""

    footprint: Footprint
    deleted: frozenset[str] = frozenset()
    updated: frozenset[str] = frozenset()
    session: tuple[str, ...] = ()
