"""tarsrelease rollback"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.option("--plan", "plan_only", is_flag=True, help="Say what would be done; do nothing.")
@click.option(
    "--reason",
    default="asked for by a person",
    show_default=True,
    help="Why; it goes into the journal and the evidence.",
)
def _rollback(settings: Settings, plan_only: bool, reason: str) -> int:
    """Take the traffic to the side that is proven good, then restore what was there.

    It takes the lock from whoever holds it, needs no journal to move the traffic, and can be run
    again at any point.
    """
    from tarsrelease.cli.session import Recording, carry_out

    def plan(session: Session) -> Outcome:
        from tarsrelease.steps.rollback import plan_rollback

        ports = session.ports
        return plan_rollback(
            session.release,
            session.environment,
            charts=ports.charts,
            workloads=ports.workloads,
            routes=ports.routes,
            journal=ports.journal,
            clock=ports.clock,
        )

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.rollback import rollback as step

        ports = session.ports
        return step(
            session.release,
            session.environment,
            session.run,
            reason,
            charts=ports.charts,
            workloads=ports.workloads,
            routes=ports.routes,
            metrics=ports.metrics,
            web=ports.web,
            journal=ports.journal,
            lock=ports.lock,
            clock=ports.clock,
            progress=session.progress,
        )

    return carry_out(
        settings,
        "rollback",
        plan if plan_only else act,
        changes=not plan_only,
        recording=Recording.WHEN_ASKED if plan_only else Recording.ALWAYS,
    )


rollback = command(
    "release",
    "environment",
    "evidence",
    name="rollback",
    example="tarsrelease rollback --release release/v1_0_1 --environment production --plan\n"
    'tarsrelease rollback --release release/v1_0_1 --environment production --reason "P0"',
)(_rollback)
