"""tarsrelease measure load"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.measuring import BY_HEADER, OUTPUT, keep, measuring_command
from tarsrelease.cli.options import SOME_TIME
from tarsrelease.cli.settings import Settings

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.option(
    "--users",
    type=click.IntRange(1, 1000),
    default=100,
    show_default=True,
    help="Number of users at the same time.",
)
@click.option(
    "--duration",
    type=SOME_TIME,
    default="5m",
    show_default=True,
    metavar="DURATION",
    help="How long they send requests.",
)
@click.option(
    "--pause",
    type=SOME_TIME,
    default="1s",
    show_default=True,
    metavar="DURATION",
    help="Time between two requests of a user.",
)
@BY_HEADER
@click.option("--own-generator", "own", is_flag=True, help="Do not use k6 where it is installed.")
@OUTPUT
def _load(settings: Settings, **given: Any) -> int:
    """Send real requests through the gateway, as many users would, and judge what they saw.

    The users request the services' smoke paths. k6 sends the requests where it is installed, else
    threads of this process. The exit code is 1 if the error rate or the 95th percentile of the
    latency misses its target (objectives.targets), and 10 if no request was sent.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.model.step_details import LoadDetails
        from tarsrelease.steps.measure_load import measure_load as step
        from tarsrelease.wiring.load import load_generator

        canary = given["deployment"] == "canary"
        generator = load_generator(session.environment, canary=canary, own=given["own"])
        users, seconds, pause = given["users"], given["duration"], given["pause"]
        outcome = step(session.assignment, generator, users, seconds, pause)
        details = LoadDetails.of(outcome.details)
        keep(session, given["output"], details and details.load)
        return outcome

    return carry_out(settings, "measure load", act, changes=False)


load = measuring_command(
    name="load",
    example="tarsrelease measure load --environment production --users 100 --duration 5m",
)(_load)
