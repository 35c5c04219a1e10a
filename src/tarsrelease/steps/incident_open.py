"""incident open: record an incident in the journal, start its deadline, and tell people.

People are told even if the journal cannot be written: the incident may be the API server's.
"""

from __future__ import annotations

from datetime import timedelta

from tarsrelease.context import Context
from tarsrelease.incidents.classification import classify
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.incident import Action, Symptoms
from tarsrelease.model.journal import IncidentFacts, Phase
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.notice import Event
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.operations.announcing import announce
from tarsrelease.operations.journaling import journal
from tarsrelease.operations.outcome import StepReport
from tarsrelease.rollout import release_journal
from tarsrelease.steps.incident_classify import VERDICTS, details_of, summary

STEP = "incident open"
_NEXT = {
    Action.ROLL_BACK: "tarsrelease rollback",
    Action.PREPARE: "tarsrelease rollback --plan; at the end tarsrelease incident close",
    Action.INVESTIGATE: "measure what is missing, and open it again",
}


def incident_open(
    context: Context,
    symptoms: Symptoms,
    person: Lifting,
) -> Outcome:
    """Classify the incident, journal it with its deadline, and tell people.

    The verdict is that of `incident classify`. If the journal cannot be written, the notice, the
    summary and a warning say so.
    """
    report = StepReport(context, STEP)
    rules = context.rollout.incidents
    found = classify(symptoms, rules)
    until = (
        None
        if found.deadline is None
        else report.started_at.replace(microsecond=0) + timedelta(seconds=found.deadline)
    )
    facts = IncidentFacts(
        severity=found.severity,
        must=found.action,
        until=until,
        by=person.by,
        reason=person.reason,
    )
    said, warnings = summary(found), []
    if until is not None:
        said += f"; deadline {until:%H:%M} UTC"
    try:
        journal(context, STEP, release_journal.INCIDENT, Phase.RESULT, facts)
    except ReleaseError as error:
        said += "; not recorded, so `tarsrelease status` does not show it"
        warnings.append(f"the journal cannot be written: {error}")
    announce(context, Event.INCIDENT, about=found.severity or "", reason=f"{person.reason}; {said}")
    details = details_of(found, rules, reached=0)
    return report.outcome(
        VERDICTS.get(found.action, Verdict.PROCEED),
        said,
        details=details.model_copy(update={"warnings": tuple(warnings)}),
        next_step=_NEXT.get(found.action, "tarsrelease incident close"),
    )
