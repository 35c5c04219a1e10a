"""What an interrupted attempt at a non-transactional statement left behind, and who left it.

An index is ours if the history has an unfinished attempt at this very statement and the index is
the one that the statement describes. Only then it is dropped, or counted as built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tarsrelease.migrations.history import HistoryRow, Work
from tarsrelease.migrations.problems import SqlError
from tarsrelease.migrations.statements import (
    NODES,
    NonTransactional,
    Statement,
    dropped_names,
)
from tarsrelease.ports.database import Catalog

_COPY = re.compile(r"(?P<index>.+)_cc(new|old)\d*")
"""REINDEX CONCURRENTLY names its copies so: docs, "REINDEX", "Rebuilding Indexes Concurrently"."""
_CUT = 55
"""PostgreSQL shortens a longer name to make room for the suffix."""
_TOAST = "pg_toast."


class NotOursError(Exception):
    """An index is in the way, and no attempt of ours has left it.

    `building`: another session is building it right now, so that waiting may be enough.
    """

    def __init__(self, found: str, remedy: str, *, building: bool = False) -> None:
        super().__init__(found)
        self.found = found
        self.remedy = remedy
        self.building = building


@dataclass(frozen=True, slots=True)
class Remains:
    """`done`: the attempt had finished its work. `drop`: INVALID indexes that it left."""

    done: bool = False
    drop: tuple[str, ...] = ()


def is_attempt(row: HistoryRow | None, statement: Statement) -> bool:
    """Whether the row is of an unfinished attempt at this very statement."""
    return (
        row is not None
        and row.finished is None
        and row.error is None
        and (row.statement, row.sha256) == (statement.number, statement.sha256)
    )


def remains(statement: Statement, begun: bool, catalog: Catalog) -> Remains:
    """What is left of an attempt at the statement; `begun`: there was one, and it was cut off.

    Raises NotOursError if something is in the way that cannot be of such an attempt.
    """
    if not statement.names:
        return Remains()  # refused by `unnamed-index` or `wide-maintenance`
    match statement.non_transactional:
        case NonTransactional.CREATE_INDEX:
            return _of_a_build(statement, begun, catalog)
        case NonTransactional.DROP_INDEX:
            return Remains(done=begun and not any(map(catalog.index, statement.names)))
        case NonTransactional.REINDEX:
            return _of_a_reindex(statement, begun, catalog)
    return Remains()


def left_by_this_run(statement: Statement, catalog: Catalog) -> tuple[str, ...]:
    """INVALID indexes of an attempt that has just failed; there were none before it."""
    if statement.non_transactional is NonTransactional.CREATE_INDEX:
        states = {name: catalog.index(name) for name in statement.names}
        return tuple(
            name for name, state in states.items() if state and not (state.valid and state.ready)
        )
    if statement.non_transactional is NonTransactional.REINDEX:
        return tuple(_copies(statement, catalog))
    return ()


def objections_of(work: Sequence[Work], catalog: Catalog) -> Iterator[tuple[Statement, str]]:
    """What `up` would refuse because of indexes that are there now, and what to do about it.

    Indexes that an earlier statement drops are left out.
    """
    dropped: set[str] = set()
    if not any(statement.names for one in work for statement in one.statements):
        return
    for one in work:
        for statement in one.statements:
            dropped.update(dropped_names(statement.node.drop_stmt))
            if dropped.intersection(statement.names):
                continue
            try:
                remains(statement, is_attempt(one.interrupted, statement), catalog)
            except NotOursError as problem:
                yield statement, f"{statement.place}: {problem.found}; remedy: {problem.remedy}"


def _of_a_build(statement: Statement, begun: bool, catalog: Catalog) -> Remains:
    [name] = statement.names
    state = catalog.index(name)
    if state is None:
        return Remains()
    if any(build.index.endswith(name) for build in catalog.builds()):
        raise NotOursError(
            f"index {name} is being built by another session right now",
            "wait until that build has ended",
            building=True,
        )
    try:
        difference = catalog.index_difference(statement)
    except SqlError as problem:
        if problem.state != "42501":
            raise
        raise NotOursError(
            f"index {name} exists, and comparing it with the statement needs a temporary table, "
            "which this role may not create",
            "GRANT TEMPORARY ON DATABASE ... to this role; or drop the index",
        ) from problem
    if difference:
        raise NotOursError(
            f"another index {name} exists: {difference}",
            "drop it, or give the new index another name",
        )
    if state.valid and state.ready:
        return Remains(done=begun)
    if not begun:
        raise NotOursError(
            f"index {name} exists and is INVALID, and this history has no interrupted attempt at "
            "the statement",
            f"find out who built it; if nobody needs it, DROP INDEX CONCURRENTLY {name}",
        )
    return Remains(drop=(name,))


def _of_a_reindex(statement: Statement, begun: bool, catalog: Catalog) -> Remains:
    copies = tuple(_copies(statement, catalog))
    # Only a superuser may drop an index of TOAST's schema; REINDEX is not in its way.
    others = [name for name in copies if not name.startswith(_TOAST)]
    if others and not begun:
        raise NotOursError(
            f"{', '.join(others)} is INVALID and left by a REINDEX CONCURRENTLY that is not in "
            "this history",
            "; ".join(f"DROP INDEX CONCURRENTLY {name}" for name in others),
        )
    return Remains(drop=copies if begun else ())


def _copies(statement: Statement, catalog: Catalog) -> Iterator[str]:
    """INVALID copies of the index, or of any index of the table, that REINDEX names."""
    [name] = statement.names
    kind = statement.node.reindex_stmt.kind
    index = name.rpartition(".")[2] if kind == NODES.REINDEX_OBJECT_INDEX else None
    table = catalog.table_of(name)
    for copy, on in catalog.invalid_indexes().items():
        match = _COPY.fullmatch(copy.rpartition(".")[2])
        if (
            match is not None
            and on == table
            and (index is None or match["index"] == index[: max(_CUT, len(match["index"]))])
        ):
            yield copy
