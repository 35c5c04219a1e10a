"""A number from a command or an HTTP endpoint, within its limits."""

from __future__ import annotations

from math import isfinite

from tarsrelease.gates.checks.comparison import not_told
from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.model.checks import ExternalCheck
from tarsrelease.model.format import amount
from tarsrelease.model.measurement import Number
from tarsrelease.model.outcome import Check, Observed, Status


def judge(rule: ExternalCheck, _subject: Subject, inputs: Inputs, _patience: Patience) -> Check:
    """Fails after `failures` numbers in a row outside of a limit; no statistical test."""
    answer = inputs.external.get(rule.id)
    limits = [
        f"{sign} {amount(limit, rule.unit)}"
        for sign, limit in (("≥", rule.at_least), ("≤", rule.at_most))
        if limit is not None
    ]
    source = rule.source.url or " ".join(rule.source.command)

    def check(status: Status, reason: str) -> Check:
        observed = None
        if isinstance(answer, Number) and isfinite(answer.value):
            observed = Observed(value=answer.value, unit=rule.unit)
        return Check(
            id=rule.id,
            status=status,
            observed=observed,
            expected=" and ".join(limits),
            reason=reason,
            source=source,
            window=inputs.elapsed,
        )

    if answer is None:
        return check(Status.INCONCLUSIVE, "no answer yet")
    if not isinstance(answer, Number):
        return check(Status.ERROR, f"not measured: {not_told(answer)}")
    if not isfinite(answer.value):
        return check(Status.ERROR, f"the answer is {answer.value}, which is no number to compare")
    said = amount(answer.value, rule.unit)
    if rule.accepts(answer.value):
        return check(Status.PASS, said)
    much = rule.at_most is not None and answer.value > rule.at_most
    said += " is too much" if much else " is too little"
    if rule.failures > 1:
        said += f", {min(answer.in_a_row, rule.failures)} of {rule.failures} times in a row"
    return check(Status.FAIL if answer.in_a_row >= rule.failures else Status.INCONCLUSIVE, said)
