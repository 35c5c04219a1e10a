"""Every check of a stage, for each service and worker that it judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tarsrelease.gates.checks import (
    absent,
    capacity,
    compare,
    drift,
    external,
    gauge,
    like_stable,
    manual,
    proportion,
    ready,
    reconnects,
    restarts,
    suite,
)
from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.model.checks import CheckRule, Scope
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check
from tarsrelease.model.rollout import Rollout, Stage

Judge = Callable[[Any, Subject, Inputs, Patience], Check]
"""The method of a kind: judges one subject by a rule, the inputs and alpha."""

JUDGES: Mapping[str, Judge] = {
    "absent": absent.judge,
    "capacity": capacity.judge,
    "compare": compare.judge,
    "drift": drift.judge,
    "drift_from_staging": drift.judge_staging,
    "external": external.judge,
    "gauge": gauge.judge,
    "like_stable": like_stable.judge,
    "manual": manual.judge,
    "proportion": proportion.judge,
    "ready": ready.judge,
    "reconnects": reconnects.judge,
    "restarts": restarts.judge,
    "suite": suite.judge,
}
"""By the rule's `kind`."""


def evaluate(
    stage: Stage, rollout: Rollout, track: Track, inputs: Inputs, patience: Patience
) -> tuple[Check, ...]:
    """Every check of the stage, for each service, each worker or once, as its kind is judged."""
    found = []
    for rule in stage.checks:
        for subject in subjects(rule, rollout, track):
            check = JUDGES[rule.kind](rule, subject, inputs, patience)
            found.append(check.model_copy(update={"advisory": True}) if rule.advisory else check)
    return tuple(found)


def subjects(rule: CheckRule, rollout: Rollout, track: Track) -> list[Subject]:
    """The subjects of the rule, in the rollout's order."""
    if rule.scope is Scope.RELEASE:
        return [Subject(None, track)]
    services = {each.name for each in rollout.services}
    ours = judged(rollout, track)
    beside = judged(rollout, track.other)
    return [
        Subject(name, track, deployment, beside[name])
        for name, deployment in ours.items()
        if (rule.scope is Scope.WORKLOADS or name in services)
        and (not rule.services or name in rule.services)
    ]


def judged(rollout: Rollout, track: Track) -> dict[str, str]:
    """Names of services and workers to the Deployments of one side, in the rollout's order."""
    on_canary = track is Track.CANARY
    services = {
        each.name: (each.canary if on_canary else each.stable).deployment
        for each in rollout.services
    }
    workers = {each.name: each.canary if on_canary else each.stable for each in rollout.workers}
    return services | workers
