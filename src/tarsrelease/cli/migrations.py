"""A session's migrations: each step with its connections; libraries only where they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tarsrelease.adapters.postgres.database import Postgres
    from tarsrelease.bundle.files import BundleFiles
    from tarsrelease.cli.session import Session
    from tarsrelease.model.journal import Entry
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.ports.clock import Clock
    from tarsrelease.ports.cluster import Journal
    from tarsrelease.ports.people import Person, Progress

WAIT = 5.0
"""Seconds to wait for another migration's lock, unless --wait says otherwise."""


class Migrations:
    """The release's migrations in the session's environment. Each step connects, and lets go."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def plan(self, phase: str = "expand") -> Outcome:
        """See `steps.migrating.plan`."""
        from tarsrelease.adapters.postgres.squawk import squawk
        from tarsrelease.steps.migrate_plan import plan as step

        session = self._session
        with self._postgres() as postgres:
            return step(
                session.release,
                session.environment,
                phase,
                files=self._files(),
                catalog=postgres.catalog,
                copies=postgres.copy,
                linter=squawk,
                clock=_clock(),
                progress=session.progress,
            )

    def up(self, phase: str = "expand", wait: float = WAIT) -> Outcome:
        """See `steps.migrating.up`."""
        from tarsrelease.steps.migrate_up import up as step

        session = self._session
        with self._postgres() as postgres:
            return step(
                session.release, session.environment, session.run, phase,
                **self._working(postgres, wait),
            )  # fmt: skip

    def verify(self) -> Outcome:
        """See `steps.migrating.verify`."""
        from tarsrelease.steps.migrate_verify import verify as step

        session = self._session
        with self._postgres() as postgres:
            return step(
                session.release, session.environment, catalog=postgres.catalog, clock=_clock()
            )

    def status(self) -> Outcome:
        """See `steps.migrating.status`."""
        from tarsrelease.steps.migrate_status import status as step

        session = self._session
        with self._postgres() as postgres:
            return step(
                session.release,
                session.environment,
                files=self._files(),
                catalog=postgres.catalog,
                clock=_clock(),
            )

    def down(self, person: Person, wait: float = WAIT) -> Outcome:
        """See `steps.migrating.down`."""
        from tarsrelease.steps.migrate_down import down as step

        session = self._session
        with self._postgres() as postgres:
            return step(
                session.release, session.environment, session.run, person=person,
                **self._working(postgres, wait),
            )  # fmt: skip

    def plan_down(self) -> list[str]:
        """See `steps.migrating.plan_down`."""
        from tarsrelease.steps.migrate_down_plan import plan_down as step

        session = self._session
        with self._postgres() as postgres:
            return step(
                session.release,
                session.environment,
                files=self._files(),
                catalog=postgres.catalog,
            )

    @contextmanager
    def _postgres(self) -> Iterator[Postgres]:
        from tarsrelease.adapters.postgres.database import Postgres
        from tarsrelease.operations.migrations.files import database_of

        session = self._session
        with Postgres(
            session.environment,
            database_of(session.environment),
            session.release.manifest.application,
            session.run,
        ) as postgres:
            yield postgres

    def _working(self, postgres: Postgres, wait: float) -> dict[str, Any]:
        """What up and down are given alike."""
        from random import random

        return {
            "files": self._files(),
            "catalog": postgres.catalog,
            "worker": postgres.worker,
            "usage": self._usage(),
            "clock": _clock(),
            "progress": self._session.progress,
            "random": random,
            "wait": wait,
        }

    def _files(self) -> BundleFiles:
        from tarsrelease.adapters.files.bundle_files import FolderFiles

        return FolderFiles(self._session.release_folder)

    def _usage(self) -> Callable[[], tuple[float | None, float | None]] | None:
        """What the database's pod uses, where the environment wants it guarded."""
        environment = self._session.environment
        if environment.database is None or environment.database.guards.usage is None:
            return None
        from tarsrelease.adapters.prometheus.samples import PrometheusMetrics
        from tarsrelease.operations.migrations.pod_usage import pod_usage

        return pod_usage(
            PrometheusMetrics(environment.prometheus), environment.database.guards.usage
        )


class _WhereReachable:
    """The cluster's journal for who migrates by hand, and may not reach the cluster from there.

    The database's own history has every statement; what cannot be written here is said.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._given_up = False

    def entries(self) -> list[Entry]:
        """As the journal's."""
        return self._journal.entries()

    def append(self, entry: Entry) -> None:
        """Write it, or say once that it could not be written."""
        from tarsrelease.model.errors import ReleaseError

        if self._given_up:
            return
        try:
            self._journal.append(entry)
        except ReleaseError as problem:
            self._given_up = True
            found = problem.detail.found
            self._say(f"the cluster's journal was not written ({found}); the database's history is")

    @property
    def _journal(self) -> Journal:
        return self._session.ports.journal

    def _say(self, line: str) -> None:
        progress: Progress = self._session.progress
        progress.say(line)


def inside_a_job() -> bool:
    """Whether this is the command inside a Job: who made it has looked at the cluster, and keeps
    its journal, so that the pod needs no right there at all."""
    import os

    from tarsrelease.adapters.postgres.job import IN_A_JOB

    return bool(os.environ.get(IN_A_JOB))


def journaled_by_hand(session: Session, direction: str, act: Callable[[], Outcome]) -> Outcome:
    """Do it, with its entries in the cluster's journal where that can be reached.

    Inside a Job they are written by whoever made it.
    """
    from tarsrelease.operations.migrations.release_phase import journaled

    if inside_a_job():
        return act()
    journal = _WhereReachable(session)
    return journaled(act, direction, session.release, session.run, journal=journal, clock=_clock())


def _clock() -> Clock:
    from tarsrelease.adapters.clock import SystemClock

    return SystemClock()
