"""A migration that could not get its locks, or waited for the guards, for too long."""

from __future__ import annotations

from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.step_details import AppliedDetails
from tarsrelease.operations.migrations.apply import Applier, HeldError
from tarsrelease.operations.migrations.outcome import Step


def held_outcome(step: Step, held: HeldError, applier: Applier, total: int) -> Outcome:
    """Hold; the same command continues later. `total`: statements that there were to apply."""
    counts = applier.counts
    waits = Check(
        id="migrate.gave_way",
        status=Status.INCONCLUSIVE,
        expected="the statement's turn to come",
        reason=f"{held.statement.place}: {held.why}",
        source=held.statement.place,
    )
    return step.ended(
        f"gave way at {held.statement.place}; {counts.finished} of {total} statements are applied",
        [waits, *held.checks],
        details=AppliedDetails(statements=counts.finished, gave_way=counts.gave_way),
        next_step="end what is in the way, or wait for a quieter hour; then run the same again",
        verdict=Verdict.HOLD,
    )
