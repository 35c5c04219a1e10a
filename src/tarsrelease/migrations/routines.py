"""What the functions that a statement calls may remove, by their text.

On a copy without rows, a loop over rows does nothing, and a function of rows is not even called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tarsrelease.migrations.losses import destroyed_by, without_comments
from tarsrelease.migrations.statements import NODES, Statement, text_of_block

_CALL = re.compile(r"\b([a-z_]\w*)\"?\s*\(", re.IGNORECASE)
_DEFINES = {
    *("create_function_stmt", "create_trig_stmt", "create_policy_stmt", "alter_policy_stmt"),
    *("view_stmt", "rule_stmt", "create_event_trig_stmt"),
}
"""Statements that name functions without calling them."""


@dataclass(frozen=True, slots=True)
class Routine:
    """A function or procedure: ``schema.name(arguments)``, its bare name, and its text."""

    signature: str
    name: str
    body: str


def called_by(statement: Statement) -> set[str]:
    """Bare names, in lower case, of what the statement calls; also those in a DO block's text."""
    block = without_comments(text_of_block(statement))
    if block:
        return {match[1].lower() for match in _CALL.finditer(block)}
    if statement.node.WhichOneof("node") in _DEFINES:
        return set()
    return {
        found.funcname[-1].string.sval.lower()
        for found in statement.nodes
        if isinstance(found, NODES.FuncCall)
    }


def removals(
    called: Iterable[str],
    executed: Iterable[int],
    routines: Mapping[int, Routine],
    words: Callable[[str], list[str]] = destroyed_by,
) -> list[str]:
    """A line for each routine in whose text `words` finds something: of those called by name,
    those that were executed (by oid), and those that these call in turn."""
    by_name: dict[str, set[int]] = {}
    for oid, routine in routines.items():
        by_name.setdefault(routine.name.lower(), set()).add(oid)
    seen: set[int] = set()
    left = {
        *(oid for oid in executed if oid in routines),
        *(oid for name in called for oid in by_name.get(name, ())),
    }
    while left:
        seen |= left
        names = {
            match[1].lower()
            for oid in left
            for match in _CALL.finditer(without_comments(routines[oid].body))
        }
        left = {oid for name in names for oid in by_name.get(name, ())} - seen
    found = {routines[oid].signature: words(routines[oid].body) for oid in seen}
    return [f"{name}, which has {', '.join(has)}" for name, has in sorted(found.items()) if has]
