"""tarsrelease canary deploy and gate"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.options import (
    FEATURE_FLAGS_OPTION,
    SOME_TIME,
    STAGE,
    STAGE_DURATION_OPTION,
    STAGES_OPTION,
    day_choice,
)
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome

_NUMBERS = "tarsrelease.cli.commands.canary_numbers"

canary = LazyGroup(
    "canary",
    help="The canary: the new version beside the old one, with a share of the traffic.",
    entries={
        "deploy": Entry(f"{__name__}:deploy", "Bring the canary up at weight 0 and smoke-test it."),
        "gate": Entry(f"{__name__}:gate", "Take one stage: shift traffic, observe, decide."),
        "plan": Entry(f"{_NUMBERS}:plan", "Can the stages decide with this traffic, and when?"),
        "backtest": Entry(
            f"{_NUMBERS}:backtest", "The gates on recorded traffic: how often wrong?"
        ),
        "explain": Entry(f"{_NUMBERS}:explain", "Why a past gate decided as it did."),
    },
)


@FEATURE_FLAGS_OPTION
def _deploy(settings: Settings, feature_flags: bool) -> int:
    """Deploy the canary at weight 0, and test it by requests that only it gets.

    Users see nothing of it: the header x-tars-canary leads to the canary, and nothing else does.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.model.release import DayChoice
        from tarsrelease.steps.canary_deploy import deploy as step

        session.choose(DayChoice(feature_flags=feature_flags))
        return step(session.context)

    return carry_out(settings, "canary deploy", act)


@click.option(
    "--stage",
    "weight",
    type=STAGE,
    metavar="WEIGHT",
    help="The stage, by its share of the traffic in percent, such as 10.",
)
@STAGES_OPTION
@STAGE_DURATION_OPTION
@click.option("--wait", is_flag=True, help="Watch the traffic that stands while a person decides.")
@click.option(
    "--observe", is_flag=True, help="Judge a rollout that something else moves; change nothing."
)
@click.option(
    "--for",
    "duration",
    type=SOME_TIME,
    metavar="DURATION",
    help="With --wait the longest wait, with --observe how long to look, such as 30m.",
)
@click.option("--lifted-by", metavar="NAME", help="Who lifted the hold: look once more, go on.")
@click.option("--reason", metavar="TEXT", help="Why the hold was lifted.")
@click.option(
    "--answer",
    "answers",
    multiple=True,
    metavar="ID=yes|no",
    help="What a person says to a manual check of the stage, or to all of them (all=yes); may be "
    "given several times.",
)
def _gate(
    settings: Settings,
    weight: int | None,
    stages: tuple[int, ...] | None,
    stage_duration: float | None,
    wait: bool,
    observe: bool,
    duration: float | None,
    lifted_by: str | None,
    reason: str | None,
    answers: tuple[str, ...],
) -> int:
    """Give the canary a stage's share of the traffic, look at it, and decide.

    On a failure the traffic is taken off at once, by this very process (exit code 11). While
    there is too little to tell, the stage is extended, then it holds (exit code 10). A weight
    that rollout.yaml does not name is looked at by the next higher stage's gates.

    With --lifted-by a stage that held is looked at once more: a proven failure wins over the
    person, what is merely inconclusive does not.

    With --wait nothing is changed, and the lock stays free: the traffic that stands is watched by
    the same checks until the journal or the routes say that somebody has gone on, or back
    (exit code 0). A failure takes it off at once (11), and so does a wait that is too long (10).

    With --observe the canary is judged for a while by a stage's checks (by default the last
    stage's), wherever its traffic comes from: proceed (0), hold (10) or rollback (11).
    """
    if weight is None and not (wait or observe):
        raise click.UsageError("Missing option '--stage'; only --wait and --observe go without it.")
    from tarsrelease.cli.gate_modes import GateOptions, play
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        session.choose(day_choice(stages, stage_duration))
        return play(session, options)

    options = GateOptions(weight, wait, observe, duration, lifted_by, reason, answers)
    return carry_out(settings, "canary gate", act, changes=not observe)


deploy = command(
    "release",
    "environment",
    "evidence",
    name="deploy",
    example="tarsrelease canary deploy --release release/v1_0_1 --environment production",
)(_deploy)

gate = command(
    "release",
    "environment",
    "evidence",
    name="gate",
    example="tarsrelease canary gate --stage 10 --release release/v1_0_1 --environment production",
)(_gate)
