"""incident classify: how severe an incident is, what to do, and whom to ask next."""

from __future__ import annotations

from tarsrelease.context import Assignment
from tarsrelease.incidents.classification import classify
from tarsrelease.incidents.escalation import described, next_level
from tarsrelease.model.format import duration
from tarsrelease.model.incident import Action, Classification, IncidentRules, Symptoms
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.step_details import IncidentDetails
from tarsrelease.operations.outcome import StepReport

STEP = "incident classify"
VERDICTS = {
    Action.ROLL_BACK: Verdict.ROLLBACK,
    Action.PREPARE: Verdict.HOLD,
    Action.INVESTIGATE: Verdict.HOLD,
}
NEXT = {
    Action.ROLL_BACK: "tarsrelease rollback",
    Action.PREPARE: "tarsrelease incident open, and tarsrelease rollback --plan",
    Action.INVESTIGATE: "measure what is missing, and classify again",
}


def incident_classify(assignment: Assignment, symptoms: Symptoms, *, reached: int) -> Outcome:
    """Rollback for P0, hold for P1 and for an unknown severity, else proceed.

    `reached` is the last escalation level that was asked; 0 if nobody was.
    """
    report = StepReport(assignment, STEP)
    rules = assignment.rollout.incidents
    found = classify(symptoms, rules)
    return report.outcome(
        VERDICTS.get(found.action, Verdict.PROCEED),
        summary(found),
        checks=_results(symptoms, found),
        details=details_of(found, rules, reached),
        next_step=NEXT.get(found.action, ""),
    )


def details_of(found: Classification, rules: IncidentRules, reached: int) -> IncidentDetails:
    """The classification, and whom to ask after the escalation level `reached`."""
    following = next_level(rules, reached)
    escalate = described(*following) if following else None
    return IncidentDetails(
        classification=found,
        escalate_to=escalate,
        lines=(f"next on the escalation path: {escalate}",) if escalate else (),
    )


def summary(found: Classification) -> str:
    """Severity, action and deadline in a line, with what is missing."""
    said = f"{found.severity}: {found.action}" if found.severity else str(found.action)
    if found.deadline is not None:
        said += f", and roll back if the cause is not found within {duration(found.deadline)}"
    worst = [one.reason for one in found.findings if one.severity is found.severity]
    said += f" ({'; '.join(worst)})" if worst else ""
    if found.missing and found.severity is not None:
        said += f"; it may be more severe: {_words(found.missing)} unknown"
    elif found.missing:
        said += f" ({_words(found.missing)} unknown)"
    return said


def _results(symptoms: Symptoms, found: Classification) -> list[Check]:
    proven = {one.symptom: one for one in found.findings}
    measured = ("availability", "error_rate", "degradation")
    return [
        Check(
            id=f"incident.{name.replace('-', '_')}",
            status=Status.FAIL
            if name in proven
            else Status.PASS
            if name in measured and getattr(symptoms, name) is not None
            else Status.SKIPPED,
            expected="no incident",
            reason=f"{proven[name].severity}: {proven[name].reason}"
            if name in proven
            else "within the limits"
            if getattr(symptoms, name, None) is not None
            else "unknown",
            source="given by a person",
        )
        for name in (*measured, *sorted(symptoms.reported))
    ]


def _words(names: tuple[str, ...]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)
