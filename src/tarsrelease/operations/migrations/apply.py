"""Apply one statement after the other: wait for the guards, repair, run, report progress."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tarsrelease.context import Assignment
from tarsrelease.migrations.backoff import pause
from tarsrelease.migrations.dangers import RelationSize
from tarsrelease.migrations.deadlines import Deadline, deadline_of, is_full_vacuum
from tarsrelease.migrations.guards import exceeded, guard_checks
from tarsrelease.migrations.history import HistoryRow
from tarsrelease.migrations.problems import ConnectionGoneError, SqlError
from tarsrelease.migrations.server import BuildProgress, Session
from tarsrelease.migrations.statements import NonTransactional, Statement
from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Check
from tarsrelease.operations.migrations.files import database_of
from tarsrelease.operations.migrations.outcome import (
    connection_gone,
    in_the_way,
    statement_failed,
)
from tarsrelease.operations.migrations.recovery import (
    NotOursError,
    is_attempt,
    left_by_this_run,
    remains,
)
from tarsrelease.ports.database import Catalog, DatabaseAccess, Running, Worker

_POLL = 1.0
"""Seconds between two readings of the guards and of a build's progress."""
_PATIENCE_RUNNING = 5.0
"""Seconds that a guard may be exceeded before the running build is cancelled."""
_REPORT_EVERY = 10.0
"""Seconds between two lines about the same build."""
_ATTEMPTS = 3
"""Attempts at a build that the guards cancel."""
_DUPLICATE = "42P07"
"""duplicate_table, also for an index."""


class HeldError(Exception):
    """The migration had to wait for too long, and can continue later."""

    def __init__(self, statement: Statement, why: str, checks: tuple[Check, ...] = ()) -> None:
        super().__init__(why)
        self.statement = statement
        self.why = why
        self.checks = checks


@dataclass
class Counts:
    """What this run did.

    `started`: a statement was sent at all. `left_behind`: a non-transactional one failed and was
    not cleaned up.
    """

    finished: int = 0
    started: bool = False
    left_behind: bool = False
    gave_way: int = 0
    repaired: int = 0
    paused: float = 0.0


class Applier:
    """Applies statements, one after the other, in one worker's session."""

    def __init__(
        self, assignment: Assignment, access: DatabaseAccess, catalog: Catalog, worker: Worker
    ) -> None:
        self.assignment = assignment
        self.counts = Counts()
        self.guards: tuple[Check, ...] = ()
        """The guards' last results."""
        self._database = database_of(assignment.environment)
        self._clock = assignment.clock
        self._progress = assignment.people.progress
        self._catalog = catalog
        self._worker = worker
        self._usage = access.usage
        self._random = access.random
        self._blockers: list[Session] = []
        self._calm_until: datetime | None = None
        """Until then, small statements do not read the guards again."""

    def apply(self, statement: Statement, row: HistoryRow, interrupted: HistoryRow | None) -> None:
        """Apply one statement; `interrupted` is the row of an attempt at it that never
        finished.

        Raises ReleaseError if it fails, HeldError if it must wait for too long.
        """
        try:
            if statement.non_transactional is None or is_full_vacuum(statement):
                self._giving_way(statement, row)
            else:
                self._non_transactional(statement, row, interrupted)
        except SqlError as problem:
            changed = self.counts.finished > 0 or self.counts.left_behind
            raise statement_failed(statement, problem, changed) from problem
        except NotOursError as problem:
            raise in_the_way(statement, problem, self.counts.finished > 0) from problem
        except ConnectionGoneError as problem:
            raise connection_gone(
                statement, problem, self.counts.started, self._database
            ) from problem
        self.counts.finished += 1

    # Statements that others queue behind: they give way and try again.

    def _giving_way(self, statement: Statement, row: HistoryRow) -> None:
        started = self._clock.now()
        attempt = 0
        while True:
            attempt += 1
            self._wait_for_guards(statement)
            try:
                self._run(statement, row)
            except SqlError as problem:
                if not problem.gave_way:
                    raise
            else:
                return
            self.counts.gave_way += 1
            waited = (self._clock.now() - started).total_seconds()
            if waited >= self._database.lock_patience:
                raise HeldError(
                    statement,
                    f"gave way {attempt} times in {duration(waited)}: {self._blocked_by()}",
                )
            seconds = pause(attempt, self._random())
            self._progress.say(
                f"{statement.place}: gave way after {duration(self._database.lock_timeout)} "
                f"({self._blocked_by()}); again in {duration(seconds)}"
            )
            self._clock.sleep(seconds)

    def _blocked_by(self) -> str:
        return "; ".join(map(str, self._blockers[:3])) or "a session that has ended since"

    # Non-transactional statements: an interrupted attempt leaves things behind.

    def _non_transactional(
        self, statement: Statement, row: HistoryRow, interrupted: HistoryRow | None
    ) -> None:
        begun = is_attempt(interrupted, statement)
        for attempt in range(1, _ATTEMPTS + 1):
            if self._finished_before(statement, interrupted if begun else None):
                return
            self._wait_for_guards(statement)
            try:
                self._run(statement, row)
            except _CancelledByGuardError as why:
                self._drop_remains(statement)
                self._worker.record_failure(f"cancelled, because {why}")
                self._progress.say(f"{statement.place}: cancelled, because {why}")
                if attempt == _ATTEMPTS:
                    raise HeldError(
                        statement, f"cancelled {_ATTEMPTS} times: {why}", self.guards
                    ) from why
            except SqlError as problem:
                if problem.state != _DUPLICATE:  # else the index is not of this attempt
                    # Repaired now: even an INVALID unique index refuses rows.
                    self.counts.left_behind = True
                    self._drop_remains(statement)
                    self.counts.left_behind = False
                self._worker.record_failure(f"{problem.state}: {problem.message}")
                raise
            else:
                self._require_valid(statement)
                return

    def _finished_before(self, statement: Statement, interrupted: HistoryRow | None) -> bool:
        """Drop what an interrupted attempt left; True if it had finished its work."""
        try:
            found = remains(statement, interrupted is not None, self._catalog)
        except NotOursError as problem:
            if problem.building:
                raise HeldError(statement, problem.found) from problem
            raise
        self._drop(statement, found.drop)
        if found.done and interrupted is not None:
            self._worker.finish(interrupted)
            self._progress.say(f"{statement.place}: was finished by run {interrupted.run}")
        return found.done

    def _drop_remains(self, statement: Statement) -> None:
        """Drop what the attempt of this run left."""
        self._drop(statement, left_by_this_run(statement, self._catalog))

    def _drop(self, statement: Statement, indexes: Sequence[str]) -> None:
        for name in indexes:
            self._progress.say(f"{statement.place}: dropping the INVALID index {name}")
            try:
                self._watch(self._worker.drop_invalid(name), statement, None)
            except SqlError as problem:
                # Only a superuser may drop an index of TOAST's schema; it harms nobody.
                if not (name.startswith("pg_toast.") and problem.state == "42501"):
                    raise
                self._progress.say(f"{statement.place}: a superuser must drop {name}")
            else:
                self.counts.repaired += 1

    def _require_valid(self, statement: Statement) -> None:
        """An index must be valid; the statement's success does not prove it."""
        if statement.non_transactional is NonTransactional.CREATE_INDEX:
            for name in statement.names:
                state = self._catalog.index(name)
                if state is None or not (state.valid and state.ready):
                    raise SqlError("XX001", f"index {name} is not valid after it was built")

    # Running.

    def _run(self, statement: Statement, row: HistoryRow) -> None:
        deadline = deadline_of(statement, self._database)
        self._progress.say(f"{statement.place}: {statement.first_line}")
        self.counts.started = True
        running = self._worker.start(
            statement,
            dataclasses.replace(row, statement=statement.number, sha256=statement.sha256),
            lock_timeout=deadline.lock_timeout,
            deadline=deadline.seconds,
        )
        self._watch(running, statement, deadline)

    def _watch(self, running: Running, statement: Statement, deadline: Deadline | None) -> None:
        """Wait for its end; report progress and blockers.

        Cancel a build if a guard is exceeded, and a statement that blocks others for too long.
        Without `deadline`, nothing cancels it.
        """
        # Blockers must be read before lock_timeout ends the wait; a build has none.
        patient = statement.non_transactional and not (deadline and deadline.lock_timeout)
        poll = _POLL if patient else min(_POLL, self._database.lock_timeout / 4)
        exceeded_for = blocked_for = 0.0
        reported: dict[str, float] = {}
        elapsed = 0.0
        try:
            while not running.wait(poll):
                elapsed += poll
                blockers = self._catalog.blockers(self._worker.pid)
                if blockers:
                    self._blockers = blockers
                if deadline and deadline.blocking is not None and not blockers:
                    blocks = self._catalog.blocking_locks(self._worker.pid)
                    blocked_for = blocked_for + poll if blocks else 0.0
                    if blocked_for >= deadline.blocking:
                        self._progress.say(
                            f"{statement.place}: cancelled, because it holds {', '.join(blocks)} "
                            f"for more than {deadline.blocking:g} s"
                        )
                        running.cancel()
                        break
                if not patient:
                    continue
                self._report(statement, [*blockers, *self._catalog.builds()], elapsed, reported)
                faults = exceeded(self._read_guards(0.0)) if deadline else []
                exceeded_for = exceeded_for + poll if faults else 0.0
                if exceeded_for >= _PATIENCE_RUNNING:
                    raise _CancelledByGuardError(  # noqa: TRY301 - cancelled below like an interrupt
                        "; ".join(f"{c.id}: {c.reason}" for c in faults)
                    )
        except BaseException:
            running.cancel()
            raise
        running.result()

    def _report(
        self,
        statement: Statement,
        what: Sequence[Session | BuildProgress],
        elapsed: float,
        reported: dict[str, float],
    ) -> None:
        for item in what:
            waits = "waits for " if isinstance(item, Session) else ""
            if elapsed - reported.get(waits, -_REPORT_EVERY) >= _REPORT_EVERY:
                reported[waits] = elapsed
                self._progress.say(f"{statement.place}: {waits}{item}")

    # Guards.

    def _read_guards(self, growth: float) -> list[Check]:
        vitals = self._catalog.vitals()
        if self._usage is not None and self._database.guards.usage is not None:
            cpu, memory = self._usage()
            vitals = dataclasses.replace(vitals, cpu=cpu, memory=memory)
        checks = guard_checks(vitals, self._database.guards, growth)
        self.guards = tuple(checks)
        return checks

    def _wait_for_guards(self, statement: Statement) -> None:
        """Return when no guard is exceeded. Raises HeldError if that takes too long."""
        started = self._clock.now()
        growth = self._growth(statement)
        if not growth and self._calm_until is not None and started < self._calm_until:
            return
        last = ""
        while True:
            faults = exceeded(self._read_guards(growth))
            waited = (self._clock.now() - started).total_seconds()
            if not faults:
                self.counts.paused += waited
                self._calm_until = self._clock.now() + timedelta(seconds=_POLL)
                return
            why = "; ".join(f"{check.id}: {check.reason}" for check in faults)
            if waited >= self._database.guards.patience:
                raise HeldError(statement, why, self.guards)
            ids = ", ".join(check.id for check in faults)
            if ids != last:
                self._progress.say(f"{statement.place}: waits, because {why}")
                last = ids
            self._clock.sleep(_POLL)

    def _growth(self, statement: Statement) -> float:
        """Bytes that an index may need: at most the size of its table."""
        if statement.table is None:
            return 0.0
        return float(
            self._catalog.sizes([statement.table]).get(statement.table, RelationSize(0, 0)).bytes
        )


class _CancelledByGuardError(Exception):
    """A build was cancelled because a guard was exceeded."""
