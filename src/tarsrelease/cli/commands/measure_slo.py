"""tarsrelease measure slo"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.measuring import (
    DEPLOYMENT,
    OUTPUT,
    keep,
    measuring_command,
    measuring_in,
)
from tarsrelease.cli.options import SOME_TIME
from tarsrelease.cli.settings import Settings

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.objectives import KpiTargets
    from tarsrelease.model.outcome import Outcome


@click.option(
    "--window",
    type=SOME_TIME,
    default="5m",
    show_default=True,
    metavar="DURATION",
    help="How much of the past each evaluation covers.",
)
@click.option(
    "--every",
    type=SOME_TIME,
    default="30s",
    show_default=True,
    metavar="DURATION",
    help="Time between two evaluations.",
)
@click.option(
    "--duration",
    type=SOME_TIME,
    metavar="DURATION",
    help="How long to watch. Default: until it is interrupted.",
)
@click.option("--once", is_flag=True, help="Evaluate once. A scheduler can repeat it.")
@DEPLOYMENT
@click.option(
    "--threshold-availability",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Least availability, such as 99.0. Default: the target in rollout.yaml.",
)
@click.option(
    "--threshold-latency-p95",
    type=click.FloatRange(0, min_open=True),
    metavar="MS",
    help="Latency that the 95th percentile must stay below, such as 120.",
)
@click.option(
    "--threshold-error-rate",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Error rate that must not be reached, such as 2.0.",
)
@click.option(
    "--alert-webhook",
    envvar="TARSRELEASE_ALERT_WEBHOOK",
    show_envvar=True,
    metavar="URL",
    help="Address that takes a JSON message (Slack's form). Better given by the variable.",
)
@OUTPUT
def _slo(settings: Settings, **given: Any) -> int:
    """Watch the SLOs in real time, with error budget and burn rates.

    An alert is sent once when a target is missed, and once when it is met again. Burn rates follow
    the Google SRE workbook: 14.4 over 1 h and 5 m, 6 over 6 h and 30 m, 1 over 3 d and 6 h. The
    exit code is that of the last evaluation: 1 if a target is missed, 10 if there is too little
    traffic to tell.
    """
    from tarsrelease.cli.session import carry_out

    if given["once"] and given["duration"] is not None:
        raise click.UsageError("give --once or --duration, not both")

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.channels.alert_webhook import AlertWebhook
        from tarsrelease.model.step_details import SloDetails
        from tarsrelease.steps.measure_slo import Watching
        from tarsrelease.steps.measure_slo import measure_slo as step

        measuring = measuring_in(session)
        lasting = 0.0 if given["once"] else given["duration"] or _FOREVER
        watching = Watching(
            deployment=given["deployment"],
            targets=_targets(measuring.assignment.rollout.objectives.targets, given),
            window=given["window"],
            every=given["every"],
            lasting=lasting,
        )
        address = given["alert_webhook"]
        webhook = AlertWebhook(address, session.environment.name) if address else None
        outcome = step(measuring, watching, webhook.tell if webhook else None)
        keep(session, given["output"], SloDetails.of(outcome.details))
        return outcome

    return carry_out(settings, "measure slo", act, changes=False)


_FOREVER = 3650 * 86400.0


def _targets(targets: KpiTargets, given: Mapping[str, Any]) -> KpiTargets:
    """The targets, with the thresholds that the options give."""
    found = {
        "availability": (given["threshold_availability"], 100),
        "latency_p95": (given["threshold_latency_p95"], 1000),
        "error_rate": (given["threshold_error_rate"], 100),
    }
    update = {name: value / unit for name, (value, unit) in found.items() if value is not None}
    return targets.model_copy(update=update)


slo = measuring_command(
    name="slo",
    example="tarsrelease measure slo --environment production --deployment canary "
    "--threshold-latency-p95 120 --duration 10m\n"
    "tarsrelease measure slo --environment production --once",
)(_slo)
