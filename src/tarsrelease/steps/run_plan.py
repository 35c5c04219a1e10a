"""Every change that a day would make, as lines; nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tarsrelease.model.cluster import Snapshot
from tarsrelease.model.environment import Environment, describe_overrides
from tarsrelease.model.journal import Entry
from tarsrelease.model.outcome import Check, Outcome, Verdict
from tarsrelease.model.release import Release
from tarsrelease.operations.canary_render import canary_values, check_render
from tarsrelease.operations.migrations.release_phase import Migrator, why_not
from tarsrelease.operations.outcome import ended
from tarsrelease.operations.snapshot import look
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Charts, Journal, Routes, Workloads
from tarsrelease.rollout import canary_objects, release_journal
from tarsrelease.rollout.capacity import replicas_for
from tarsrelease.rollout.position import position
from tarsrelease.steps.canary_deploy import refuse


def plan_day(
    release: Release,
    environment: Environment,
    *,
    migrator: Migrator,
    charts: Charts,
    workloads: Workloads,
    routes: Routes,
    journal: Journal,
    clock: Clock,
) -> Outcome:
    """The plan from where the day is. No-go where the migrations' plan refuses.

    Raises what `deploy` and the migrations would raise for a day not begun.
    """
    started_at = clock.now()
    seen = look(release, charts=charts, workloads=workloads, routes=routes, clock=clock)
    entries = journal.entries()
    here = position(release.rollout, seen, entries, None)
    lines: list[str] = []
    checks: tuple[Check, ...] = ()
    verdict = Verdict.PROCEED
    if here.weight == 0 and here.at != "promoting":
        refuse(release, seen)
        check_render(release, environment, charts)
        migrating, checks, refused = _migrating(release, environment, migrator)
        lines += migrating
        verdict = Verdict.NO_GO if refused else Verdict.PROCEED
        lines += _deploying(release, environment, seen, charts, workloads)
    if here.at != "promoting":
        lines += [
            line
            for stage in _stages(release, seen)
            for line in stage
            if here.weight == 0 or not _passed_line(release, entries, line)
        ]
    lines += _promoting(release, environment)
    return ended(
        "run --plan",
        release,
        environment,
        verdict,
        f"{here.says}; {len(lines)} changes to come, nothing was changed"
        if verdict is Verdict.PROCEED
        else "the migrations' plan is against it; nothing was changed",
        started_at=started_at,
        clock=clock,
        checks=checks,
        details={"plan": lines, "overrides": list(describe_overrides(environment.overrides))},
        next_step="tarsrelease run" if verdict is Verdict.PROCEED else "tarsrelease migrate plan",
    )


def _migrating(
    release: Release, environment: Environment, migrator: Migrator
) -> tuple[list[str], tuple[Check, ...], bool]:
    """The statements with their locks; the plan's checks; and whether it refuses."""
    reason = why_not(release, environment)
    if reason is not None:
        return [f"migrate: nothing; {reason}"], (), False
    planned = migrator.plan()
    found = planned.details.get("plan")
    lines = [f"migrate: {line}" for line in found] if isinstance(found, list) else []
    refused = planned.verdict is not Verdict.PROCEED
    return lines or ["migrate: nothing is left to apply"], planned.checks, refused


def _passed_line(release: Release, entries: list[Entry], line: str) -> bool:
    return any(
        line.startswith(f"{stage.name}:")
        and release_journal.passed(entries, release.version, stage.weight)
        for stage in release.rollout.stages
    )


def _deploying(
    release: Release,
    environment: Environment,
    seen: Snapshot,
    charts: Charts,
    workloads: Workloads,
) -> list[str]:
    rollout = release.rollout
    journal = f"tarsrelease-{rollout.application}"
    flags = (
        [
            "feature flags on in the canary, and in stable when it is promoted: "
            + ", ".join(_paths(release.feature_flags))
        ]
        if release.feature_flags
        else []
    )
    made = charts.render(
        rollout.canary_release,
        release.chart,
        canary_values(release, environment),
        values_from=rollout.application,
    )
    stable = {service.stable.deployment for service in rollout.services}
    pinned = [
        f"pin: horizontalpodautoscaler/{scaler.name} keeps at least {state.replicas} replicas"
        for scaler in workloads.autoscalers()
        if scaler.deployment in stable
        and (state := seen.deployment(scaler.deployment))
        and scaler.min_replicas < state.replicas
    ]
    return [
        f"lock and journal: lease/{journal} and configmap/{journal} are written at every step",
        *pinned,
        *flags,
        f"helm install {rollout.canary_release} {release.manifest.chart.file}, one replica each: "
        + ", ".join(canary_objects.name_of(found) for found in made),
        *(
            f"httproute/{service.route}: {service.canary.service} at weight 0, all requests with "
            f"{environment.gateway.canary_header}: always go to it"
            for service in rollout.services
        ),
        *(
            f"smoke test: GET {request.path} of {service.name} by that header"
            for service in rollout.services
            for request in service.smoke
        ),
    ]


def _paths(values: Mapping[str, Any]) -> list[str]:
    """Helm values as ``a.b=true``."""
    found = []
    for name, value in values.items():
        below = _paths(value) if isinstance(value, Mapping) else None
        shown = f"{name}={json.dumps(value)}"
        found += [shown] if below is None else [f"{name}.{path}" for path in below]
    return found


def _stages(release: Release, seen: Snapshot) -> list[list[str]]:
    rollout = release.rollout
    planned = []
    standing = {service.canary.deployment: 1 for service in rollout.services}
    for stage in rollout.stages:
        scaled = []
        for service in rollout.services:
            state = seen.deployment(service.stable.deployment)
            wanted = replicas_for(stage.weight, state.replicas if state else 1)
            if wanted > standing[service.canary.deployment]:
                standing[service.canary.deployment] = wanted
                scaled.append(f"deployment/{service.canary.deployment} to {wanted}")
        asked = [f"{stage.name}: a person is asked first"] if stage.approval else []
        more = [f"{stage.name}: scale {', '.join(scaled)}"] if scaled else []
        planned.append(
            [
                *asked,
                *more,
                f"{stage.name}: {stage.weight} % to the canary in "
                + ", ".join(f"httproute/{service.route}" for service in rollout.services)
                + f"; looked at for {stage.duration:g} s, up to {stage.max_extension:g} s more",
            ]
        )
    return planned


def _promoting(release: Release, environment: Environment) -> list[str]:
    rollout = release.rollout
    return [
        f"promote: helm upgrade {rollout.application} {release.manifest.chart.file} while the "
        f"canary serves, {environment.limits.deploy:g} s at most",
        *(
            f"promote-{weight}: {weight} % to the canary, the rest to the new stable; looked at "
            f"for {rollout.promotion.look:g} s"
            for weight in rollout.promotion.weights
        ),
        "promote: the canary leaves the routes; helm uninstall "
        f"{rollout.canary_release}; whatever it leaves is deleted",
    ]
