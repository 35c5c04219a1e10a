"""One statement after the other: wait for the guards, repair what is broken, run, watch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from tarsrelease.context import Assignment
from tarsrelease.migrations.backoff import pause
from tarsrelease.migrations.dangers import RelationSize
from tarsrelease.migrations.guards import broken, guard_checks
from tarsrelease.migrations.history import HistoryRow
from tarsrelease.migrations.problems import ConnectionGoneError, SqlError
from tarsrelease.migrations.server import BuildProgress, Session
from tarsrelease.migrations.statements import Apart, Statement
from tarsrelease.model.outcome import Check
from tarsrelease.operations.migrations.files import database_of
from tarsrelease.operations.migrations.outcome import connection_gone, statement_failed
from tarsrelease.ports.database import Catalog, DatabaseAccess, Running, Worker

_LOOK = 1.0
"""Seconds between two looks at the guards and at a build's progress."""
_PATIENCE_RUNNING = 5.0
"""Seconds that a guard may be broken while a build runs before it is broken off."""
_SAID = 10.0
"""Seconds between two lines about the same build."""
_ROW_LOCKS = {"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "select_stmt"}
"""Statements whose table locks stop no query; what they lock is rows."""
_MAY_BLOCK = {"table-rewrite", "long-lock", "cluster", "lock-table"}
_MANY = 3
"""Times that a build is begun anew after a guard broke it off."""


class HeldError(Exception):
    """Neither wrong nor done: the migration gave way, and can go on later."""

    def __init__(self, statement: Statement, why: str, checks: tuple[Check, ...] = ()) -> None:
        super().__init__(why)
        self.statement = statement
        self.why = why
        self.checks = checks


@dataclass
class Counts:
    """What this run did; `begun` says that a statement was sent at all, `left_behind` that one
    outside a transaction failed and was not cleaned away."""

    finished: int = 0
    begun: bool = False
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

    def apply(self, statement: Statement, row: HistoryRow, begun: HistoryRow | None) -> None:
        """Apply one statement; `begun` is the row of an attempt at it that was broken off.

        Raises ReleaseError where it fails, HeldError where it must wait for too long.
        """
        try:
            if statement.apart is None:
                self._in_turns(statement, row)
            else:
                self._apart(statement, row, begun)
        except SqlError as problem:
            changed = self.counts.finished > 0 or self.counts.left_behind
            raise statement_failed(statement, problem, changed) from problem
        except ConnectionGoneError as problem:
            raise connection_gone(
                statement, problem, self.counts.begun, self._database
            ) from problem
        self.counts.finished += 1

    # A statement in a transaction: it gives way to others, again and again.

    def _in_turns(self, statement: Statement, row: HistoryRow) -> None:
        started = self._clock.now()
        attempt = 0
        while True:
            attempt += 1
            self._wait_for_guards(statement)
            try:
                self._run(statement, row, self._time_for(statement))
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
                    f"gave way {attempt} times in {waited:.0f} s: {self._in_the_way()}",
                )
            seconds = pause(attempt, self._random())
            self._progress.say(
                f"{statement.place}: gave way after {self._database.lock_timeout:g} s "
                f"({self._in_the_way()}); again in {seconds:.1f} s"
            )
            self._clock.sleep(seconds)

    def _time_for(self, statement: Statement) -> float:
        """Seconds that it may take: few where its locks may stop others and nobody allowed it.

        Plan refuses such statements by what it measures; this bounds the harm where no plan was
        made, or where the tables are not what they were then.
        """
        rows_only = statement.node.WhichOneof("node") in _ROW_LOCKS
        if rows_only or _MAY_BLOCK & statement.allowed.keys():
            return self._database.statement_timeout
        return min(self._database.blocking_timeout, self._database.statement_timeout)

    def _in_the_way(self) -> str:
        return "; ".join(map(str, self._blockers[:3])) or "somebody who is gone by now"

    # A statement outside a transaction: it may have been broken off, and leave things behind.

    def _apart(self, statement: Statement, row: HistoryRow, begun: HistoryRow | None) -> None:
        for attempt in range(1, _MANY + 1):
            if self._already(statement, begun):
                return
            self._wait_for_guards(statement)
            try:
                self._run(statement, row, self._database.build_deadline)
            except _BrokenOff as why:
                self._repair(statement)
                self._progress.say(f"{statement.place}: broken off, because {why}")
                if attempt == _MANY:
                    raise HeldError(
                        statement, f"broken off {_MANY} times: {why}", self.guards
                    ) from why
            except SqlError:
                # Not left for the next run: a broken unique index still refuses rows.
                self.counts.left_behind = True
                self._repair(statement)
                self.counts.left_behind = False
                raise
            else:
                self._insist(statement)
                return

    def _already(self, statement: Statement, begun: HistoryRow | None) -> bool:
        """Repair what an earlier attempt left; True where it had finished its work."""
        self._repair(statement)
        if begun is None or begun.statement != statement.number:
            return False
        states = [self._catalog.index(name) for name in statement.names]
        done = (
            statement.apart is Apart.CREATE_INDEX
            and all(state is not None and state.valid for state in states)
        ) or (statement.apart is Apart.DROP_INDEX and not any(states))
        if done:
            self._worker.finish(begun)
            self._progress.say(f"{statement.place}: was finished by run {begun.run}")
        return done

    def _repair(self, statement: Statement) -> None:
        """Drop what a broken build left: an INVALID index of this name, or REINDEX's copies.

        IF NOT EXISTS would take an INVALID index for a finished one. An index that somebody
        else's session is building right now is not ours to drop.
        """
        for name in self._left_behind(statement):
            if any(build.index.endswith(name) for build in self._catalog.builds()):
                raise HeldError(
                    statement, f"index {name} is being built by another session right now"
                )
            self._progress.say(f"{statement.place}: dropping the INVALID index {name}")
            try:
                self._watch(self._worker.drop_invalid(name), statement, guarded=False)
            except SqlError as problem:
                # Only a superuser may name what is in TOAST's schema; it is in nobody's way.
                if not (name.startswith("pg_toast.") and problem.state == "42501"):
                    raise
                self._progress.say(f"{statement.place}: a superuser must drop {name}")
            else:
                self.counts.repaired += 1

    def _left_behind(self, statement: Statement) -> list[str]:
        if statement.apart is Apart.CREATE_INDEX:
            states = {name: self._catalog.index(name) for name in statement.names}
            return [
                name
                for name, state in states.items()
                if state is not None and not (state.valid and state.ready)
            ]
        if statement.apart is Apart.REINDEX:
            # REINDEX CONCURRENTLY names them after the index: docs, "REINDEX", "Rebuilding
            # Indexes Concurrently".
            tables = {*statement.names, *map(self._catalog.table_of, statement.names)}
            return [
                name
                for name, table in self._catalog.invalid_indexes().items()
                if name.rstrip("0123456789").endswith(("_ccnew", "_ccold")) and table in tables
            ]
        return []

    def _insist(self, statement: Statement) -> None:
        """An index must be valid in the end; the statement's success does not say so."""
        if statement.apart is Apart.CREATE_INDEX:
            for name in statement.names:
                state = self._catalog.index(name)
                if state is None or not (state.valid and state.ready):
                    raise SqlError("XX001", f"index {name} is not valid after it was built")

    # Running and watching.

    def _run(self, statement: Statement, row: HistoryRow, deadline: float) -> None:
        self._progress.say(f"{statement.place}: {statement.first_line}")
        self.counts.begun = True
        running = self._worker.start(
            statement,
            dataclasses.replace(row, statement=statement.number, sha256=statement.sha256),
            lock_timeout=self._database.lock_timeout,
            deadline=deadline,
        )
        self._watch(running, statement, guarded=statement.apart is not None)

    def _watch(self, running: Running, statement: Statement, *, guarded: bool) -> None:
        """Wait for its end; show progress and who blocks; break a build off when a guard breaks."""
        # Looking costs the server something, too; a build has no lock_timeout to be early for.
        look = _LOOK if statement.apart else min(_LOOK, self._database.lock_timeout / 4)
        broken_for = 0.0
        said: dict[str, float] = {}
        elapsed = 0.0
        try:
            while not running.wait(look):
                elapsed += look
                blockers = self._catalog.blockers(self._worker.pid)
                if blockers:
                    self._blockers = blockers
                if statement.apart is None:
                    continue
                self._report(statement, [*blockers, *self._catalog.builds()], elapsed, said)
                faults = broken(self._look(0.0)) if guarded else []
                broken_for = broken_for + look if faults else 0.0
                if broken_for >= _PATIENCE_RUNNING:
                    raise _BrokenOff("; ".join(f"{c.id}: {c.reason}" for c in faults))  # noqa: TRY301 - the same way out as an interrupt
        except BaseException:
            running.cancel()
            raise
        running.result()

    def _report(
        self,
        statement: Statement,
        what: Sequence[Session | BuildProgress],
        elapsed: float,
        said: dict[str, float],
    ) -> None:
        for item in what:
            waits = "waits for " if isinstance(item, Session) else ""
            if elapsed - said.get(waits, -_SAID) >= _SAID:
                said[waits] = elapsed
                self._progress.say(f"{statement.place}: {waits}{item}")

    # Guards.

    def _look(self, growth: float) -> list[Check]:
        vitals = self._catalog.vitals()
        if self._usage is not None and self._database.guards.usage is not None:
            cpu, memory = self._usage()
            vitals = dataclasses.replace(vitals, cpu=cpu, memory=memory)
        checks = guard_checks(vitals, self._database.guards, growth)
        self.guards = tuple(checks)
        return checks

    def _wait_for_guards(self, statement: Statement) -> None:
        """Return when no guard is broken. Raises HeldError when that takes too long."""
        started = self._clock.now()
        last = ""
        growth = self._growth(statement)
        while True:
            faults = broken(self._look(growth))
            waited = (self._clock.now() - started).total_seconds()
            if not faults:
                self.counts.paused += waited
                return
            why = "; ".join(f"{check.id}: {check.reason}" for check in faults)
            if waited >= self._database.guards.patience:
                raise HeldError(statement, why, self.guards)
            ids = ", ".join(check.id for check in faults)
            if ids != last:
                self._progress.say(f"{statement.place}: waits, because {why}")
                last = ids
            self._clock.sleep(_LOOK)

    def _growth(self, statement: Statement) -> float:
        """Bytes that an index may take: no more than the table that it is on."""
        if statement.table is None:
            return 0.0
        return float(
            self._catalog.sizes([statement.table]).get(statement.table, RelationSize(0, 0)).bytes
        )


class _BrokenOff(Exception):  # noqa: N818 - not an error, a decision
    """A build was cancelled because a guard was broken."""
