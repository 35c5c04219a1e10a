"""rollback --with-database: the traffic and the code first, then what the migrations added.

(1) The rollback, as it always is, with its proof. Where that is lacking, the database is left
    alone: the version of before needs nothing that an expand migration added.
(2) `migrate down`, which says what would be lost, and asks.
(3) The proof once more: the version of before serves on the schema of before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from tarsrelease.context import Context
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.outcome import Check, ErrorDetail, ExitCode, Outcome, Status, Verdict
from tarsrelease.model.step_details import RollbackDetails, UndoneDetails
from tarsrelease.operations.proof import prove

_LONGEST_PROOF = 60.0
_NEXT = "`tarsrelease migrate down` undoes the migrations; the release is rolled back without it"


def rollback_with_database(
    context: Context, *, roll_back: Callable[[], Outcome], down: Callable[[], Outcome]
) -> Outcome:
    """Roll back, then undo the migrations. Proceed where both are done and proven.

    Exit 12 where the rollback is done and the database is not: refused, not approved, or failed.
    Raises what `roll_back` raises.
    """
    outcome = roll_back()  # (1)
    if outcome.verdict is not Verdict.PROCEED:
        context.say("database: left alone, because the rollback is not proven")
        return outcome
    rolled_back = RollbackDetails.of(outcome.details) or RollbackDetails()
    context.say("database: undoing the migrations")
    try:
        undone = down()  # (2)
    except ReleaseError as error:
        return _stopped(outcome, error.detail, (), UndoneDetails(), context.clock.now())
    database = UndoneDetails(**undone.details.given(), summary=undone.summary)
    if undone.verdict is not Verdict.PROCEED:
        found = undone.error.found if undone.error else undone.summary
        return _stopped(
            outcome,
            ErrorDetail(
                doing="undoing the migrations",
                found=found,
                expected="every statement of the down files, applied",
                next=undone.next or _NEXT,
            ),
            undone.checks,
            database,
            context.clock.now(),
        )
    proof = prove(  # (3)
        context, rolled_back.version, undone.finished_at, _LONGEST_PROOF
    )
    bad = [check for check in proof if check.status is not Status.PASS]
    if bad or not proof:
        return _stopped(
            outcome.model_copy(update={"checks": proof}),
            ErrorDetail(
                doing=f"proving that {rolled_back.version} serves on the schema of before",
                found="; ".join(check.reason for check in bad) or "nothing was checked",
                expected="the same proof as before the migrations were undone",
                next="tarsrelease rollback repeats the proof",
            ),
            undone.checks,
            database,
            context.clock.now(),
        )
    return outcome.model_copy(
        update={
            "summary": f"{outcome.summary}; database: {undone.summary}",
            "checks": (*proof, *undone.checks),
            "details": RollbackDetails(**outcome.details.given(), database=database),
            "finished_at": context.clock.now(),
        }
    )


def _stopped(
    outcome: Outcome,
    error: ErrorDetail,
    checks: Sequence[Check],
    database: UndoneDetails,
    now: datetime,
) -> Outcome:
    """The rollback stands; the database is not as it was asked to be."""
    return outcome.model_copy(
        update={
            "verdict": None,
            "exit_code": ExitCode.STOPPED,
            "summary": f"{outcome.summary}; database: {error.found.splitlines()[0]}",
            "error": error,
            "checks": (*outcome.checks, *checks),
            "details": RollbackDetails(**outcome.details.given(), database=database),
            "finished_at": now,
            "next": error.next,
        }
    )
