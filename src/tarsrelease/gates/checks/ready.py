"""All wanted pods are ready."""

from __future__ import annotations

from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.model.checks import ReadyCheck
from tarsrelease.model.format import duration
from tarsrelease.model.measurement import Unmeasured
from tarsrelease.model.outcome import Check, Observed, Status

HOPELESS = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
    }
)
"""Reasons of waiting containers that waiting does not resolve."""


def judge(rule: ReadyCheck, subject: Subject, inputs: Inputs, _patience: Patience) -> Check:
    """All wanted pods are ready; those that cannot become so fail at once."""
    deployment, cluster = subject.deployment, inputs.cluster

    def check(status: Status, reason: str, observed: float | None = None) -> Check:
        return Check(
            id=rule.id,
            status=status,
            service=subject.name,
            observed=None if observed is None else Observed(value=observed, unit="count"),
            expected=f"every wanted pod ready, within {duration(rule.within)}",
            reason=reason,
            source=f"deployment/{deployment}",
        )

    if isinstance(cluster, Unmeasured):
        return check(Status.ERROR, f"not read: {cluster.reason}")
    state = cluster.deployments.get(deployment)
    if state is None:
        return check(Status.FAIL, "there is no such Deployment")
    pods = cluster.pods_of(deployment)
    for pod in pods:
        for container in pod.containers:
            if container.waiting in HOPELESS:
                return check(Status.FAIL, f"{pod.name}/{container.name}: {container.waiting}")
    if state.replicas == 0:
        return check(Status.FAIL, "no pod is wanted: it is scaled to zero", 0)
    able = sum(pod.ready for pod in pods)
    said = f"{able} of {state.replicas} pods ready"
    if state.complete and able == len(pods) == state.replicas:
        return check(Status.PASS, said, able)
    waited = cluster.incomplete_for.get(deployment, 0.0)
    if waited > rule.within:
        return check(Status.FAIL, f"{said}, for {duration(waited)}", able)
    return check(Status.INCONCLUSIVE, f"{said}, for {duration(waited)}", able)
