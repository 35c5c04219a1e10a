"""Containers that restarted since the stage began."""

from __future__ import annotations

from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.model.checks import RestartsCheck
from tarsrelease.model.format import count, names
from tarsrelease.model.measurement import Unmeasured
from tarsrelease.model.outcome import Check, Observed, Status


def judge(rule: RestartsCheck, subject: Subject, inputs: Inputs, _patience: Patience) -> Check:
    """Containers, init containers too, that restarted since the stage began."""
    deployment, cluster = subject.deployment, inputs.cluster

    def check(status: Status, reason: str, observed: int | None = None) -> Check:
        return Check(
            id=rule.id,
            status=status,
            service=subject.name,
            observed=None if observed is None else Observed(value=observed, unit="count"),
            expected=f"≤ {rule.at_most} since the stage began",
            reason=reason,
            source=f"deployment/{deployment}",
            window=inputs.elapsed,
        )

    if isinstance(cluster, Unmeasured):
        return check(Status.ERROR, f"not read: {cluster.reason}")
    counted = cluster.restarts.get(deployment, {})
    total = sum(counted.values())
    if total > rule.at_most:
        who = names([f"{container} {times} times" for container, times in sorted(counted.items())])
        return check(Status.FAIL, f"restarted: {who}", total)
    if not cluster.pods_of(deployment):
        return check(Status.INCONCLUSIVE, f"{deployment} has no pod to look at")
    return check(Status.PASS, count(total, "restart"), total)
