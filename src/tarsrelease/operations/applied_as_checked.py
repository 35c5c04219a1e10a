"""Compare what Helm would apply with what was checked, object by object, by digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tarsrelease.bundle.rendered_digests import differing
from tarsrelease.bundle.rendered_images import unverified_images
from tarsrelease.context import Context
from tarsrelease.model.errors import RefusedError
from tarsrelease.model.format import names

Values = Sequence[Mapping[str, Any]]


def refuse_unchecked(
    context: Context, helm_release: str, values: Values, checked: Sequence[Mapping[str, Any]]
) -> None:
    """Raise RefusedError if `upgrade` with these values would apply other objects than `checked`.

    A chart gets there by `.Release.IsInstall`, `.Release.Revision`, `lookup`, or a random value.
    """
    release = context.release
    planned = context.cluster.charts.planned(
        helm_release, release.chart, values, values_from=context.rollout.application
    )
    doing = f"comparing what Helm would apply as {helm_release} with what was checked"
    if found := differing(checked, planned):
        raise RefusedError(
            doing=doing,
            found=f"Helm would apply something else than was checked: {names(found, 3)}",
            expected="objects with the digests of those that were rendered and checked",
            next_step="in the chart, remove what differs from one rendering to the next: "
            ".Release.IsInstall, .Release.Revision, lookup, random values and times; or set the "
            "value that a random one stands in for (helm.values in the environment file)",
        )
    if wrong := unverified_images(planned, release.manifest.images):
        raise RefusedError(
            doing=doing,
            found=f"{wrong[0]} is not the image that the bundle pins",
            expected="images by the digests in the manifest",
            next_step="remove the image from stable's Helm values and from helm.values in the "
            "environment file",
        )
