"""How severe an incident is: by the severity table and the decision tree; the stricter wins.

Each number and each report proves a severity of its own, and the most severe one counts. A missing
number proves nothing: it never leads to a rollback, and never to "no incident".
"""

from __future__ import annotations

from collections.abc import Iterator

from tarsrelease.model.format import percent
from tarsrelease.model.incident import (
    SEVERITY_OF_REPORT,
    Action,
    Classification,
    Finding,
    IncidentRules,
    Severity,
    Symptoms,
)

_WORST_OF: dict[str, Severity] = {
    "availability": Severity.P0,
    "error_rate": Severity.P0,
    "degradation": Severity.P1,
}
_ACTIONS = {
    Severity.P0: Action.ROLL_BACK,
    Severity.P1: Action.PREPARE,
    Severity.P2: Action.HOTFIX,
    Severity.P3: Action.NEXT_RELEASE,
}


def classify(symptoms: Symptoms, rules: IncidentRules) -> Classification:
    """The severity that the known symptoms prove, and what to do."""
    findings = sorted(_findings(symptoms, rules), key=lambda finding: finding.severity)
    severity = findings[0].severity if findings else None
    missing = tuple(
        name
        for name, worst in _WORST_OF.items()
        if getattr(symptoms, name) is None and (severity is None or worst < severity)
    )
    if severity is not None:
        action = _ACTIONS[severity]
    else:
        action = Action.INVESTIGATE if missing else Action.NOTHING
    return Classification(
        severity=severity,
        action=action,
        deadline=_deadline(findings, rules) if severity is Severity.P1 else None,
        findings=tuple(findings),
        missing=missing,
    )


def _findings(symptoms: Symptoms, rules: IncidentRules) -> Iterator[Finding]:
    if (found := symptoms.availability) is not None:
        below = rules.availability
        for severity, limit in (
            (Severity.P0, below.p0),
            (Severity.P1, below.p1),
            (Severity.P2, below.p2),
        ):
            if found < limit:
                reason = f"availability {percent(found)} is below {percent(limit)}"
                yield Finding(severity=severity, symptom="availability", reason=reason)
                break
    yield from _rate(symptoms.error_rate, rules)
    yield from _degradation(symptoms.degradation, rules)
    for report in sorted(symptoms.reported):
        reason = f"reported: {report}"
        yield Finding(severity=SEVERITY_OF_REPORT[report], symptom=report, reason=reason)


def _rate(found: float | None, rules: IncidentRules) -> Iterator[Finding]:
    if found is None or found < rules.error_rate.p2:
        return
    above = rules.error_rate
    if found > above.p0:
        severity, limit = Severity.P0, f"above {percent(above.p0)}"
    elif found >= above.p1:
        severity, limit = Severity.P1, f"at least {percent(above.p1)}"
    else:
        severity, limit = Severity.P2, f"at least {percent(above.p2)}"
    reason = f"error rate {percent(found)} is {limit}"
    yield Finding(severity=severity, symptom="error_rate", reason=reason)


def _degradation(found: float | None, rules: IncidentRules) -> Iterator[Finding]:
    if found is None or found <= 0:
        return
    slower = rules.degradation
    if found > slower.p1:
        severity, limit = Severity.P1, f"more than {percent(slower.p1)}"
    elif found >= slower.p2:
        severity, limit = Severity.P2, f"at least {percent(slower.p2)}"
    else:
        severity, limit = Severity.P3, f"less than {percent(slower.p2)}"
    reason = f"requests are {percent(found)} slower than the baseline: {limit}"
    yield Finding(severity=severity, symptom="degradation", reason=reason)


def _deadline(findings: list[Finding], rules: IncidentRules) -> float:
    """Seconds until the rollback unless the cause is found: the shortest of all P1 symptoms."""
    return min(
        rules.investigate_degradation if finding.symptom == "degradation" else rules.investigate
        for finding in findings
        if finding.severity is Severity.P1
    )
