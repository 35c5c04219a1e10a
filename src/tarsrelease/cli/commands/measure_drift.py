"""tarsrelease measure drift"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.measuring import (
    OUTPUT,
    Chosen,
    in_window,
    keep,
    measuring_command,
    measuring_in,
)
from tarsrelease.cli.options import SOME_TIME, Written
from tarsrelease.cli.settings import Settings
from tarsrelease.model import quantities

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.operations.kpis import Deployment


@click.option(
    "--deployment",
    "--canary-deployment",
    "deployment",
    type=click.Choice(["canary", "stable", "all"]),
    help="Whose pods to compare. Default: canary; all with --compare-to.",
)
@click.option(
    "--baseline",
    "--stable-deployment",
    "beside",
    type=click.Choice(["canary", "stable", "all"]),
    default="stable",
    show_default=True,
    help="Whose pods to compare with.",
)
@click.option(
    "--compare-to",
    metavar="NAME",
    help="Compare with this environment, such as staging, instead of stable.",
)
@in_window
@click.option(
    "--interval",
    "every",
    type=SOME_TIME,
    metavar="DURATION",
    help="Also compare each part of this length.",
)
@click.option(
    "--within",
    type=Written("share", quantities.parse_share),
    metavar="PERCENT",
    help="Largest distance of the good requests, such as 5%. Default: that of rollout.yaml.",
)
@OUTPUT
def _drift(settings: Settings, window: Chosen, **given: Any) -> int:
    """Compare the canary with stable, or one environment with another, metric by metric.

    Errors are judged as by checks of kind compare, slow requests as by drift, memory as by
    like_stable. For each metric of each service it shows both sides, the effect with a 95 %
    interval, and the result. The exit code is 1 if something is proven worse, and 10 if there is
    too little traffic to tell.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.files.configuration import load_environment
        from tarsrelease.model.step_details import DriftDetails
        from tarsrelease.operations.kpis import Measuring
        from tarsrelease.steps.measure_drift import measure_drift as step
        from tarsrelease.wiring.context import recorded_metrics

        measuring = measuring_in(session)
        other, beside = measuring, given["beside"]
        whose: Deployment = given["deployment"] or (
            "canary" if given["compare_to"] is None else "all"
        )
        if given["compare_to"] is not None:
            there = load_environment(given["compare_to"])
            other = Measuring(session.assignment.with_environment(there), recorded_metrics(there))
            beside = "all"
        outcome = step(
            (measuring, whose),
            (other, beside),
            window.of(measuring),
            within=given["within"],
            every=given["every"],
        )
        details = DriftDetails.of(outcome.details)
        keep(session, given["output"], details and details.drift)
        return outcome

    return carry_out(settings, "measure drift", act, changes=False)


drift = measuring_command(
    name="drift",
    example="tarsrelease measure drift --environment production --duration 10m\n"
    "tarsrelease measure drift --environment production --compare-to staging --duration 24h "
    "--interval 15m",
)(_drift)
