"""tarsrelease plan"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.options import MOMENT, STAGE_DURATION_OPTION
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.context import Assignment
    from tarsrelease.model.outcome import Outcome


@dataclass(frozen=True, slots=True)
class _Options:
    """The given options; an empty text means the value in the files."""

    ref: str
    named: str
    stages: str
    stage_minutes: str
    stage_duration: float | None
    feature_flags: bool
    override_window: bool
    reason: str
    at: datetime | None
    journal: bool


@click.option("--ref", default="", metavar="REF", help="Git ref that names the release.")
@click.option(
    "--release",
    "named",
    default="",
    metavar="NAME",
    help="Version or folder, instead of --ref.",
)
@click.option(
    "--stages",
    default="",
    metavar="LIST",
    help="At most 7 increasing stages that end with 100, such as 1,10,100.",
)
@STAGE_DURATION_OPTION
@click.option(
    "--stage-minutes",
    default="",
    metavar="NUMBER",
    help="Duration of each stage in minutes, such as 0.5.",
)
@click.option(
    "--feature-flags/--no-feature-flags",
    help="Turn on the Helm values under feature_flags in rollout.yaml.",
)
@click.option("--override-window", is_flag=True, help="Start outside the deployment window.")
@click.option("--reason", default="", help="Reason for --override-window. It is recorded.")
@click.option(
    "--at",
    type=MOMENT,
    metavar="TIME",
    help="Time to plan for, such as 2026-12-01T10:00+01:00 (UTC without an offset). Default: now.",
)
@click.option(
    "--journal", is_flag=True, help="Use the window of a postponement in the cluster's journal."
)
def _plan(settings: Settings, **given: Any) -> int:
    """Show the planned stages, durations and deployment window of a release.

    A weight that is not in rollout.yaml uses the checks of the next higher stage. Outside the
    deployment window, the exit code is 1 unless you override the window with a reason. An empty
    option counts as not given. The command accesses nothing outside this machine, unless --journal
    is given: the window that `check go-no-go --postpone-to` recorded then replaces rollout.yaml's.
    If the journal cannot be read, the plan has a warning; `check go-no-go` checks the window again.
    """
    from tarsrelease.cli.session import Recording, carry_out

    options = _Options(**given)

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.files.configuration import load_release
        from tarsrelease.model.release import RunOptions
        from tarsrelease.rollout.schedule import bundle_of, minutes_wanted, stages_wanted
        from tarsrelease.steps.plan import plan as step

        if options.ref or options.named:
            folder = Path(bundle_of(options.ref, options.named))
            session.settings = replace(session.settings, release=folder)
        duration = options.stage_duration or minutes_wanted(options.stage_minutes)
        stages, flags = stages_wanted(options.stages), options.feature_flags
        session.choose(RunOptions(stages=stages, stage_duration=duration, feature_flags=flags))
        assignment, warnings = _in_its_window(session, journaled=options.journal)
        outcome = step(
            assignment,
            load_release(session.release_folder, None).rollout,
            stage_duration=duration,
            flags_wanted=flags,
            override=_override(options.reason) if options.override_window else None,
            at=options.at,
        )
        details = outcome.details
        said = {"warnings": (*warnings, *details.warnings)}
        return outcome.model_copy(update={"details": details.model_copy(update=said)})

    return carry_out(settings, "plan", act, changes=False, recording=Recording.WHEN_ASKED)


def _in_its_window(session: Session, *, journaled: bool) -> tuple[Assignment, tuple[str, ...]]:
    """The assignment with the window in force; a warning if the journal cannot be read."""
    if not journaled:
        return session.assignment, ()
    from tarsrelease.model.errors import ReleaseError
    from tarsrelease.rollout.window import in_force

    try:
        context = session.context
        entries = context.cluster.journal.entries()
    except ReleaseError as error:
        return session.assignment, (f"the window is rollout.yaml's: {error}",)
    rollout = in_force(context.rollout, entries)
    return context.with_release(context.release.model_copy(update={"rollout": rollout})), ()


def _override(reason: str) -> str:
    """The reason and who gave it. Raises UsageError without a reason."""
    from tarsrelease.model.errors import UsageError

    text = " ".join(reason.split())
    if not text or len(text) > 500:
        raise UsageError(
            doing="overriding the deployment window",
            found="no reason" if not text else f"a reason of {len(text)} characters",
            expected="why the release cannot wait, in 1 to 500 characters",
            next_step='add --reason "..." (the field window_override_reason of the pipeline)',
        )
    who = os.environ.get("GITHUB_TRIGGERING_ACTOR") or os.environ.get("GITHUB_ACTOR")
    return f"{text} ({who})" if who else text


plan = command(
    "environment",
    "evidence:none",
    name="plan",
    example="tarsrelease plan --ref release/v1.0.1 --environment production\n"
    "tarsrelease plan --release 1.0.1 --environment production --stages 10,100 --stage-minutes 5",
)(_plan)
