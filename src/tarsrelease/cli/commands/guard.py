"""tarsrelease guard"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.options import SOME_TIME
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.option(
    "--after",
    type=SOME_TIME,
    default="2m",
    show_default=True,
    metavar="DURATION",
    help="How long the lease on the traffic must have been expired.",
)
@click.option(
    "--for",
    "longest",
    type=SOME_TIME,
    metavar="DURATION",
    help="End after this time. Default: never.",
)
def _guard(settings: Settings, after: float, longest: float | None) -> int:
    """Move the canary's traffic to stable when nobody evaluates it any more.

    It runs in the cluster (rbac/guard.yaml). Every process that evaluates traffic on the canary
    extends a lease on it. If that process dies, the guard waits until the lease has been expired
    for --after, and sets the canary's weight to 0. It is not a rollback: the canary stays.
    """
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.guard import guard as step

        until = None if longest is None else datetime.now(UTC) + timedelta(seconds=longest)
        return step(session.context, after, until)

    return carry_out(settings, "guard", act, changes=False, recording=Recording.WHEN_ASKED)


guard = command(
    "release:newest",
    "environment",
    "target",
    "evidence:none",
    name="guard",
    example="tarsrelease guard --release release/v1_0_1 --environment production",
)(_guard)
