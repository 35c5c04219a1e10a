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
    help="Run database migrations: expand before the canary, contract after the release.",
    entries={
        "plan": Entry(
            f"{__name__}:plan", "Show what each statement would do, and prove the down files."
        ),
        "up": Entry(f"{__name__}:up", "Apply the pending statements."),
        "verify": Entry(f"{__name__}:verify", "Check the schema against the manifest."),
        "status": Entry(f"{__name__}:status", "Show what is applied and what runs now."),
        "down": Entry(f"{__name__}:down", "Undo the release's migrations."),
    },
)

_PHASE = click.option(
    "--phase",
    type=click.Choice(["expand", "contract"]),
    default="expand",
    show_default=True,
    help="expand before the canary; contract when a rollback is no longer possible.",
)
_WAIT = click.option(
    "--wait",
    default="5s",
    show_default=True,
    metavar="DURATION",
    help="Longest wait for another migration's lock, such as 10m.",
)
_AS_JOB = click.option(
    "--as-job",
    is_flag=True,
    help="Run in a Job inside the cluster (database.job in the environment file).",
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
        Path(session.release.folder),
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
    """Show what each pending statement would do to the database; change nothing.

    It tries each statement on a throwaway copy of the schema and shows its locks, whether it
    rewrites or reads a whole table, the linter's findings, and the sessions that block it now. It
    then tries the down files on the copy. The exit code is 1 if up would refuse or fail.
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
    """Apply the pending statements, one by one.

    Each statement gives way to the application's transactions and waits while the database is under
    pressure. You can kill the command at any instant and run it again: it continues after the last
    finished statement. It holds (exit code 10) if it had to give way for too long.
    """
    from tarsrelease.cli.session import carry_out

    seconds = _seconds(wait)

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.postgres.in_a_job import inside_a_job
        from tarsrelease.cli.fleet import refuse_at_any
        from tarsrelease.cli.migrations import Migrations, journaled_by_hand
        from tarsrelease.operations.migrations.contract import refuse_while_rollback_is_possible

        if phase == "contract" and not inside_a_job():
            refuse_at_any(session, refuse_while_rollback_is_possible)
        if as_job:
            arguments = ("up", "--phase", phase, "--wait", wait)
            return journaled_by_hand(session, phase, partial(_in_a_job, session, *arguments))
        return journaled_by_hand(session, phase, partial(Migrations(session).up, phase, seconds))

    return carry_out(settings, "migrate up", act)


@_AS_JOB
def _verify(settings: Settings, as_job: bool) -> int:
    """Check the schema against the manifest: indexes, columns, queries and their plans.

    It also checks that the database answers in time and has free connections.
    """
    from tarsrelease.cli.migrations import Migrations
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        return _in_a_job(session, "verify") if as_job else Migrations(session).verify()

    return carry_out(settings, "migrate verify", act, changes=False)


@_AS_JOB
def _status(settings: Settings, as_job: bool) -> int:
    """Show what is applied, how far and by whom, who holds the lock, and running builds."""
    from tarsrelease.cli.migrations import Migrations
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        return _in_a_job(session, "status") if as_job else Migrations(session).status()

    return carry_out(settings, "migrate status", act, changes=False, recording=Recording.WHEN_ASKED)


@_WAIT
@_AS_JOB
def _down(settings: Settings, wait: str, as_job: bool) -> int:
    """Undo the release's migrations. Rolling back the code does not require this.

    It first says what would be lost, counts the rows and asks; --yes answers in advance. A Job
    cannot ask: without --yes it only says what would be lost.
    """
    from tarsrelease.cli.session import carry_out

    seconds = _seconds(wait)

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.postgres.in_a_job import inside_a_job
        from tarsrelease.cli.migrations import Migrations, journaled_by_hand, refuse_down_if_used

        if not inside_a_job():
            refuse_down_if_used(session)
        if as_job:
            arguments = ("down", "--wait", wait, *(["--yes"] if settings.yes else []))
            return journaled_by_hand(session, "down", partial(_in_a_job, session, *arguments))
        return journaled_by_hand(session, "down", partial(Migrations(session).down, seconds))

    return carry_out(settings, "migrate down", act)


_CHANGES = ("release", "environment", "target", "wave:databases", "evidence")
_CHECKS = ("release:newest", "environment", "target", "wave:databases", "evidence")
_SHOWS = ("release:newest", "environment", "target", "wave:databases", "evidence:none")
_WHERE = "--release release/v1_0_1 --environment production"

plan = command(*_SHOWS, name="plan", example=f"tarsrelease migrate plan {_WHERE}")(_plan)
up = command(
    *_CHANGES,
    name="up",
    example=f"tarsrelease migrate up {_WHERE}\n"
    f"tarsrelease migrate up --phase contract --wait 10m {_WHERE}",
)(_up)
verify = command(*_CHECKS, name="verify", example=f"tarsrelease migrate verify {_WHERE}")(_verify)
status = command(*_SHOWS, name="status", example=f"tarsrelease migrate status {_WHERE}")(_status)
down = command(*_CHANGES, "yes", name="down", example=f"tarsrelease migrate down {_WHERE}")(_down)
