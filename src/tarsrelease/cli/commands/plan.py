"""tarsrelease plan"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.settings import Settings, command
from tarsrelease.cli.times import moment_of

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.option("--ref", default="", metavar="REF", help="The Git ref that names the release.")
@click.option(
    "--release",
    "named",
    default="",
    metavar="NAME",
    help="A version or folder, instead of --ref.",
)
@click.option(
    "--stages", default="", metavar="LIST", help="1,10,100: rises, ends in 100, 7 at most."
)
@click.option(
    "--stage-minutes", default="", metavar="NUMBER", help="Minutes of each stage, such as 0.5."
)
@click.option(
    "--feature-flags/--no-feature-flags", help="Switch on what rollout.yaml names as such."
)
@click.option("--override-window", is_flag=True, help="Begin outside the deployment window.")
@click.option("--reason", default="", help="Why; demanded by --override-window, and recorded.")
@click.option(
    "--at",
    metavar="TIME",
    help="Plan for this time, such as 2026-12-01T09:00+01:00; without a zone it is UTC.",
)
def _plan(
    settings: Settings,
    ref: str,
    named: str,
    stages: str,
    stage_minutes: str,
    feature_flags: bool,
    override_window: bool,
    reason: str,
    at: str | None,
) -> int:
    """Put the day on paper: the release of a ref, its stages and minutes, the window.

    A weight that rollout.yaml does not name is looked at by the next higher stage's gates. Outside
    the deployment window the answer is no (exit code 1), unless it is overridden with a reason.
    Nothing outside of this machine is asked. Empty options leave what the files say.
    """
    from tarsrelease.cli.session import Recording, carry_out

    begins = moment_of(at, "--at") if at else None

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.clock import SystemClock
        from tarsrelease.adapters.files.configuration import load_release
        from tarsrelease.model.release import DayChoice
        from tarsrelease.rollout.schedule import minutes_wanted, stages_wanted
        from tarsrelease.steps.plan import plan as step

        seconds = minutes_wanted(stage_minutes)
        session.choose(
            DayChoice(
                stages=stages_wanted(stages), stage_duration=seconds, feature_flags=feature_flags
            )
        )
        return step(
            session.release,
            load_release(session.release_folder, None).rollout,
            session.environment,
            stage_duration=seconds,
            flags_wanted=feature_flags,
            override=_override(reason) if override_window else None,
            at=begins,
            clock=SystemClock(),
        )

    def chosen(session: Session) -> Outcome:
        from tarsrelease.rollout.schedule import bundle_of

        if ref or named:
            folder = Path(bundle_of(ref, named))
            session.settings = dataclasses.replace(session.settings, release=folder)
        return act(session)

    return carry_out(settings, "plan", chosen, changes=False, recording=Recording.WHEN_ASKED)


def _override(reason: str) -> str:
    """The reason with who gave it. Raises UsageError where there is none."""
    from tarsrelease.model.errors import UsageError

    said = " ".join(reason.split())
    if not said or len(said) > 500:
        raise UsageError(
            doing="overriding the deployment window",
            found="no reason" if not said else f"a reason of {len(said)} characters",
            expected="why it cannot wait, in 1 to 500 characters",
            next_step='add --reason "..." (the field window_override_reason of the pipeline)',
        )
    who = os.environ.get("GITHUB_TRIGGERING_ACTOR") or os.environ.get("GITHUB_ACTOR")
    return f"{said} ({who})" if who else said


plan = command(
    "environment",
    "evidence",
    name="plan",
    example="tarsrelease plan --ref release/v1.0.1 --environment production\n"
    "tarsrelease plan --release 1.0.1 --environment production --stages 10,100 --stage-minutes 5",
)(_plan)
