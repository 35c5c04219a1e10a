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
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.option("--plan", "plan_only", is_flag=True, help="Print every change it would make.")
@STAGES_OPTION
@STAGE_DURATION_OPTION
@FEATURE_FLAGS_OPTION
def _run(
    settings: Settings,
    plan_only: bool,
    stages: tuple[int, ...] | None,
    stage_duration: float | None,
    feature_flags: bool,
) -> int:
    """The whole day: verify, preflight, migrate, deploy, stages, promote; or back, by a gate.

    Where the pipeline would wait for an approval, the person at the terminal is asked; --yes
    gives every approval in advance, but lifts no hold.
    """
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        session.choose(day_choice(stages, stage_duration, feature_flags=feature_flags))
        return _plan(session) if plan_only else _day(session)

    recording = Recording.WHEN_ASKED if plan_only else Recording.BY_STEP
    return carry_out(settings, "run", act, changes=not plan_only, recording=recording)


run = command(
    "release",
    "environment",
    "evidence",
    "yes",
    name="run",
    example="tarsrelease run --release release/v1_0_1 --environment production --plan\n"
    "tarsrelease run --release release/v1_0_1 --environment staging --stages 10,100 --yes",
)(_run)


def _plan(session: Session) -> Outcome:
    from tarsrelease.cli.migrations import Migrations
    from tarsrelease.steps.run import plan_day

    ports = session.ports
    return plan_day(
        session.release,
        session.environment,
        migrator=Migrations(session),
        charts=ports.charts,
        workloads=ports.workloads,
        routes=ports.routes,
        journal=ports.journal,
        clock=ports.clock,
    )


def _day(session: Session) -> Outcome:
    from tarsrelease.cli.migrations import Migrations
    from tarsrelease.cli.preflight import looked
    from tarsrelease.cli.prompt import who_answers
    from tarsrelease.steps.run import run_day
    from tarsrelease.wiring.verification import Wishes, verified

    ports, folder = session.ports, session.release_folder
    wishes = Wishes(environment=session.environment)
    return run_day(
        session.release,
        session.environment,
        session.run,
        verify=partial(verified, folder, wishes, clock=ports.clock),
        preflight=partial(looked, session),
        migrator=Migrations(session),
        charts=ports.charts,
        workloads=ports.workloads,
        routes=ports.routes,
        metrics=ports.metrics,
        web=ports.web,
        journal=ports.journal,
        lock=ports.lock,
        clock=ports.clock,
        progress=session.progress,
        person=who_answers(session.settings, session.progress),
        evidence=session.evidence(),
        elsewhere=ports.elsewhere,
    )
