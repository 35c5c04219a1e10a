"""No container is in a bad state."""

from __future__ import annotations

from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.model.checks import AbsentCheck
from tarsrelease.model.format import count, names
from tarsrelease.model.measurement import Unmeasured
from tarsrelease.model.outcome import Check, Observed, Status


def judge(rule: AbsentCheck, subject: Subject, inputs: Inputs, _patience: Patience) -> Check:
    """Fails if a container is in one of the states; inconclusive without pods."""

    def check(status: Status, reason: str, found: int | None = None) -> Check:
        return Check(
            id=rule.id,
            status=status,
            service=subject.name,
            observed=None if found is None else Observed(value=found, unit="count"),
            expected=f"none of {', '.join(rule.states)}",
            reason=reason,
            source=f"deployment/{subject.deployment}",
            window=inputs.elapsed,
        )

    if isinstance(inputs.cluster, Unmeasured):
        return check(Status.ERROR, f"not read: {inputs.cluster.reason}")
    pods = inputs.cluster.pods_of(subject.deployment)
    found = [
        f"{pod.name}/{each.name}: {state}"
        for pod in pods
        for each in pod.containers
        for state in (each.waiting, each.terminated)
        if state in rule.states
    ]
    if found:
        return check(Status.FAIL, names(found), len(found))
    seen = sum(len(pod.containers) for pod in pods)
    if not seen:
        return check(Status.INCONCLUSIVE, f"{subject.deployment} has no pod to look at")
    return check(Status.PASS, f"none in {count(seen, 'container')}", 0)
