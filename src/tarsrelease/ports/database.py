"""The ports of migrations: the database read-only, the session that changes it, and a copy.

They raise `SqlError` if PostgreSQL answers with an error, `ConnectionGoneError` if it does not
answer any more, and `ReleaseError`s for everything that is known before a statement runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from tarsrelease.bundle.files import BundleFiles
from tarsrelease.migrations.assertions import IndexState, QueryRun
from tarsrelease.migrations.dangers import RelationSize
from tarsrelease.migrations.facts import Facts
from tarsrelease.migrations.findings import Finding
from tarsrelease.migrations.guards import Vitals
from tarsrelease.migrations.history import HistoryRow
from tarsrelease.migrations.locks import Footprint
from tarsrelease.migrations.losses import Loss
from tarsrelease.migrations.server import BuildProgress, LockOwner, Server, Session
from tarsrelease.migrations.statements import SqlFile, Statement
from tarsrelease.migrations.trial import Trial


class Catalog(Protocol):
    """The database, read-only."""

    def server(self) -> Server:
        """Version, role and rights."""

    def history(self) -> list[HistoryRow]:
        """All rows of this application, oldest first; empty if there is no such table."""

    def lock_owner(self) -> LockOwner | None:
        """Who holds the migrations' lock now."""

    def sizes(self, relations: Iterable[str]) -> dict[str, RelationSize]:
        """Size of each relation that exists, by the name that was asked for."""

    def owned(self, relation: str) -> bool | None:
        """Whether the role may act as the relation's owner; None: it does not exist."""

    def table_of(self, name: str) -> str | None:
        """The table that an index is on, or the table of this name; None if there is neither."""

    def users_of(self, relations: Iterable[str]) -> list[Session]:
        """Sessions with an open transaction that hold locks on these, the oldest first."""

    def vitals(self) -> Vitals:
        """What the guards read, without the pod's usage."""

    def invalid_indexes(self) -> dict[str, str]:
        """INVALID indexes by name, with the table that each is on (of TOAST: belongs to)."""

    def index(self, name: str) -> IndexState | None:
        """An index in the catalog; None if there is none."""

    def index_difference(self, statement: Statement) -> str:
        """How the index of this name differs from what the statement creates; "" if it does not.

        Raises SqlError 42501 if the role may not make temporary tables.
        """

    def column_type(self, table: str, column: str) -> str | None:
        """A column's type as PostgreSQL prints it."""

    def run_query(self, query: str, *, runs: int, deadline: float) -> QueryRun:
        """EXPLAIN ANALYZE in a read-only transaction."""

    def answer_times(self, runs: int) -> list[float]:
        """Seconds that SELECT 1 takes, round trip included."""

    def rows_lost(self, loss: Loss, deadline: float) -> tuple[int, bool] | None:
        """Rows with content to be lost, and whether counted (else estimated); None: absent."""

    def reached(self, table: str) -> dict[str, bool]:
        """Tables whose rows go with those of `table` (True), or lose values (False): by foreign
        keys with ON DELETE CASCADE, and SET NULL or SET DEFAULT."""

    def position(self, sequence: str) -> int | None:
        """The last value of a sequence that belongs to no column; None if it was never used."""

    def last_value(self, sequence: str) -> int | None:
        """The last value of a sequence; None if it was never used, or is none."""

    def builds(self) -> list[BuildProgress]:
        """Running index builds."""

    def blocking_locks(self, pid: int) -> list[str]:
        """Locks of this backend on existing tables that block writes or more."""

    def blockers(self, pid: int) -> list[Session]:
        """The sessions that block this backend."""


class Running(Protocol):
    """A statement that runs in the worker's session."""

    def wait(self, seconds: float) -> bool:
        """Wait for its end for this long at most; whether it has ended."""

    def cancel(self) -> None:
        """Cancel it on the server, and return when it has ended."""

    def result(self) -> None:
        """Raise its error, if it ended in one; only after its end."""


class Worker(Protocol):
    """The one session that changes the database; it holds the lock until it ends."""

    pid: int

    def acquire(self) -> LockOwner | None:
        """Try to take the lock; None if it is ours, else who holds it. Never waits."""

    def prepare_history(self) -> None:
        """Create the history's tables if they do not exist."""

    def start(
        self,
        statement: Statement,
        row: HistoryRow,
        *,
        lock_timeout: float,
        deadline: float,
    ) -> Running:
        """Start a statement together with its row of the history.

        In a transaction, both are committed together or not at all, and `lock_timeout` limits how
        long others queue behind it. A non-transactional statement's row is inserted before it and
        finished after it; with a `lock_timeout` of 0 it waits as long as it needs.
        """

    def finish(self, row: HistoryRow) -> None:
        """Mark the row of an interrupted attempt as finished."""

    def record_failure(self, error: str) -> None:
        """Record that the last attempt at a non-transactional statement failed and left nothing."""

    def drop_invalid(self, index: str) -> Running:
        """DROP INDEX CONCURRENTLY of what an interrupted build left."""


class ScratchDatabase(Protocol):
    """A throwaway database with the schema of the real one and none of its rows.

    `complete`: its owners and privileges are those of the real one; otherwise their changes are not
    noticed. `not_copied`: schemas and tables that the role may not read.
    """

    version: str
    complete: bool
    not_copied: tuple[str, ...]

    def run(self, statement: Statement, footprint: Footprint | None = None) -> Trial:
        """Run the statement for good, and return what it did.

        `footprint` is the documented one of a statement that cannot run in a transaction.
        """

    def facts(self) -> Facts:
        """The facts of the catalog now."""

    def dump(self) -> str:
        """The schema as pg_dump prints it."""


ScratchCopies = Callable[[int], AbstractContextManager[ScratchDatabase]]
"""Makes throwaway copies of the current schema, for a server of this major version."""

Linter = Callable[[SqlFile], Sequence[Finding]]
"""What the linter finds in a file."""

Usage = Callable[[], tuple[float | None, float | None]]
"""Cores and bytes that the database's pod uses; None without a reading."""


@dataclass(frozen=True, slots=True)
class DatabaseAccess:
    """The application's database and what migrations need besides it.

    `catalog` and `worker` connect when they are called. `copies` and `linter` are for a server of
    that major version. `usage` is None if the environment does not guard the database's pod.
    `random` draws from [0, 1).
    """

    files: BundleFiles
    catalog: Callable[[], Catalog]
    worker: Callable[[], Worker]
    copies: ScratchCopies
    linter: Callable[[int], Linter]
    usage: Usage | None
    random: Callable[[], float]
