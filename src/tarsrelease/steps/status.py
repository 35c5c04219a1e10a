"""status: show where the release is, what it waits for, and the next command."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.context import Context
from tarsrelease.model.cluster import Revision
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.step_details import StatusDetails
from tarsrelease.operations.interventions import HELD, held_until, requested
from tarsrelease.operations.outcome import StepReport
from tarsrelease.operations.snapshot import take_snapshot
from tarsrelease.rollout.open_incident import open_incident
from tarsrelease.rollout.position import position

STEP = "status"
_RECENT = 10


def status(context: Context) -> Outcome:
    """The release's position, with the routes, Deployments, Helm history and journal."""
    report, rollout = StepReport(context, STEP), context.rollout
    seen = take_snapshot(context)
    entries = context.cluster.journal.entries()
    holder = context.cluster.lock.holder()
    here = position(rollout, seen, entries, holder)
    held = next((c for c in requested(entries, rollout.version) if c.id == HELD), None)
    if held is not None:
        here = here.model_copy(
            update={
                "waits_for": f"`tarsrelease resume` or `tarsrelease abort`: {held.reason}",
                "until": held_until(context, entries),
                "next": "tarsrelease resume --reason TEXT, or tarsrelease abort --reason TEXT",
            }
        )
    waits = f"; waits for {here.waits_for}" if here.waits_for else ""
    until = f" until {here.until:%H:%M:%S} UTC" if here.until else ""
    since = f" since {here.since:%Y-%m-%d %H:%M:%S} UTC" if here.since else ""
    return report.outcome(
        Verdict.PROCEED,
        f"{here.at}{since}: {here.says}{waits}{until}",
        details=StatusDetails(
            position=here,
            lock=holder,
            routes=seen.routes,
            deployments=seen.deployments,
            helm={
                rollout.application: _last(seen.stable_history),
                rollout.canary_release: _last(seen.canary_history),
            },
            journal=tuple(entries[-_RECENT:]),
            lines=open_incident(entries, rollout.version, report.started_at),
        ),
        next_step=here.next,
    )


def _last(history: Sequence[Revision]) -> Revision | None:
    return history[-1] if history else None
