"""Resume a release that a person held; also accepts a revision of stable that others made."""

from __future__ import annotations

from tarsrelease.context import Context
from tarsrelease.model.journal import PersonFacts, Phase
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.operations.journaling import journal
from tarsrelease.operations.outcome import StepReport
from tarsrelease.operations.snapshot import refuse_unless_begun
from tarsrelease.rollout import release_journal

STEP = "resume"


def resume(context: Context, person: Lifting) -> Outcome:
    """Journal the resume. Proven failures still roll back.

    Raises RefusedError if no release is on its way.
    """
    report = StepReport(context, STEP)
    refuse_unless_begun(context, f"resuming {context.release.version}")
    history = context.cluster.charts.history(context.rollout.application)
    facts = PersonFacts(by=person.by, reason=person.reason)
    if history:
        facts = PersonFacts(**facts.given(), revision=history[-1].number)
    journal(context, STEP, release_journal.RESUME, Phase.RESULT, facts)
    return report.outcome(
        Verdict.PROCEED,
        f"{person.by} resumed {context.release.version}: {person.reason}",
        next_step="tarsrelease status",
    )
