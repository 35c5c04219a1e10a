"""A migration that gave way for too long."""

from __future__ import annotations

from datetime import datetime

from tarsrelease.model.environment import Environment
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.release import Release
from tarsrelease.operations.migrations.apply import Applying, HeldError
from tarsrelease.operations.migrations.outcome import outcome
from tarsrelease.ports.clock import Clock


def held_outcome(
    step: str,
    held: HeldError,
    applying: Applying,
    total: int,
    release: Release,
    environment: Environment,
    *,
    started_at: datetime,
    clock: Clock,
) -> Outcome:
    """The outcome of a migration that gave way for too long: hold, and go on later."""
    waits = Check(
        id="migrate.gave_way",
        status=Status.INCONCLUSIVE,
        expected="the statement's turn to come",
        reason=f"{held.statement.place}: {held.why}",
        source=held.statement.place,
    )
    return outcome(
        step,
        release,
        environment,
        f"gave way at {held.statement.place}; {applying.counts.finished} of {total} statements "
        "are applied",
        checks=[waits, *held.checks],
        started_at=started_at,
        clock=clock,
        details={"statements": applying.counts.finished, "gave_way": applying.counts.gave_way},
        next_step="end what is in the way, or wait for a quieter hour; then run the same again",
        verdict=Verdict.HOLD,
    )
