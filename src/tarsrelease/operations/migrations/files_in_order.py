"""What up and down share: holding the lock, and going through files in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from tarsrelease.migrations.history import HistoryRow, Work
from tarsrelease.migrations.problems import ConnectionGoneError, SqlError
from tarsrelease.model.environment import Database
from tarsrelease.model.errors import UsageError
from tarsrelease.model.release import Release, Run
from tarsrelease.operations.migrations.apply import Applying
from tarsrelease.operations.migrations.outcome import connection_gone, locked, not_usable
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.database import Catalog, Worker
from tarsrelease.ports.people import Progress

_POLL = 0.25
_FAREWELL = 2.0
"""Seconds that the server may take to end a session whose client has left, and with it its lock."""
_NOT_YET = datetime.min.replace(tzinfo=UTC)


def take_lock(worker: Worker, *, wait: float, clock: Clock, progress: Progress) -> None:
    """Take the lock, polling for `wait` seconds. Raises LockedError naming the holder.

    It is given back by the end of the worker's session, however that comes about.
    """
    started = clock.now()
    said = False
    patience = max(wait, _FAREWELL)
    while (owner := worker.acquire()) is not None:
        waited = (clock.now() - started).total_seconds()
        if waited >= patience:
            raise locked(owner, waited)
        if wait and not said:
            progress.say(f"waits for {owner}, for {wait:.0f} s at most")
            said = True
        clock.sleep(_POLL)


def usable(catalog: Catalog) -> None:
    """Raise UsageError where this server or this role cannot be migrated."""
    problem = not_usable(catalog.server())
    if problem is not None:
        raise problem


@contextmanager
def asking(database: Database) -> Iterator[None]:
    """Errors of questions that change nothing, as the end of the step."""
    try:
        yield
    except ConnectionGoneError as problem:
        raise connection_gone(None, problem, False, database) from problem
    except SqlError as problem:
        raise UsageError(
            doing="asking the database",
            found=f"{problem.message} {problem.hint}".strip() + f" [SQLSTATE {problem.state}]",
            expected="a role that may read the catalog and the release's tables",
            next_step="grant the role what it lacks",
        ) from problem


def apply_all(
    work: list[Work],
    release: Release,
    run: Run,
    applying: Applying,
    *,
    direction: str,
    undoes: dict[str, tuple[str, ...]],
) -> None:
    """Apply every statement of the work, in order."""
    for one in work:
        for statement in one.statements:
            begun = one.begun if one.begun and one.begun.statement == statement.number else None
            applying.apply(statement, _row(one, release, run, direction, undoes), begun)


def _row(
    work: Work, release: Release, run: Run, direction: str, undoes: dict[str, tuple[str, ...]]
) -> HistoryRow:
    """A row of the history, but for what its statement and the server fill in."""
    return HistoryRow(
        id=0,
        release=release.version,
        file=work.file.file,
        direction=direction,
        statement=0,
        statements=len(work.file.statements),
        sha256="",
        file_sha256=work.file.sha256,
        undoes=undoes.get(work.file.file, ()),
        started=_NOT_YET,
        finished=None,
        by=run.owner,
        run=run.id,
    )
