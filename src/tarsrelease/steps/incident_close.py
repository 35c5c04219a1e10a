"""incident close: record the end of an incident in the journal."""

from __future__ import annotations

from tarsrelease.context import Context
from tarsrelease.model.errors import RefusedError
from tarsrelease.model.journal import IncidentFacts, Phase
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.notice import Event
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.operations.announcing import announce
from tarsrelease.operations.journaling import journal
from tarsrelease.operations.outcome import StepReport
from tarsrelease.rollout import release_journal

STEP = "incident close"


def incident_close(context: Context, person: Lifting) -> Outcome:
    """Journal the end of the incident. Raises RefusedError if none is open."""
    report = StepReport(context, STEP)
    opened = release_journal.incident(context.cluster.journal.entries(), context.release.version)
    if opened is None:
        raise RefusedError(
            doing=f"closing the incident of {context.release.version}",
            found="the journal has no open incident of this release",
            expected="an incident opened by `tarsrelease incident open`",
            next_step="`tarsrelease status` shows the open incident",
        )
    facts = IncidentFacts(by=person.by, reason=person.reason)
    journal(context, STEP, release_journal.INCIDENT_CLOSED, Phase.RESULT, facts)
    announce(context, Event.RESOLVED, reason=f"closed by {person.by}: {person.reason}")
    return report.outcome(Verdict.PROCEED, f"closed by {person.by}: {person.reason}")
