"""tarsrelease canary deploy and gate"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    help="Deploy the canary (the new version next to the old one) and run its stages.",
    entries={
        "deploy": Entry(f"{__name__}:deploy", "Deploy the canary at weight 0 and smoke-test it."),
        "gate": Entry(f"{__name__}:gate", "Run one stage: shift traffic, evaluate, decide."),
        "plan": Entry(
            f"{_NUMBERS}:plan", "Calculate whether this traffic is enough for the stages."
        ),
        "backtest": Entry(
            f"{_NUMBERS}:backtest", "Run the gates on recorded traffic and count their errors."
        ),
        "explain": Entry(f"{_NUMBERS}:explain", "Explain why a past gate decided as it did."),
    },
)


@FEATURE_FLAGS_OPTION
def _deploy(settings: Settings, feature_flags: bool) -> int:
    """Deploy the canary at weight 0 and smoke-test it.

    Only requests with the canary header reach it: gateway.canary_header in the environment file,
    x-tars-canary by default.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.model.release import RunOptions
        from tarsrelease.steps.canary_deploy import deploy as step

        session.choose(RunOptions(feature_flags=feature_flags))
        return step(session.context)

    return carry_out(settings, "canary deploy", act)


@click.option(
    "--stage",
    "weight",
    type=STAGE,
    metavar="WEIGHT",
    help="Weight of the stage in percent, such as 10.",
)
@STAGES_OPTION
@STAGE_DURATION_OPTION
@click.option(
    "--wait", is_flag=True, help="Keep evaluating the current traffic while a person decides."
)
@click.option(
    "--observe", is_flag=True, help="Judge a rollout that another tool moves; change nothing."
)
@click.option(
    "--for",
    "duration",
    type=SOME_TIME,
    metavar="DURATION",
    help="Longest wait (with --wait) or time to observe (with --observe), such as 30m.",
)
@click.option("--lifted-by", metavar="NAME", help="Person who lifted the hold.")
@click.option("--reason", metavar="TEXT", help="Reason for lifting the hold.")
@click.option(
    "--skip-stages",
    metavar="REASON",
    help="Enter the stage although the one before it has not proceeded. It is recorded.",
)
@click.option(
    "--answer",
    "answers",
    multiple=True,
    metavar="ID=yes|no",
    help="Answer to a manual check of the stage, or to all of them (all=yes). Repeatable.",
)
def _gate(
    settings: Settings,
    stages: tuple[int, ...] | None,
    stage_duration: float | None,
    **flags: Any,
) -> int:
    """Run one canary stage: shift traffic, evaluate the checks, decide.

    If a check fails, this process itself moves all traffic to stable at once (exit code 11). If
    there are too few requests, it extends the stage and then holds (10). A weight that is not in
    rollout.yaml uses the checks of the next higher stage.

    --lifted-by evaluates a held stage once more. Proven failures still roll back; inconclusive
    checks no longer block.

    --wait keeps evaluating the current traffic with the same checks, without the lock, until the
    journal or the routes show that somebody continued or rolled back (exit code 0). It moves all
    traffic to stable if a check fails (11) or the wait exceeds its limit (10).

    --observe judges the canary for a while by the checks of a stage (by default the last one),
    whatever moves its traffic: proceed (0), hold (10) or rollback (11).
    """
    if flags["weight"] is None and not (flags["wait"] or flags["observe"]):
        raise click.UsageError(
            "Missing option '--stage'. Only --wait and --observe do not need it."
        )
    from tarsrelease.cli.gate_modes import GateOptions, play
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        session.choose(day_choice(stages, stage_duration))
        return play(session, options)

    options = GateOptions(**flags)
    return carry_out(settings, "canary gate", act, changes=not options.observe)


deploy = command(
    "release",
    "environment",
    "target",
    "wave",
    "evidence",
    name="deploy",
    example="tarsrelease canary deploy --release release/v1_0_1 --environment production",
)(_deploy)

gate = command(
    "release",
    "environment",
    "target",
    "wave",
    "evidence",
    name="gate",
    example="tarsrelease canary gate --stage 10 --release release/v1_0_1 --environment production",
)(_gate)
