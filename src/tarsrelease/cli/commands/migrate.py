"""tarsrelease migrate plan, up, verify, status and down"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome

migrate = LazyGroup(
    "migrate",
    help="Database migrations: expand before the canary, contract when nothing is rolled back.",
    entries={
        "plan": Entry(f"{__name__}:plan", "What each statement would do; down proven."),
        "up": Entry(f"{__name__}:up", "Apply what is left, statement by statement."),
        "verify": Entry(f"{__name__}:verify", "Does the schema keep what the manifest promises?"),
        "status": Entry(f"{__name__}:status", "What is applied, and who works on it now."),
        "down": Entry(f"{__name__}:down", "Undo a release's migrations; says first what is lost."),
    },
)

_PHASE = click.option(
    "--phase",
    type=click.Choice(["expand", "contract"]),
    default="expand",
    show_default=True,
    help="expand before the canary; contract once nothing can be rolled back to.",
)
_WAIT = click.option(
    "--wait",
    default="5s",
    show_default=True,
    metavar="DURATION",
    help="How long to wait for another migration's lock, such as 10m.",
)
_AS_JOB = click.option(
    "--as-job",
    is_flag=True,
    help="Run it in a Job inside the cluster (database.job in the environment).",
)


def _in_a_job(session: Session, *arguments: str) -> Outcome:
    """The same command inside the cluster."""
    from tarsrelease.adapters.files.configuration import ENVIRONMENTS
    from tarsrelease.adapters.kubernetes.client import KubernetesApi
    from tarsrelease.adapters.postgres.job import Jobs

    place = session.environment.kubernetes
    named = Path(str(session.settings.environment))
    jobs = Jobs(
        KubernetesApi.connect(place.context, place.namespace),
        session.environment,
        session.assignment.clock,
        session.progress,
    )
    return jobs.run(
        ["migrate", *arguments],
        session.release_folder,
        named if named.suffix in {".yaml", ".yml"} else ENVIRONMENTS / f"{named}.yaml",
        session.run,
    )


def _seconds(text: str) -> float:
    from tarsrelease.model.quantities import parse_seconds

    try:
        return parse_seconds(text)
    except ValueError as problem:
        raise click.UsageError(f"--wait: {problem}") from None


@_PHASE
def _plan(settings: Settings, phase: str) -> int:
    """Say what each statement that is left would do to the real database, and change nothing.

    Each is tried on a throwaway copy of the schema: its locks, whether it rewrites or reads a
    whole table, what the linter finds, who is in the way right now. Then down and up again are
    walked on the copy. Ends with 1 where up would refuse or fail.
    """
    from tarsrelease.cli.migrations import Migrations
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        return Migrations(session).plan(phase)

    return carry_out(settings, "migrate plan", act, changes=False, recording=Recording.WHEN_ASKED)


@_PHASE
@_WAIT
@_AS_JOB
def _up(settings: Settings, phase: str, wait: str, as_job: bool) -> int:
    """Apply the statements that are not applied yet, one by one.

    Each gives way to the application's transactions, and waits while the database is under
    pressure. It can be killed at any instant and run again: it goes on after the last finished
    statement. Holds (10) where it had to give way for too long.
    """
    from tarsrelease.cli.session import carry_out

    seconds = _seconds(wait)

    def act(session: Session) -> Outcome:
        from tarsrelease.cli.migrations import Migrations, inside_a_job, journaled_by_hand
        from tarsrelease.operations.migrations.contract import refuse_while_rollback_is_possible

        if phase == "contract" and not inside_a_job():
            refuse_while_rollback_is_possible(session.context)
        if as_job:
            arguments = ("up", "--phase", phase, "--wait", wait)
            return journaled_by_hand(session, phase, partial(_in_a_job, session, *arguments))
        return journaled_by_hand(session, phase, partial(Migrations(session).up, phase, seconds))

    return carry_out(settings, "migrate up", act)


@_AS_JOB
def _verify(settings: Settings, as_job: bool) -> int:
    """Check what the manifest says of the schema: indexes, columns, queries and their plans.

    Also whether the database answers in time and has free connections.
    """
    from tarsrelease.cli.migrations import Migrations
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        return _in_a_job(session, "verify") if as_job else Migrations(session).verify()

    return carry_out(settings, "migrate verify", act, changes=False)


@_AS_JOB
def _status(settings: Settings, as_job: bool) -> int:
    """Show what is applied, how far, by whom; who holds the lock; builds that run now."""
    from tarsrelease.cli.migrations import Migrations
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        return _in_a_job(session, "status") if as_job else Migrations(session).status()

    return carry_out(settings, "migrate status", act, changes=False, recording=Recording.WHEN_ASKED)


@_WAIT
@_AS_JOB
def _down(settings: Settings, wait: str, as_job: bool) -> int:
    """Undo the release's migrations. A rollback of the code does not need it.

    It says first what would be lost, counts the rows, and asks; --yes answers beforehand. A Job
    cannot be answered: without --yes it only says what would be lost.
    """
    from tarsrelease.cli.session import carry_out

    seconds = _seconds(wait)

    def act(session: Session) -> Outcome:
        from tarsrelease.cli.migrations import Migrations, journaled_by_hand

        if as_job:
            arguments = ("down", "--wait", wait, *(["--yes"] if settings.yes else []))
            return journaled_by_hand(session, "down", partial(_in_a_job, session, *arguments))
        return journaled_by_hand(session, "down", partial(Migrations(session).down, seconds))

    return carry_out(settings, "migrate down", act)


_SHARED = ("release", "environment", "evidence")
_WHERE = "--release release/v1_0_1 --environment production"

plan = command(*_SHARED, name="plan", example=f"tarsrelease migrate plan {_WHERE}")(_plan)
up = command(
    *_SHARED,
    name="up",
    example=f"tarsrelease migrate up {_WHERE}\n"
    f"tarsrelease migrate up --phase contract --wait 10m {_WHERE}",
)(_up)
verify = command(*_SHARED, name="verify", example=f"tarsrelease migrate verify {_WHERE}")(_verify)
status = command(*_SHARED, name="status", example=f"tarsrelease migrate status {_WHERE}")(_status)
down = command(*_SHARED, "yes", name="down", example=f"tarsrelease migrate down {_WHERE}")(_down)
