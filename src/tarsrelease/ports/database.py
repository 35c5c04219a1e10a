"""What migrations ask of the world: the database, one session that works on it, and a copy.

They raise `SqlError` where PostgreSQL answers with an error, `ConnectionGoneError` where it does
not answer any more, and `ReleaseError`s for everything that is known before a statement runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from tarsrelease.bundle.files import BundleFiles
from tarsrelease.migrations.asserted import IndexState, QueryRun
from tarsrelease.migrations.dangers import RelationSize
from tarsrelease.migrations.findings import Finding
from tarsrelease.migrations.guards import Vitals
from tarsrelease.migrations.history import HistoryRow
from tarsrelease.migrations.locks import Footprint
from tarsrelease.migrations.losses import Loss
from tarsrelease.migrations.server import BuildProgress, LockOwner, Server, Session
from tarsrelease.migrations.statements import SqlFile, Statement


class Catalog(Protocol):
    """The database, only looked at."""

    def server(self) -> Server:
        """Version, role and rights."""

    def history(self) -> list[HistoryRow]:
        """All rows of this application, oldest first; empty where there is no such table."""

    def lock_owner(self) -> LockOwner | None:
        """Who holds the migrations' lock now."""

    def sizes(self, relations: Iterable[str]) -> dict[str, RelationSize]:
        """Size of each relation that exists, by the name that was asked for."""

    def owned(self, relation: str) -> bool | None:
        """Whether the role may act as the relation's owner; None: it does not exist."""

    def table_of(self, index: str) -> str | None:
        """The table that an index is on; None where there is no such index."""

    def users_of(self, relations: Iterable[str]) -> list[Session]:
        """Sessions with an open transaction that hold locks on these, the oldest first."""

    def vitals(self) -> Vitals:
        """What the guards look at, but for the pod's usage."""

    def invalid_indexes(self) -> dict[str, str]:
        """INVALID indexes by name, with the table that each is on (of TOAST: belongs to)."""

    def index(self, name: str) -> IndexState | None:
        """An index as it stands in the catalog."""

    def column_type(self, table: str, column: str) -> str | None:
        """A column's type as PostgreSQL prints it."""

    def run_query(self, query: str, *, runs: int, deadline: float) -> QueryRun:
        """EXPLAIN ANALYZE in a read-only transaction."""

    def answer_times(self, runs: int) -> list[float]:
        """Seconds that SELECT 1 takes, round trip included."""

    def rows_lost(self, loss: Loss, deadline: float) -> tuple[int, bool] | None:
        """Rows with content that would go, and whether counted (else estimated); None: absent."""

    def builds(self) -> list[BuildProgress]:
        """Index builds that run now."""

    def blockers(self, pid: int) -> list[Session]:
        """Who keeps this backend waiting."""


class Running(Protocol):
    """A statement at work in the worker's session."""

    def wait(self, seconds: float) -> bool:
        """Wait for its end, so long at most; whether it has ended."""

    def cancel(self) -> None:
        """Ask the server to cancel it, and return when it has ended."""

    def result(self) -> None:
        """Raise what it ended with, once it has ended."""


class Worker(Protocol):
    """The one session that changes the database; it holds the lock for as long as it lives."""

    pid: int

    def acquire(self) -> LockOwner | None:
        """Try to take the lock; None when it is ours, else who holds it. Never waits."""

    def prepare_history(self) -> None:
        """Make the history's tables where there are none."""

    def start(
        self,
        statement: Statement,
        row: HistoryRow,
        *,
        lock_timeout: float,
        deadline: float,
    ) -> Running:
        """Begin a statement together with its row of the history.

        In a transaction: both are committed together or not at all, and nobody waits for our lock
        longer than `lock_timeout`. Apart: the row is there before it and finished after it, and
        there is no lock_timeout, because it would also cut the waits that such statements need.
        """

    def finish(self, row: HistoryRow) -> None:
        """Mark a row that was broken off as finished, because what it wanted is there."""

    def drop_invalid(self, index: str) -> Running:
        """DROP INDEX CONCURRENTLY of what a broken build left."""


class ScratchDatabase(Protocol):
    """A throwaway database with the schema of the real one, and none of its rows."""

    version: str

    def footprint(self, statement: Statement) -> Footprint:
        """Try the statement in a transaction that is rolled back; see what it locks."""

    def apply(self, statement: Statement) -> None:
        """Run it for good."""

    def dump(self) -> str:
        """The schema as pg_dump prints it."""


ScratchCopies = Callable[[int], AbstractContextManager[ScratchDatabase]]
"""Makes throwaway copies of the schema as it stands now; for a server of this major version."""

Linter = Callable[[SqlFile], Sequence[Finding]]
"""What the linter finds in a file."""

Usage = Callable[[], tuple[float | None, float | None]]
"""Cores and bytes that the database's pod uses; None where there is no reading."""


@dataclass(frozen=True, slots=True)
class DatabaseAccess:
    """The application's database and what migrations need besides it.

    `catalog` and `worker` connect when they are called. `copies` and `linter` are for a server of
    that major version. `usage` is None where the environment does not guard the database's pod.
    `random` draws from [0, 1).
    """

    files: BundleFiles
    catalog: Callable[[], Catalog]
    worker: Callable[[], Worker]
    copies: ScratchCopies
    linter: Callable[[int], Linter]
    usage: Usage | None
    random: Callable[[], float]
