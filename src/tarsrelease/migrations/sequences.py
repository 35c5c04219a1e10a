"""Whether a statement set a sequence's position, or only took values from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import postgast

from tarsrelease.migrations.facts import Facts
from tarsrelease.migrations.losses import without_comments
from tarsrelease.migrations.statements import NODES, Statement, text_of_block

_LOGGED_AHEAD = 32
"""SEQ_LOG_VALS of PostgreSQL's sequence.c."""
_MOST = 100_000
"""Values that a statement may take on a copy without rows."""
_SETVAL = re.compile(
    r"\bsetval\s*\(\s*(?:pg_get_serial_sequence\s*\(\s*)?(?:'(?P<name>[^']*)')?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Position:
    """A sequence's row, and its increment, cache and last possible value from pg_sequence."""

    last_value: int
    is_called: bool
    log_count: int
    increment: int
    cache: int
    bound: int


def is_set(before: Position, after: Position) -> bool:
    """Whether the position was set by setval or RESTART; nextval alone gives False.

    nextval goes forward by the increment. It logs values in advance, of which setval leaves none;
    near the bound there are none, either.
    """
    if (before.last_value, before.is_called) == (after.last_value, after.is_called):
        return False
    if not after.is_called:
        return True
    steps, rest = divmod(after.last_value - before.last_value, after.increment)
    if not before.is_called:
        steps += 1
    if rest or not 0 < steps <= _MOST:
        return True
    logs = _LOGGED_AHEAD + after.cache
    near = (after.bound - after.last_value) // after.increment < logs
    return after.log_count == 0 and (steps - before.log_count) % logs != 0 and not near


def sets_of(statement: Statement, base: Facts) -> list[str]:
    """Sequences (or their tables) of `base` for which the text has setval, also in a DO block.

    A value that depends on rows may do nothing on a copy without them. A name that only the server
    can know is ``a sequence``.
    """
    names = list(_named(statement))
    relations = {fact.value for fact in base["relations"].values()} if names else ()
    found = []
    for name in names:
        known = [one for one in relations if one == name or one.endswith(f".{name}")]
        if name is None or known:
            found.append(min(known, default="a sequence"))
    return list(dict.fromkeys(found))


def follows_rows(statement: Statement) -> bool:
    """Whether every setval of a query takes its value from max(), as after rows with given ids."""
    calls = [found for found in statement.nodes if _calls(found, "setval")]
    return bool(calls) and all(len(call.args) > 1 and _has_max(call.args[1]) for call in calls)


def _has_max(argument: Any) -> bool:
    return any(_calls(found, "max") for _, found in postgast.walk(argument))


def _calls(node: Any, function: str) -> bool:
    return isinstance(node, NODES.FuncCall) and node.funcname[-1].string.sval == function


def _named(statement: Statement) -> Iterator[str | None]:
    block = without_comments(text_of_block(statement))
    for match in _SETVAL.finditer(block):
        yield None if match["name"] is None else match["name"].replace('"', "")
    if block:
        return
    for found in statement.nodes:
        if _calls(found, "setval"):
            yield _literal(found.args[0]) if found.args else None


def _literal(argument: Any) -> str | None:
    """The first text in an argument: a sequence's name, or the table's in
    pg_get_serial_sequence."""
    for _, found in postgast.walk(argument):
        if isinstance(found, NODES.A_Const) and found.HasField("sval"):
            return str(found.sval.sval).replace('"', "")
    return None
