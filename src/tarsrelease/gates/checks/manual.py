"""A question that only a person can answer."""

from __future__ import annotations

from tarsrelease.gates.checks.comparison import not_told
from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.model.checks import ManualCheck
from tarsrelease.model.outcome import Check, Status


def judge(rule: ManualCheck, _subject: Subject, inputs: Inputs, _patience: Patience) -> Check:
    """Yes passes, no fails, no answer is inconclusive."""
    answer = inputs.external.get(rule.id)
    if answer is None:
        status, reason = Status.INCONCLUSIVE, "nobody has answered yet"
    elif not isinstance(answer, bool):
        status, reason = Status.ERROR, f"could not be asked: {not_told(answer)}"
    else:
        status = Status.PASS if answer else Status.FAIL
        reason = "answered yes" if answer else "answered no"
    return Check(
        id=rule.id, status=status, expected=rule.question, reason=reason, source="a person"
    )
