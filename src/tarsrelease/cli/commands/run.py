"""tarsrelease run"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.options import (
    FEATURE_FLAGS_OPTION,
    STAGE_DURATION_OPTION,
    STAGES_OPTION,
    day_choice,
)
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.operations.migrations.release_phase import Migrator
    from tarsrelease.steps.run import ReleaseSteps


@click.option(
    "--plan", "plan_only", is_flag=True, help="Print every change it would make; make none."
)
@STAGES_OPTION
@STAGE_DURATION_OPTION
@FEATURE_FLAGS_OPTION
@click.option(
    "--wave",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Only this wave, once the waves before it are promoted.",
)
@click.option(
    "--leave-out",
    metavar="NAME=REASON",
    multiple=True,
    help="Do not release to this target of a wave, or leave out the step validate. Repeatable.",
)
def _run(
    settings: Settings,
    plan_only: bool,
    stages: tuple[int, ...] | None,
    stage_duration: float | None,
    feature_flags: bool,
    wave: int | None,
    leave_out: tuple[str, ...],
) -> int:
    """Run a whole release: verify, preflight, migrate, deploy, stages, validate, promote.

    If a gate decides on a rollback, this command performs it. It asks you where the pipeline would
    wait for an approval; --yes approves in advance but never lifts a hold.
    """
    from tarsrelease.cli.session import Recording, Work, carry_out
    from tarsrelease.model.errors import UsageError

    left_out = dict(one.partition("=")[::2] for one in leave_out)
    unvalidated = left_out.pop("validate", None)
    if unvalidated is not None and not unvalidated.strip():
        raise click.UsageError("--leave-out validate=REASON needs a reason")
    choosing = wave is not None or bool(left_out)
    recording = Recording.WHEN_ASKED if plan_only else Recording.BY_STEP

    def act(session: Session) -> Outcome:
        def chosen(session: Session) -> Session:
            session.choose(day_choice(stages, stage_duration, feature_flags=feature_flags))
            return session

        if not session.environment.targets and choosing:
            raise UsageError(
                doing="choosing the targets",
                found=f"the environment {session.environment.name} has no targets",
                expected="--wave and --leave-out TARGET=REASON with an environment that has "
                "targets and waves",
                next_step="leave the options out, or choose another environment",
            )
        environment = session.environment
        if not environment.targets:
            there = chosen(session)
            return _plan(there) if plan_only else _release(there, unvalidated)
        from tarsrelease.cli.fleet import Acts, everywhere, run_in_waves
        from tarsrelease.steps.run_waves import Choice

        if plan_only:

            def together(_: Session, __: Mapping[str, Outcome], outcome: Outcome) -> Outcome:
                return _by_wave(chosen(session), wave, outcome)

            def one(there: Session) -> Outcome:
                return _plan(chosen(there))

            return everywhere(session, Work("run --plan", one, recording, together), wave)

        def release(there: Session, began: datetime) -> Outcome:
            shared = len(environment.sharing(there.settings.target or "")) > 1
            return _release(chosen(there), unvalidated, began, migrated=shared)

        acts = Acts(release, lambda there: _migrate(chosen(there), unvalidated))
        return run_in_waves(session, acts, Choice(left_out, wave))

    if left_out and plan_only:
        raise click.UsageError("--leave-out is an option of the release, not of its plan")
    if choosing and settings.target is not None:
        raise click.UsageError("--wave and --leave-out choose targets of a release in waves")
    return carry_out(settings, "run", act, changes=not plan_only, recording=recording)


run = command(
    "release",
    "environment",
    "target:waves",
    "evidence",
    "yes",
    name="run",
    example="tarsrelease run --release release/v1_0_1 --environment production --plan\n"
    "tarsrelease run --release release/v1_0_1 --environment staging --stages 10,100 --yes",
)(_run)


def _plan(session: Session) -> Outcome:
    from tarsrelease.cli.migrations import Migrations
    from tarsrelease.steps.run import plan_release

    return plan_release(session.context, Migrations(session))


def _by_wave(session: Session, wave: int | None, outcome: Outcome) -> Outcome:
    """The plan for all targets, with a table of the waves."""
    from tarsrelease.rollout.schedule import schedule, wave_table

    rollout = session.release.rollout
    chosen = wave or session.settings.wave
    table = wave_table(session.environment, schedule(rollout, rollout), chosen)
    details = outcome.details.model_copy(update={"table": table})
    return outcome.model_copy(update={"details": details})


def _release(
    session: Session,
    unvalidated: str | None,
    began: datetime | None = None,
    *,
    migrated: bool = False,
) -> Outcome:
    """Release to one target.

    `unvalidated`: why its suite is left out. `migrated`: its database was migrated before its wave.
    """
    from tarsrelease.cli.migrations import MigratedBefore, Migrations
    from tarsrelease.steps.run import run_release

    migrator = MigratedBefore(session) if migrated else Migrations(session)
    return run_release(session.context, _steps(session, migrator, unvalidated), began)


def _migrate(session: Session, unvalidated: str | None) -> Outcome:
    from tarsrelease.cli.migrations import Migrations
    from tarsrelease.steps.run import migrate_release

    return migrate_release(session.context, _steps(session, Migrations(session), unvalidated))


def _steps(session: Session, migrator: Migrator, unvalidated: str | None) -> ReleaseSteps:
    from tarsrelease.cli.preflight import checked
    from tarsrelease.cli.validation import validation_of_run
    from tarsrelease.steps.run import ReleaseSteps

    return ReleaseSteps(
        verify=_verified(session),
        preflight=partial(checked, session),
        migrator=migrator,
        validate=validation_of_run(session, unvalidated),
        evidence=session.evidence(),
    )


def _verified(session: Session) -> Callable[[], Outcome]:
    from tarsrelease.wiring.verification import Wishes, verified

    wishes = Wishes(environment=session.environment)
    return partial(verified, session.release_folder, wishes, clock=session.context.clock)
