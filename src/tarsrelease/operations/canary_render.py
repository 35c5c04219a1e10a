"""What the chart would make of the canary, checked before anything is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tarsrelease.context import Context
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.release import Release
from tarsrelease.rollout import canary_objects
from tarsrelease.rollout.rollback_plan import canary_names


def canary_values(release: Release, environment: Environment) -> list[Mapping[str, Any]]:
    """The canary's values; under them lie those that the user gave stable.

    Feature flags that this release switches on win over all of them.
    """
    own, shared = release.canary_values, environment.helm
    return [own, shared.values, shared.canary_values, release.feature_flags]


def check_render(context: Context) -> None:
    """Refuse a canary that would contain what must exist once, or images nobody verified."""
    release, environment, charts = context.release, context.environment, context.cluster.charts
    rollout = release.rollout
    values = canary_values(release, environment)
    doing = f"rendering {release.manifest.chart.file} as {rollout.canary_release}"

    def rendered(more: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return charts.render(
            rollout.canary_release, release.chart, [*values, *more], values_from=rollout.application
        )

    canary = rendered([])
    stable = charts.render(
        rollout.application,
        release.chart,
        [environment.helm.values],
        values_from=rollout.application,
    )
    refused = canary_objects.must_exist_once(canary, stable)
    if refused:
        name, why = next(iter(refused.items()))
        others = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise UsageError(
            doing=doing,
            found=f"it contains {name}: {why}{others}",
            expected="only what can stand beside stable",
            next_step=f"in {rollout.canary_values}, set "
            + _switch(context, name, rendered, stable),
        )
    there = {canary_objects.name_of(found) for found in canary}
    missing = [name for name in canary_names(rollout) if f"Deployment/{name}" not in there]
    if missing:
        raise UsageError(
            doing=doing,
            found=f"it has no Deployment {missing[0]}",
            expected=", ".join(canary_names(rollout)),
            next_step="correct services[].canary or workers[].canary in rollout.yaml, or the chart",
        )
    wrong = canary_objects.unverified_images(canary + stable, release.manifest.images)
    if wrong:
        raise UsageError(
            doing=doing,
            found=f"{wrong[0]} is not the image that the bundle pins",
            expected="images by the digests in the manifest",
            next_step="remove the image from the values that stable was installed with, and from "
            "helm.values in the environment file",
        )


def _switch(
    context: Context,
    name: str,
    rendered: Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]],
    stable: Sequence[Mapping[str, Any]],
) -> str:
    """The value that makes the object go away, found by trying the chart's own switches."""
    for path in canary_objects.switches(context.cluster.charts.defaults(context.release.chart)):
        if name not in canary_objects.must_exist_once(
            rendered([canary_objects.switched_off(path)]), stable
        ):
            return f"{'.'.join(path)}: false"
    return f"the value that leaves {name} out (no switch among the chart's values does)"
