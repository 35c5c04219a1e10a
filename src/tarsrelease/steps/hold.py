"""Hold a release: no stage is passed until a person resumes it; its traffic stays evaluated."""

from __future__ import annotations

from tarsrelease.context import Context
from tarsrelease.model.format import duration
from tarsrelease.model.journal import PersonFacts, Phase
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.operations.journaling import journal
from tarsrelease.operations.outcome import StepReport
from tarsrelease.operations.snapshot import refuse_unless_begun
from tarsrelease.rollout import release_journal

STEP = "hold"


def hold(context: Context, person: Lifting) -> Outcome:
    """Journal the hold; the process that evaluates the release obeys within seconds.

    Raises RefusedError if no release is on its way.
    """
    report = StepReport(context, STEP)
    refuse_unless_begun(context, f"holding {context.release.version}")
    facts = PersonFacts(by=person.by, reason=person.reason)
    journal(context, STEP, release_journal.HOLD, Phase.RESULT, facts)
    limit = duration(context.environment.limits.wait)
    return report.outcome(
        Verdict.PROCEED,
        f"{person.by} holds {context.release.version}: {person.reason}; after {limit} all traffic "
        "moves to stable",
        next_step="`tarsrelease resume`, or `tarsrelease abort`",
    )
