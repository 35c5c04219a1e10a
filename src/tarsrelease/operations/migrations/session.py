"""What up and down share: the lock, errors of the session, the files in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from tarsrelease.context import Assignment
from tarsrelease.migrations.history import HistoryRow, Work
from tarsrelease.migrations.problems import ConnectionGoneError, SqlError
from tarsrelease.model.database import Database
from tarsrelease.model.errors import UsageError
from tarsrelease.model.format import duration
from tarsrelease.operations.migrations.apply import Applier
from tarsrelease.operations.migrations.outcome import connection_gone, locked, not_usable
from tarsrelease.ports.database import Catalog, Worker

_POLL = 0.25
_FAREWELL = 2.0
"""Seconds until the server ends the session of a client that is gone, and releases its lock."""
_NOT_YET = datetime.min.replace(tzinfo=UTC)


def take_lock(assignment: Assignment, worker: Worker, wait: float) -> None:
    """Take the lock, polling for `wait` seconds. Raises LockedError naming the holder.

    The end of the worker's session releases it, however the session ends.
    """
    clock = assignment.clock
    started = clock.now()
    announced = False
    patience = max(wait, _FAREWELL)
    while (owner := worker.acquire()) is not None:
        waited = (clock.now() - started).total_seconds()
        if waited >= patience:
            raise locked(owner, waited)
        if wait and not announced:
            assignment.people.progress.say(f"waits for {owner}, for {duration(wait)} at most")
            announced = True
        clock.sleep(_POLL)


def refuse_unusable(catalog: Catalog) -> None:
    """Raise UsageError if this server or this role cannot be migrated."""
    problem = not_usable(catalog.server())
    if problem is not None:
        raise problem


@contextmanager
def errors_as_outcomes(database: Database) -> Iterator[None]:
    """Turn errors of queries that change nothing into the ReleaseErrors that end the step."""
    try:
        yield
    except ConnectionGoneError as problem:
        raise connection_gone(None, problem, False, database) from problem
    except SqlError as problem:
        raise UsageError(
            doing="querying the database",
            found=f"{problem.message} {problem.hint}".strip() + f" [SQLSTATE {problem.state}]",
            expected="a role that may read the catalog and the release's tables",
            next_step="grant the role what it lacks",
        ) from problem


def apply_all(
    applier: Applier,
    work: Sequence[Work],
    direction: str,
    undoes: Mapping[str, tuple[str, ...]] | None = None,
) -> None:
    """Apply every statement of the work, in order; `direction` is ``up`` or ``down``.

    `undoes`: for each down file, the files that it undoes.
    """
    for one in work:
        row = _row(applier.assignment, one, direction, (undoes or {}).get(one.file.file, ()))
        for statement in one.statements:
            before = one.interrupted
            if before is not None and before.statement != statement.number:
                before = None
            applier.apply(statement, row, before)


def _row(assignment: Assignment, work: Work, direction: str, undoes: tuple[str, ...]) -> HistoryRow:
    """A row of the history without what its statement and the server fill in."""
    return HistoryRow(
        id=0,
        release=assignment.release.version,
        file=work.file.file,
        direction=direction,
        statement=0,
        statements=len(work.file.statements),
        sha256="",
        file_sha256=work.file.sha256,
        undoes=undoes,
        started=_NOT_YET,
        finished=None,
        by=assignment.run.owner,
        run=assignment.run.id,
    )
