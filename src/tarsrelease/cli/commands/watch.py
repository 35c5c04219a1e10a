"""tarsrelease watch"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.options import DURATION, SOME_TIME
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.option(
    "--once", is_flag=True, required=True, help="Evaluate once. A scheduler can repeat it."
)
@click.option(
    "--window",
    type=SOME_TIME,
    metavar="DURATION",
    default="10m",
    show_default=True,
    help="How much recorded data to evaluate; at most one hour.",
)
@click.option(
    "--young",
    type=DURATION,
    metavar="DURATION",
    help="Evaluate only a release promoted within this time, such as 24h.",
)
def _watch(settings: Settings, once: bool, window: float, young: float | None) -> int:
    """Check the promoted release with the last stage's checks, on recorded data.

    The exit code is 0 if all checks pass, 1 if one fails, and 10 if one cannot decide. Without
    --release, it checks the release that was promoted last according to the cluster's journal. With
    --young, it exits 0 with NOT CHECKED if the last promotion is older or was rolled back.
    """
    from tarsrelease.cli.session import carry_out

    del once  # required, and the only choice so far

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.watch import nothing_to_watch
        from tarsrelease.steps.watch import watch as step

        if young is not None:
            context = session.context
            entries = context.cluster.journal.entries()
            resting = nothing_to_watch(entries, session.environment, young, clock=context.clock)
            if resting is not None:
                return resting
        if settings.release is None:
            session = _promoted(session)
        return step(session.context, window)

    return carry_out(settings, "watch", act, changes=False)


def _promoted(session: Session) -> Session:
    """The session for the bundle of the release that was promoted last."""
    from tarsrelease.adapters.files.configuration import release_of
    from tarsrelease.cli.session import Session
    from tarsrelease.steps.watch import promoted

    version = promoted(session.context.cluster.journal.entries())
    folder = release_of(version)
    return Session(replace(session.settings, release=folder), changes=False)


watch = command(
    "release",
    "environment",
    "target",
    "wave",
    "evidence",
    name="watch",
    example="tarsrelease watch --once --window 10m --environment production\n"
    "tarsrelease watch --once --window 1h --young 24h --environment production",
)(_watch)
