"""A session's migration steps, with their connections; imports libraries only to use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tarsrelease.cli.same_bundle import same_bundle

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.journal import Entry
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.ports.cluster import Journal

T = TypeVar("T")
WAIT = 5.0
"""Seconds to wait for another migration's lock, unless --wait sets them."""


class Migrations:
    """The release's migrations in the session's environment. Each step has its own connections."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def plan(self, phase: str = "expand") -> Outcome:
        """See `steps.migrate_plan.plan`."""
        from tarsrelease.steps.migrate_plan import plan as step
        from tarsrelease.wiring.migrations import database_access

        with database_access(self._session.assignment) as access:
            return step(self._session.assignment, access, phase)

    def up(self, phase: str = "expand", wait: float = WAIT) -> Outcome:
        """See `steps.migrate_up.up`."""
        from tarsrelease.steps.migrate_up import up as step
        from tarsrelease.wiring.migrations import database_access

        with database_access(self._session.assignment) as access:
            return step(self._session.assignment, access, phase, wait)

    def verify(self) -> Outcome:
        """See `steps.migrate_verify.verify`."""
        from tarsrelease.adapters.postgres.in_a_job import inside_a_job
        from tarsrelease.steps.migrate_verify import verify as step
        from tarsrelease.wiring.migrations import database_access

        self._session.use_listed_bytes()
        same = [] if inside_a_job() else [same_bundle(self._session, "migrate.identity")]
        with database_access(self._session.assignment) as access:
            outcome = step(self._session.assignment, access)
        return outcome.model_copy(update={"checks": (*outcome.checks, *same)})

    def status(self) -> Outcome:
        """See `steps.migrate_status.status`."""
        from tarsrelease.steps.migrate_status import status as step
        from tarsrelease.wiring.migrations import database_access

        with database_access(self._session.assignment) as access:
            return step(self._session.assignment, access)

    def down(self, wait: float = WAIT) -> Outcome:
        """See `steps.migrate_down.down`."""
        from tarsrelease.steps.migrate_down import down as step
        from tarsrelease.wiring.migrations import database_access

        with database_access(self._session.assignment) as access:
            return step(self._session.assignment, access, wait)

    def plan_down(self) -> list[str]:
        """See `steps.migrate_down_plan.plan_down`."""
        from tarsrelease.steps.migrate_down_plan import plan_down as step
        from tarsrelease.wiring.migrations import database_access

        with database_access(self._session.assignment) as access:
            return step(self._session.assignment, access)


class MigratedBefore(Migrations):
    """The migrations of a database that was migrated before the wave: they are only verified."""

    def plan(self, phase: str = "expand") -> Outcome:
        """Nothing to plan."""
        del phase
        return self._left_alone("migrate plan")

    def up(self, phase: str = "expand", wait: float = WAIT) -> Outcome:
        """Nothing to apply."""
        del phase, wait
        return self._left_alone("migrate up")

    def _left_alone(self, step: str) -> Outcome:
        from tarsrelease.operations.migrations.outcome import left_alone

        why = "the targets' database was migrated before their first wave"
        return left_alone(self._session.assignment, step, why)


class _WhereReachable:
    """The cluster's journal for a manual migration, which may be unable to reach the cluster.

    Reports once that an entry could not be written; the database's history has every statement.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._given_up = False

    def entries(self) -> list[Entry]:
        """The journal's entries; none, which is reported, if it cannot be read."""
        return self._attempted(self._journal_entries) or []

    def append(self, entry: Entry) -> None:
        """Write it, or report once that it could not be written."""
        self._attempted(lambda: self._journal.append(entry))

    def _journal_entries(self) -> list[Entry]:
        return self._journal.entries()

    def _attempted(self, act: Callable[[], T]) -> T | None:
        from tarsrelease.model.errors import ReleaseError

        if self._given_up:
            return None
        try:
            return act()
        except ReleaseError as problem:
            self._given_up = True
            found = problem.detail.found
            self._session.progress.say(
                f"could not use the cluster's journal ({found}); the database's is complete"
            )
        return None

    @property
    def _journal(self) -> Journal:
        return self._session.context.cluster.journal


def refuse_down_if_used(session: Session) -> None:
    """Raise RefusedError if another target that uses the same database runs the release."""
    from tarsrelease.cli.fleet import refuse_at_any
    from tarsrelease.operations.migrations.contract import refuse_while_it_runs

    target = session.settings.target
    if target is not None and len(session.whole_environment.sharing(target)) > 1:
        refuse_at_any(session, refuse_while_it_runs)


def journaled_by_hand(session: Session, direction: str, act: Callable[[], Outcome]) -> Outcome:
    """Run `act`, with its entries in the cluster's journal if that can be reached.

    In a Job, the process that created it writes them.
    """
    from tarsrelease.adapters.postgres.in_a_job import inside_a_job
    from tarsrelease.operations.migrations.release_phase import journaled

    if inside_a_job():
        return act()
    return journaled(session.assignment, _WhereReachable(session), direction, act)
