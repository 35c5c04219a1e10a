"""Check the chart: its archive, its values and the rendered objects. Pure, given its sources."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tarsrelease.bundle.chart_archive import ChartArchive, failing_at_lookup
from tarsrelease.bundle.checksum_parser import shown
from tarsrelease.bundle.helm_record import record_check
from tarsrelease.bundle.rendered_images import image_references, split_reference
from tarsrelease.bundle.results import judged, not_checked
from tarsrelease.bundle.sources import Means, Objects
from tarsrelease.model.bundle import Image, Manifest
from tarsrelease.model.outcome import Check, Status
from tarsrelease.rollout.canary_objects import is_test

_ARCHIVE = "regular files in one folder, each once, which all readers read alike"
_VALUES = "values that match the chart's values.schema.json"
_RENDER = "valid Kubernetes objects, with and without the canary's values"
_IMAGES = "exactly the manifest's images, by digest"
_MANY = 20
# k8s.io/apimachinery, util/validation: IsValidLabelValue.
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?")
_DIGEST_IN_LABEL = (
    "; the chart uses the image's tag as a label: give it a value for the digest, and name that "
    "value in bundle.yaml (values: {repository: …, tag: …, digest: …})"
)
_WITHOUT_LOOKUP = (
    ": remove it, or set a value with which it is not called, such as existingSecret, in a file "
    "under values_files of bundle.yaml"
)
_STABLE = "stable"


def chart_checks(
    manifest: Manifest,
    chart: ChartArchive,
    archive: bytes,
    canary_values: Mapping[str, Any],
    means: Means,
) -> list[Check]:
    """`archive` is the chart's file, `chart` what was read from it."""
    file = manifest.chart.file
    faults = [f"{file}: {fault}" for fault in chart.faults if fault not in chart.lookups]
    if chart.lookups and (faults or _looks_up(manifest, archive, canary_values, means)):
        faults += [f"{file}: {fault}{_WITHOUT_LOOKUP}" for fault in chart.lookups]
    checks = judged("chart.archive", _ARCHIVE, file, faults, "all readers read it alike")
    if faults:
        why = f"{file} is refused"
        return [
            *checks,
            not_checked("chart.values", _VALUES, why, source=file),
            not_checked("chart.render", _RENDER, why, source=file),
            not_checked("chart.images", _IMAGES, why, source=file),
        ]
    return [
        *checks,
        *_values(manifest, chart, canary_values, means),
        *_rendered(manifest, archive, canary_values, means),
    ]


def _looks_up(
    manifest: Manifest, archive: bytes, canary_values: Mapping[str, Any], means: Means
) -> bool:
    """Whether a side's rendering calls `lookup`, or nobody can tell."""
    if means.render is None:
        return True
    failing = failing_at_lookup(archive)
    return any(
        isinstance(means.render(release, failing, layers), str)
        for release, layers in _sides(manifest, canary_values).values()
    )


def _sides(
    manifest: Manifest, canary_values: Mapping[str, Any]
) -> dict[str, tuple[str, list[Mapping[str, Any]]]]:
    """By side, the name of its Helm release and its layers of values."""
    return {
        _STABLE: (manifest.application, []),
        "the canary": (f"{manifest.application}-canary", [canary_values]),
    }


def _values(
    manifest: Manifest, chart: ChartArchive, canary_values: Mapping[str, Any], means: Means
) -> list[Check]:
    file = manifest.chart.file
    if chart.values_schema is None:
        return [
            Check(
                id="chart.values",
                status=Status.SKIPPED,
                expected=_VALUES,
                reason="the chart has no values.schema.json",
                source=file,
            )
        ]
    if means.values_faults is None:
        return [not_checked("chart.values", _VALUES, "nothing here reads schemas", source=file)]
    faults = []
    for what, values in (
        ("values.yaml", chart.values),
        (manifest.canary_values, laid_over(chart.values, canary_values)),
    ):
        found = means.values_faults(chart.values_schema, values)
        faults += [f"{what}: {fault}" for fault in found]
    return judged("chart.values", _VALUES, file, faults[:_MANY], "the schema accepts them")


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as Helm does: maps are merged, null removes a key, all else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(under, Mapping) and isinstance(value, Mapping):
            merged[key] = laid_over(under, value)
        else:
            merged[key] = value
    return merged


def _rendered(
    manifest: Manifest, archive: bytes, canary_values: Mapping[str, Any], means: Means
) -> list[Check]:
    file = manifest.chart.file
    if means.render is None:
        why = "Helm was not found (version 3 or 4, on PATH or in TARSRELEASE_HELM)"
        return [
            not_checked("chart.render", _RENDER, why, source=file),
            not_checked("chart.images", _IMAGES, why, source=file),
        ]
    faults: list[str] = []
    images: list[str] = []
    unknown: set[str] = set()
    count = 0
    rendered = []
    for who, (release, layers) in _sides(manifest, canary_values).items():
        objects = means.render(release, archive, layers)
        if isinstance(objects, str):
            faults.append(f"{file} does not render for {who}: {objects}")
            continue
        if not objects:
            faults.append(f"{file} renders nothing for {who}")
        rendered.append((who, layers[0] if layers else {}, objects))
        count += len(objects)
        faults += _object_faults(objects, who, means, unknown)
        images += _image_faults(objects, who, manifest.images)
    whole = f"{count} objects, as {means.objects_by or 'nobody'} describes them"
    if unknown:
        whole += f"; not Kubernetes' own, so not compared: {', '.join(sorted(unknown))}"
    checks = judged("chart.render", _RENDER, file, faults[:_MANY], whole, count=count)
    checks += record_check(file, archive, rendered)
    if count == 0:
        return [*checks, not_checked("chart.images", _IMAGES, "nothing rendered", source=file)]
    return checks + judged(
        "chart.images", _IMAGES, file, images[:_MANY], f"{len(manifest.images)} images, pinned"
    )


def _object_faults(objects: Objects, who: str, means: Means, unknown: set[str]) -> list[str]:
    faults: list[str] = []
    for found in objects:
        name = _name(found)
        refused = means.object_faults(found) if means.object_faults else None
        if refused is None:
            unknown.add(str(found.get("kind")))
        refused = [*(refused or ()), *_label_faults(found)]
        faults += [f"{name} for {who}: {fault}" for fault in refused]
    return faults


def _label_faults(found: Any, parent: str = "") -> list[str]:
    """Values of labels and selectors, at any depth, that Kubernetes refuses.

    `labels` elsewhere than in metadata are something else, such as those of alerts.
    """
    if isinstance(found, list):
        return [fault for each in found for fault in _label_faults(each)]
    if not isinstance(found, Mapping):
        return []
    faults = []
    for key, value in found.items():
        its = key == "matchLabels" or (key == "labels" and parent == "metadata")
        if its and isinstance(value, Mapping):
            faults += [
                f"the label {label} is {shown(str(text))}, and Kubernetes allows at most 63 "
                "letters, digits, -, _ and ." + (_DIGEST_IN_LABEL if "@sha256:" in text else "")
                for label, text in value.items()
                if isinstance(text, str) and not _LABEL_VALUE.fullmatch(text)
            ]
        else:
            faults += _label_faults(value, str(key))
    return list(dict.fromkeys(faults))


def _name(found: Mapping[str, Any]) -> str:
    metadata = found.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return shown(f"{found.get('kind')}/{name}")


def _image_faults(objects: Objects, who: str, images: Sequence[Image]) -> list[str]:
    wanted: dict[tuple[str, str], list[Image]] = {}
    for image in images:
        wanted.setdefault((image.name, image.digest), []).append(image)
    faults = []
    used: set[str] = set()
    for found in objects:
        for reference in () if is_test(found) else image_references(found):
            name, tag, digest = split_reference(reference)
            pinned = wanted.get((name, digest))
            if pinned is None:
                faults.append(
                    f"{_name(found)} for {who} runs {shown(reference)}, which the manifest "
                    "does not pin"
                )
            elif tag and tag not in [image.tag for image in pinned]:
                faults.append(
                    f"{_name(found)} for {who} runs {shown(reference)}, but the manifest's tag "
                    f"is {pinned[0].tag}"
                )
            else:
                used.update(image.service for image in pinned)
    return faults + [
        f"the manifest pins the image of {image.service}, which nothing rendered for {who} runs"
        for image in images
        if who == _STABLE and image.service not in used  # the canary may leave some out
    ]
