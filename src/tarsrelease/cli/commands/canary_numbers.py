"""tarsrelease canary plan, backtest and explain: the numbers before and after a stage."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.options import MOMENT, SOME_TIME, STAGE
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.option(
    "--window",
    type=SOME_TIME,
    default="24h",
    show_default=True,
    metavar="DURATION",
    help="How much of stable's past to use as its usual traffic.",
)
def _plan(settings: Settings, window: float) -> int:
    """Calculate from stable's real traffic how long each stage must last to decide.

    For each stage, service and check on requests, it shows the required requests, how long they
    take at the stage's weight, and how likely the gate rolls back a canary at twice the limit
    within the stage. The exit code is 1 if a stage cannot decide within its duration and extension.
    """
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.canary_plan import plan_canary as step
        from tarsrelease.wiring.context import recorded_metrics

        return step(session.assignment, recorded_metrics(session.environment), window)

    def together(session: Session, found: Mapping[str, Outcome], outcome: Outcome) -> Outcome:
        from tarsrelease.operations.wave_evidence import WaveEvidence
        from tarsrelease.steps.canary_plan import plan_together

        environment, name = session.environment, session.environment.targets[0].name
        one = session.at(name, session.clock, session.person, WaveEvidence(1, 1).at(name))
        return plan_together(one.release.rollout, environment, found, outcome)

    return carry_out(
        settings,
        "canary plan",
        act,
        changes=False,
        recording=Recording.WHEN_ASKED,
        together=together,
    )


@click.option(
    "--from",
    "start",
    type=MOMENT,
    required=True,
    metavar="TIME",
    help="Start, such as 2026-11-23T08:00 (UTC).",
)
@click.option(
    "--to", "end", type=MOMENT, metavar="TIME", help="End, in the same format. Default: now."
)
@click.option(
    "--windows",
    default=48,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Maximum number of recorded periods per stage.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Plot the chance of detection against traffic to a .svg or .png file (extra [plots]).",
)
def _backtest(
    settings: Settings, start: datetime, end: datetime | None, windows: int, plot: Path | None
) -> int:
    """Run the stages' checks on recorded traffic, with stable as its own canary.

    For each stage, it shows how often a canary just like stable is rolled back (a false alarm), and
    how often and how soon a canary with 1.5, 2 and 4 times the errors, or slower by 20 ms or by
    half, is rolled back. The exit code is 1 if this traffic is not enough for these limits.
    """
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.matplotlib.plots import Panel, draw
        from tarsrelease.model.step_details import BacktestDetails
        from tarsrelease.steps.canary_backtest import backtest as step
        from tarsrelease.wiring.context import recorded_metrics

        history = recorded_metrics(session.environment)
        outcome = step(
            session.assignment,
            history,
            start.timestamp(),
            history.server_time() if end is None else end.timestamp(),
            windows=windows,
        )
        details = BacktestDetails.of(outcome.details)
        if plot is not None and details is not None:
            title = "chance to prove twice the strictest limit within the stage"
            axes = ("requests per second of a service", "chance")
            panel = Panel(title, *axes, details.power, logarithmic=True)
            draw(session.own_file(plot), outcome.summary, [panel])
        return outcome

    return carry_out(
        settings, "canary backtest", act, changes=False, recording=Recording.WHEN_ASKED
    )


@click.argument("evidence", type=click.Path(path_type=Path), metavar="EVIDENCE")
@click.option(
    "--stage", type=STAGE, metavar="WEIGHT", help="Stage, such as 10. Default: the last gate."
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Plot the stage to a .svg or .png file (extra [plots]).",
)
def _explain(settings: Settings, evidence: Path, stage: int | None, plot: Path | None) -> int:
    """Explain why a past gate decided as it did, and what would have changed the result.

    EVIDENCE is an evidence folder or one of its files; the last gate in it is explained. The exit
    code is that of the explanation, not of the gate.
    """
    from tarsrelease.cli.explain import explain as act
    from tarsrelease.cli.session import Recording, carry_out

    return carry_out(
        settings,
        "canary explain",
        lambda _session: act(evidence, stage, plot),
        changes=False,
        recording=Recording.WHEN_ASKED,
    )


plan = command(
    "release:newest",
    "environment",
    "target",
    "wave",
    "evidence:none",
    name="plan",
    example="tarsrelease canary plan --environment production --window 24h",
)(_plan)

explain = command(
    name="explain",
    example="tarsrelease canary explain ./evidence --stage 10 --plot stage.svg",
)(_explain)

backtest = command(
    "release:newest",
    "environment",
    "target",
    "wave",
    "evidence:none",
    name="backtest",
    example="tarsrelease canary backtest --environment production --from 2026-11-23T08:00",
)(_backtest)
