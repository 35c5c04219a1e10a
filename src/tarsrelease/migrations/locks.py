"""PostgreSQL's table locks in words, and the documented ones of statements that cannot be tried.

`adapters/postgres/scratch.py` measures the locks of all others.

Source: PostgreSQL 18 documentation, section 13.3.1 "Table-Level Locks" and the reference pages of
the commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from tarsrelease.migrations.deadlines import is_full_vacuum
from tarsrelease.migrations.statements import NonTransactional, Statement


class Mode(IntEnum):
    """Lock modes from weakest to strongest; the names are those of pg_locks without ``Lock``."""

    AccessShare = 1
    RowShare = 2
    RowExclusive = 3
    ShareUpdateExclusive = 4
    Share = 5
    ShareRowExclusive = 6
    Exclusive = 7
    AccessExclusive = 8

    @property
    def words(self) -> str:
        """As the documentation writes it: ``ACCESS EXCLUSIVE``."""
        return "".join(f" {c}" if c.isupper() else c for c in self.name).strip().upper()

    @property
    def blocks(self) -> str:
        """What it blocks."""
        if self is Mode.AccessExclusive:
            return "reads and writes"
        if self >= Mode.Share:
            return "writes"
        return "other schema changes" if self is Mode.ShareUpdateExclusive else "no queries"


def mode_of(name: str) -> Mode:
    """The mode from pg_locks.mode, such as ``AccessExclusiveLock``. Raises KeyError for others."""
    return Mode[name.removesuffix("Lock")]


@dataclass(frozen=True, slots=True)
class TableLock:
    """A statement's lock on a relation that existed before; `kind` is pg_class.relkind."""

    relation: str
    mode: Mode
    kind: str = "r"

    def __str__(self) -> str:
        return f"{self.mode.words} on {self.relation}"


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a statement does to relations that existed before.

    `locks`: the strongest for each relation. `rewritten`: relations whose storage was replaced.
    `scanned`: tables read from end to end. `measured`: tried on a copy of the schema, in a
    transaction that was rolled back; otherwise it is as documented.
    """

    locks: tuple[TableLock, ...]
    rewritten: frozenset[str] = frozenset()
    scanned: frozenset[str] = frozenset()
    measured: bool = True

    @property
    def strongest(self) -> Mode | None:
        """The strongest lock on any table or index; None if there is none."""
        return max((lock.mode for lock in self.locks), default=None)


def strongest_each(locks: Iterable[TableLock]) -> tuple[TableLock, ...]:
    """The strongest lock of each relation, the strongest relation first."""
    best: dict[str, TableLock] = {}
    for lock in locks:
        if lock.relation not in best or best[lock.relation].mode < lock.mode:
            best[lock.relation] = lock
    return tuple(sorted(best.values(), key=lambda lock: (-lock.mode, lock.relation)))


def documented(statement: Statement, tables: Sequence[str]) -> Footprint:
    """The locks of a statement that runs outside a transaction; `tables` are those it is about.

    VACUUM FULL takes ACCESS EXCLUSIVE and rewrites the table. The others take SHARE UPDATE
    EXCLUSIVE on the table and read it whole; DROP INDEX CONCURRENTLY reads nothing. (DROP and
    REINDEX CONCURRENTLY take ACCESS EXCLUSIVE on the old index at their end, when no transaction
    uses it any more.)
    """
    if is_full_vacuum(statement):
        locks = tuple(TableLock(table, Mode.AccessExclusive) for table in tables)
        return Footprint(locks, rewritten=frozenset(tables), measured=False)
    locks = tuple(TableLock(table, Mode.ShareUpdateExclusive) for table in tables)
    reads = statement.non_transactional is not NonTransactional.DROP_INDEX
    return Footprint(
        locks,
        scanned=frozenset(lock.relation for lock in locks) if reads else frozenset(),
        measured=False,
    )
