"""Checks that do not apply to a rollout that another tool moves."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tarsrelease.model.checks import Scope
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.rollout import Stage


def without_pods(
    checks: Sequence[Check], stage: Stage, unknown: Collection[str]
) -> tuple[Check, ...]:
    """Skip the checks of pods for services and workers without a Deployment.

    `unknown` are their names. Such a check cannot read pods that, for example, an Argo Rollout
    owns; checks that count requests still apply.
    """
    of_pods = {rule.id for rule in stage.checks if rule.scope is Scope.WORKLOADS}
    return tuple(
        check.model_copy(
            update={"status": Status.SKIPPED, "reason": "its pods belong to no known Deployment"}
        )
        if check.service in unknown and check.id in of_pods
        else check
        for check in checks
    )
