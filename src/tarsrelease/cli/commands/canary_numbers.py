"""tarsrelease canary plan and explain: the numbers before and after a stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.option(
    "--window",
    default="24h",
    show_default=True,
    metavar="TIME",
    help="How much of stable's past is taken for what traffic is usual.",
)
def _plan(settings: Settings, window: str) -> int:
    """Say how long each stage must last to decide, from the traffic that stable really has.

    For each stage, service and check on requests: the requests it needs, how long they take at
    the stage's weight, and how likely a canary at twice the limit is taken back within the stage.
    The answer is no (exit code 1) where a stage cannot decide within its duration and extension.
    """
    from tarsrelease.cli.session import Recording, carry_out

    seconds = _seconds(window)

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.clock import SystemClock
        from tarsrelease.steps.plan_canary import plan_canary as step
        from tarsrelease.wiring import recorded_metrics

        return step(
            session.release,
            session.environment,
            seconds,
            history=recorded_metrics(session.environment),
            clock=SystemClock(),
            progress=session.progress,
        )

    return carry_out(settings, "canary plan", act, changes=False, recording=Recording.WHEN_ASKED)


@click.argument("evidence", type=click.Path(path_type=Path), metavar="EVIDENCE")
@click.option("--stage", metavar="WEIGHT", help="The stage, such as 10; otherwise the last gate.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw the stage into a .svg or .png file (extra [plots]).",
)
def _explain(settings: Settings, evidence: Path, stage: str | None, plot: Path | None) -> int:
    """Say why a past gate decided as it did: the numbers, the law, and what would have changed it.

    EVIDENCE is an evidence folder or one of its files; the last gate in it is explained. The exit
    code is that of the explanation, not of the gate.
    """
    from tarsrelease.cli.explaining import explain as act
    from tarsrelease.cli.session import Recording, carry_out

    return carry_out(
        settings,
        "canary explain",
        lambda _session: act(evidence, stage, plot),
        changes=False,
        recording=Recording.WHEN_ASKED,
    )


def _seconds(text: str) -> float:
    from tarsrelease.model.base import parse_seconds

    try:
        return parse_seconds(text)
    except ValueError as problem:
        raise click.UsageError(f"--window: {problem}") from problem


plan = command(
    "release",
    "environment",
    "evidence",
    name="plan",
    example="tarsrelease canary plan --environment production --window 24h",
)(_plan)

explain = command(
    name="explain",
    example="tarsrelease canary explain ./evidence --stage 10 --plot stage.svg",
)(_explain)
