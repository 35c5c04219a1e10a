"""Check the canary's rendered chart before anything is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tarsrelease.bundle.rendered_images import unverified_images
from tarsrelease.context import Context
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.release import Release
from tarsrelease.rollout import canary_objects
from tarsrelease.rollout.rollback_plan import canary_names


def canary_values(release: Release, environment: Environment) -> list[Mapping[str, Any]]:
    """The canary's Helm values, lowest priority first.

    The user's values for stable come before these; the release's feature flags and the images of
    the bundle override all.
    """
    own, shared, pins = release.canary_values, environment.helm, release.manifest.image_values
    return [own, shared.values, shared.canary_values, release.feature_flags, pins]


def check_render(context: Context) -> list[dict[str, Any]]:
    """The canary's objects, checked.

    Raises UsageError if the canary contains a singleton or an image that the bundle lacks.
    """
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
        [environment.helm.values, release.manifest.image_values],
        values_from=rollout.application,
    )
    skipped = _skipped(context, canary)
    refused = canary_objects.must_exist_once(canary, stable, skipped=skipped)
    if refused:
        name, why = next(iter(refused.items()))
        others = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise UsageError(
            doing=doing,
            found=f"it contains {name}: {why}{others}",
            expected="only objects that can exist twice, for stable and for the canary",
            next_step=f"in {rollout.canary_values}, set "
            + _switch(context, name, rendered, stable),
        )
    crossed = canary_objects.crossed_selectors(canary, stable)
    if crossed:
        raise UsageError(
            doing=doing,
            found=crossed[0] + (f" (and {len(crossed) - 1} more)" if len(crossed) > 1 else ""),
            expected="Services that select the pods of their own Helm release, so that only the "
            "weights lead users to the canary",
            next_step="in the chart, add app.kubernetes.io/instance: {{ .Release.Name }} to the "
            "Service's selector and to the pods' labels",
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
    wrong = unverified_images(canary + stable, release.manifest.images)
    if wrong:
        raise UsageError(
            doing=doing,
            found=f"{wrong[0]} is not the image that the bundle pins",
            expected="images by the digests in the manifest",
            next_step="remove the image from stable's Helm values and from helm.values in the "
            "environment file",
        )
    return canary


def _skipped(context: Context, canary: Sequence[Mapping[str, Any]]) -> set[str]:
    """``Kind/name`` of the definitions in the chart's crds/; Helm is asked only if it has some."""
    if not any(found.get("kind") == "CustomResourceDefinition" for found in canary):
        return set()
    return {
        canary_objects.name_of(found)
        for found in context.cluster.charts.crds(context.release.chart)
    }


def _switch(
    context: Context,
    name: str,
    rendered: Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]],
    stable: Sequence[Mapping[str, Any]],
) -> str:
    """The chart value that leaves the object out, found by trying each switch of the chart."""
    for path in canary_objects.switches(context.cluster.charts.defaults(context.release.chart)):
        if name not in canary_objects.must_exist_once(
            rendered([canary_objects.switched_off(path)]), stable
        ):
            return f"{'.'.join(path)}: false"
    return f"the value that leaves out {name} (the chart has no `enabled: false` for it)"
