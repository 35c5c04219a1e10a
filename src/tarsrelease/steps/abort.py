"""Abort a release: all traffic to the side that is proven good at once, and never raised again."""

from __future__ import annotations

from tarsrelease.context import Context
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.journal import PersonFacts, Phase
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.operations import traffic
from tarsrelease.operations.journaling import journal_if_possible
from tarsrelease.operations.outcome import StepReport
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.rollback_plan import serving_side

STEP = "abort"


def abort(context: Context, person: Lifting) -> Outcome:
    """Move the traffic, then journal the abort; waits for neither lock nor journal.

    A process that runs the release rolls it back within seconds. Raises StoppedError if a
    route cannot be written.
    """
    report = StepReport(context, STEP)
    try:
        entries = context.cluster.journal.entries()
    except ReleaseError as error:
        context.say(f"journal: cannot be read ({error}); going by the Deployments")
        entries = []
    pins = release_journal.pins(entries, context.release.version)
    side = serving_side(context.rollout, context.cluster.workloads.deployments(), pins)
    why = f"aborted by {person.by}: {person.reason}"
    traffic.move_all(context, side.track, why)
    facts = PersonFacts(by=person.by, reason=person.reason)
    journal_if_possible(context, STEP, release_journal.ABORT, Phase.RESULT, facts)
    return report.outcome(
        Verdict.PROCEED,
        f"{why}; all traffic is on {side.track}: {side.reason}",
        next_step="`tarsrelease rollback` restores stable and removes the canary",
    )
