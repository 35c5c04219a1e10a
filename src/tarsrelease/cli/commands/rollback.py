"""tarsrelease rollback"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.option("--plan", "plan_only", is_flag=True, help="Show what would be done; change nothing.")
@click.option(
    "--reason",
    default="requested by a person",
    show_default=True,
    help="Reason, recorded in the journal and the evidence.",
)
@click.option(
    "--with-database",
    is_flag=True,
    help="Also undo the release's migrations, after showing what is lost and asking.",
)
def _rollback(settings: Settings, plan_only: bool, reason: str, with_database: bool) -> int:
    """Move all traffic to the good side, then restore the previous version.

    It takes the lock from any other run, needs no journal to move the traffic, and can be run again
    at any point. The previous version works with the migrated database; use --with-database only if
    you also want the previous schema (--yes answers the question in advance).
    """
    from tarsrelease.cli.session import Recording, carry_out

    def plan(session: Session) -> Outcome:
        from tarsrelease.cli.migrations import Migrations
        from tarsrelease.steps.rollback import plan_rollback

        undoing = Migrations(session).plan_down if with_database else None
        return plan_rollback(session.context, undoing)

    def act(session: Session) -> Outcome:
        roll_back = partial(_roll_back, session, reason)
        return _and_database(session, roll_back) if with_database else roll_back()

    return carry_out(
        settings,
        "rollback",
        plan if plan_only else act,
        changes=not plan_only,
        recording=Recording.WHEN_ASKED if plan_only else Recording.IF_POSSIBLE,
    )


def _roll_back(session: Session, reason: str) -> Outcome:
    from tarsrelease.steps.rollback import rollback as step

    return step(session.context, reason)


def _and_database(session: Session, roll_back: Callable[[], Outcome]) -> Outcome:
    from tarsrelease.cli.migrations import Migrations, journaled_by_hand, refuse_down_if_used
    from tarsrelease.operations.undo_migrations import rollback_with_database

    def down() -> Outcome:
        refuse_down_if_used(session)
        return journaled_by_hand(session, "down", Migrations(session).down)

    return rollback_with_database(session.context, roll_back=roll_back, down=down)


rollback = command(
    "release",
    "environment",
    "target",
    "wave",
    "evidence",
    "yes",
    name="rollback",
    example="tarsrelease rollback --release release/v1_0_1 --environment production --plan\n"
    'tarsrelease rollback --release release/v1_0_1 --environment production --reason "P0"',
)(_rollback)
