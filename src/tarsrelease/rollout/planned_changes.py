"""The changes that a release would make, as lines for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tarsrelease.model.cluster import AutoscalerState, Snapshot
from tarsrelease.model.environment import Environment
from tarsrelease.model.format import duration
from tarsrelease.model.journal import Entry
from tarsrelease.model.release import Release
from tarsrelease.rollout import canary_objects, release_journal
from tarsrelease.rollout.capacity import replicas_for


def deploying(
    release: Release, environment: Environment, made: Sequence[dict[str, Any]]
) -> list[str]:
    """What `canary deploy` does after pinning; `made` are the canary's rendered objects."""
    rollout = release.rollout
    header = environment.gateway.canary_header
    flags = (
        [
            "feature flags on in the canary, and in stable when it is promoted: "
            + ", ".join(_paths(release.feature_flags))
        ]
        if release.feature_flags
        else []
    )
    return [
        *flags,
        f"helm install {rollout.canary_release} {release.manifest.chart.file}, one replica each: "
        + ", ".join(canary_objects.name_of(found) for found in made),
        *(
            f"{service.route_names}: {service.canary.service} at weight 0, all requests with "
            f"{header}: always go to it"
            for service in rollout.services
        ),
        *(
            f"smoke test: GET {request.path} of {service.name} with that header"
            for service in rollout.services
            for request in service.smoke
        ),
    ]


def pinning(release: Release, seen: Snapshot, autoscalers: Sequence[AutoscalerState]) -> list[str]:
    """The journal and the lock, and the autoscalers whose minimum is raised."""
    journal = f"tarsrelease-{release.rollout.application}"
    stable = {service.stable.deployment for service in release.rollout.services}
    return [
        f"lock and journal: lease/{journal} and configmap/{journal} are written at every step",
        *(
            f"pin: horizontalpodautoscaler/{scaler.name} keeps at least {state.replicas} replicas"
            for scaler in autoscalers
            if scaler.deployment in stable
            and (state := seen.deployment(scaler.deployment))
            and scaler.min_replicas < state.replicas
        ),
    ]


def stages(release: Release, seen: Snapshot, passed: Sequence[Entry] = ()) -> list[str]:
    """Approval, scaling and traffic of each stage that has not passed yet (journal: `passed`)."""
    rollout, lines = release.rollout, []
    replicas = {service.canary.deployment: 1 for service in rollout.services}
    for stage in rollout.stages:
        scaled = []
        for service in rollout.services:
            state = seen.deployment(service.stable.deployment)
            wanted = replicas_for(stage.weight, state.replicas if state else 1)
            if wanted > replicas[service.canary.deployment]:
                replicas[service.canary.deployment] = wanted
                scaled.append(f"deployment/{service.canary.deployment} to {wanted}")
        if release_journal.passed(passed, release.version, stage.weight):
            continue
        if stage.approval:
            lines.append(f"{stage.name}: a person must approve first")
        if scaled:
            lines.append(f"{stage.name}: scale {', '.join(scaled)}")
        lines.append(
            f"{stage.name}: {stage.weight} % to the canary in "
            + ", ".join(service.route_names for service in rollout.services)
            + f"; evaluated for {duration(stage.duration)}, "
            + f"up to {duration(stage.max_extension)} more"
        )
    if lines and rollout.statistics.needless_protection > 0:
        lines.append(
            "every stage: strong evidence against the canary moves all traffic to stable at once; "
            "after a quiet period the stage is tried once more, and the second time is a rollback"
        )
    return lines


def promoting(release: Release, environment: Environment) -> list[str]:
    """What `promote` does."""
    rollout = release.rollout
    return [
        f"promote: helm upgrade {rollout.application} {release.manifest.chart.file} while the "
        f"canary serves, {duration(environment.limits.deploy)} at most",
        *(
            f"promote-{weight}: {weight} % to the canary, the rest to the new stable; evaluated "
            f"for {duration(rollout.promotion.seconds_at(weight))}"
            for weight in rollout.promotion.weights
        ),
        "promote: the canary leaves the routes; helm uninstall "
        f"{rollout.canary_release}; what it leaves behind is deleted",
    ]


def _paths(values: Mapping[str, Any]) -> list[str]:
    """Helm values as ``a.b=true``."""
    found = []
    for name, value in values.items():
        below = _paths(value) if isinstance(value, Mapping) else None
        shown = f"{name}={json.dumps(value)}"
        found += [shown] if below is None else [f"{name}.{path}" for path in below]
    return found
