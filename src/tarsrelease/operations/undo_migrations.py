"""rollback --with-database: roll back traffic and code, then undo the migrations.

(1) The rollback with its proof. Without the proof the database is not changed, because the
    previous version runs on the expanded schema, too.
(2) `migrate down`, which shows the data that would be lost and asks for approval.
(3) The proof again: the previous version serves on the previous schema.
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
_NEXT = "run `tarsrelease migrate down` to undo the migrations; traffic and code are rolled back"


def rollback_with_database(
    context: Context, *, roll_back: Callable[[], Outcome], down: Callable[[], Outcome]
) -> Outcome:
    """Roll back, then undo the migrations. Proceed if both are done and proven.

    Exit 12 if the rollback is done but undoing the migrations was refused, not approved or
    failed. Raises what `roll_back` raises.
    """
    outcome = roll_back()  # (1)
    if outcome.verdict is not Verdict.PROCEED:
        context.say("database: not changed, because the rollback is not proven")
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
                expected="every statement of the down files is applied",
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
                doing=f"proving that {rolled_back.version} serves on the previous schema",
                found="; ".join(check.reason for check in bad) or "nothing was checked",
                expected="the same proof as before the migrations were undone",
                next="run `tarsrelease rollback` to repeat the proof",
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
    """The outcome when the rollback is done and undoing the migrations is not."""
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
