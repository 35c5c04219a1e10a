"""measure websocket: cut real connections, and measure how clients get their sessions back."""

from __future__ import annotations

from tarsrelease.context import Assignment
from tarsrelease.model.details import Table
from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Check, Observed, Outcome, Status, Verdict
from tarsrelease.model.sockets import SocketPlan, SocketReport
from tarsrelease.model.step_details import WebSocketDetails
from tarsrelease.operations.outcome import StepReport
from tarsrelease.ports.sockets import Sockets
from tarsrelease.report.results import count_statuses
from tarsrelease.steps.measure_kpi import verdict_of

STEP = "measure websocket"


def measure_websocket(
    assignment: Assignment, sockets: Sockets, plan: SocketPlan, *, deployment: str
) -> Outcome:
    """No-go if sessions or messages were lost, hold if nothing could be cut."""
    report = StepReport(assignment, STEP)
    assignment.say(f"{plan.connections} connections for {duration(plan.seconds)}")
    found = sockets.measure(plan).model_copy(
        update={
            "release": assignment.release.version,
            "environment": assignment.environment.name,
            "deployment": deployment,
            "start": report.started_at.isoformat(timespec="milliseconds"),
        }
    )
    checks = judged(found, assignment.rollout.objectives.targets.reconnection_success)
    verdict = verdict_of(checks)
    return report.outcome(
        verdict,
        f"{found.opened} connections opened: {count_statuses(checks)}",
        checks=checks,
        details=WebSocketDetails(websocket=found, table=_table(found)),
        next_step="" if verdict is Verdict.PROCEED else "see `errors` in the details",
    )


def judged(found: SocketReport, at_least: float) -> tuple[Check, ...]:
    """The results for connections, reconnects and messages."""
    attempts = sum(each.attempts for each in found.reconnects.values())
    successes = sum(each.successes for each in found.reconnects.values())
    rate, loss = found.reconnection_success_rate, found.message_loss_pct
    opened = Status.PASS if found.opened >= found.connections else Status.FAIL
    return (
        Check(
            id="websocket.connections",
            status=opened,
            observed=Observed(value=found.opened, unit="count"),
            expected=f"≥ {found.connections} connections",
            reason=f"{found.opened} opened, {found.refused} refused",
        ),
        Check(
            id="websocket.reconnects",
            status=Status.INCONCLUSIVE
            if rate is None
            else Status.PASS
            if successes >= at_least * attempts
            else Status.FAIL,
            observed=None if rate is None else Observed(value=rate / 100, unit="share"),
            expected=f"≥ {100 * at_least:g} % of the sessions resumed",
            reason=f"{successes} of {attempts} sessions resumed"
            if attempts
            else "no connection was cut",
            samples=attempts,
        ),
        Check(
            id="websocket.messages",
            status=Status.INCONCLUSIVE
            if loss is None
            else Status.PASS
            if found.messages_lost == 0
            else Status.FAIL,
            observed=None if loss is None else Observed(value=loss / 100, unit="share"),
            expected="no message lost",
            reason=f"{found.messages_lost} of {found.messages_sent} lost, "
            f"{found.messages_sent_again} sent again",
            samples=found.messages_sent,
        ),
    )


def _table(found: SocketReport) -> Table:
    return Table(
        header=("ended by", "reconnects", "sessions resumed"),
        rows=tuple(
            (ending, str(each.attempts), str(each.successes))
            for ending, each in found.reconnects.items()
        ),
    )
