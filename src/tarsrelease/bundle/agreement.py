"""Check that manifest, bundle.yaml, rollout, chart, migrations and checksums agree. Pure.

Every difference is one failing result that names both places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tarsrelease.bundle.chart_archive import ChartArchive
from tarsrelease.bundle.checksum_parser import shown
from tarsrelease.bundle.image_places import at
from tarsrelease.bundle.results import judged, not_checked
from tarsrelease.model.bundle import CHECKSUMS, MANIFEST, Manifest
from tarsrelease.model.bundle_input import INPUT, BundleInput
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.versions import core_of, label_of, precedence, same_version

_VERSION = re.compile(r"(?<![0-9.])v?(\d+)([._])(\d+)\2(\d+)(?![0-9])")


def agreement_checks(
    manifest: Manifest,
    inputs: BundleInput | None,
    rollout: Rollout | None,
    chart: ChartArchive | None,
    listed: Mapping[str, str],
    *,
    folder: str = "",
) -> list[Check]:
    """All of the bundle's cross-references; `listed` is the SHA-256 of each file by path."""
    return [
        *_file_checks(manifest, inputs, listed),
        *_version_checks(manifest, rollout, chart, folder),
        *_input_checks(manifest, inputs),
        *_hotfix_checks(manifest),
        *_migration_checks(manifest, listed),
        *_image_checks(manifest, chart),
    ]


def named_files(manifest: Manifest) -> list[str]:
    """Every file that the manifest names, in its order."""
    named = [manifest.chart.file, manifest.canary_values, manifest.rollout]
    for migration in manifest.migrations:
        named += [migration.file, *([migration.down] if migration.down else [])]
    return named


def _file_checks(
    manifest: Manifest, inputs: BundleInput | None, listed: Mapping[str, str]
) -> list[Check]:
    named = named_files(manifest)
    faults = [f"{file} is named, but not in the bundle" for file in named if file not in listed]
    if inputs is not None:
        known = {*named, *inputs.named_files, MANIFEST, CHECKSUMS}
        faults += [
            f"{shown(file)} is in the bundle, but neither {MANIFEST} nor {INPUT} names it"
            for file in sorted(set(listed) - known)
        ]
    faults += [
        f"{file} is a second manifest next to {MANIFEST}"
        for file in sorted(listed)
        if file != MANIFEST and file.rpartition("/")[2].casefold() == MANIFEST
    ]
    return judged(
        "manifest.files",
        "exactly the files that the manifest or bundle.yaml names",
        MANIFEST,
        faults,
        f"all {len(named)} named files are there",
    )


def _version_checks(
    manifest: Manifest, rollout: Rollout | None, chart: ChartArchive | None, folder: str
) -> list[Check]:
    version = manifest.version
    said = [("the manifest's chart entry", manifest.chart.version)]
    said += [
        (f"the tag of {image.name}", version if same_version(image.tag, version) else image.tag)
        for image in manifest.images
        if image.tag_is_version is None
    ]
    if rollout is not None:
        said.append((manifest.rollout, rollout.version))
    if chart is not None and chart.metadata:
        said.append(("Chart.yaml's version", str(chart.metadata.get("version"))))
        app = str(chart.metadata.get("appVersion"))
        said.append(("Chart.yaml's appVersion", version if app == label_of(version) else app))
    said += _versions_in_names({manifest.chart.file, *named_files(manifest)}, version)
    said += [(f"the folder {folder}", one) for _, one in _versions_in_names([folder], version)]
    faults = [
        f"{where} says {other}, the manifest {version}" for where, other in said if other != version
    ]
    archive = f"{manifest.chart.name}-{version}.tgz"
    if manifest.chart.file != archive:
        faults.append(
            f"the chart's file is {manifest.chart.file}, but its name and version are {archive}"
        )
    if rollout is not None:
        faults += [
            f"{manifest.rollout}: {what} is {written!r}, in the manifest {other!r}"
            for what, written, other in (
                ("application", rollout.application, manifest.application),
                ("chart", rollout.chart, manifest.chart.file),
                ("canary_values", rollout.canary_values, manifest.canary_values),
            )
            if written != other
        ]
    if chart is not None and chart.metadata:
        name = chart.metadata.get("name")
        if name != manifest.chart.name:
            faults.append(f"Chart.yaml's name is {name}, in the manifest {manifest.chart.name}")
    least = manifest.min_previous_version
    if least is not None and precedence(least) >= precedence(version):
        faults.append(f"min_previous_version is {least}, which is not lower than {version}")
    return judged(
        "manifest.agreement",
        "one version and one application everywhere",
        MANIFEST,
        faults,
        f"{manifest.application} {version} in all {len(said) + 1} places",
    )


def _versions_in_names(names: Iterable[str], version: str) -> list[tuple[str, str]]:
    """Versions that file names hold, as ``1.0.1``: of ``v1_0_1_add.sql`` and of ``x-1.0.1.tgz``.

    A name that holds the whole version, pre-release and all, says just that one.
    """
    found = []
    for name in sorted(set(names)):
        for match in _VERSION.finditer(name.rpartition("/")[2]):
            core = ".".join((match[1], match[3], match[4]))
            same = version in name or core == core_of(version)
            found.append((f"the name {name}", version if same else core))
    return found


def _input_checks(manifest: Manifest, inputs: BundleInput | None) -> list[Check]:
    """Check that bundle.yaml and the manifest have the same images, hotfixes and migrations."""
    expected = f"{INPUT} and {MANIFEST} agree"
    if inputs is None:
        return [not_checked("manifest.input", expected, f"{INPUT} was not read", source=INPUT)]
    asked = inputs.model_dump(
        exclude={"schema_", "chart", "chart_name", "files", "values_files"}
        | {"images", "hotfixes", "migrations"}
    )
    said = manifest.model_dump()
    faults = [
        f"{key} is {value!r} in {INPUT}, {said[key]!r} in {MANIFEST}"
        for key, value in asked.items()
        if said[key] != value
    ]
    for what, key in (("images", "service"), ("hotfixes", "id"), ("migrations", "file")):
        ours = {item[key]: item for item in inputs.model_dump()[what]}
        theirs = {
            item[key]: {name: value for name, value in item.items() if name != "sha256"}
            for item in said[what]
        }
        if what == "images":
            ours = {name: _fixed(item, theirs.get(name, {})) for name, item in ours.items()}
        for name in sorted(ours.keys() | theirs.keys()):
            one, other = ours.get(name), theirs.get(name)
            if one is None or other is None:
                where = MANIFEST if one is None else INPUT
                faults.append(f"{what}: {name} is only in {where}")
                continue
            faults += [
                f"{what}: {name}: {part} is {one[part]!r} in {INPUT}, "
                f"{other.get(part)!r} in {MANIFEST}"
                for part in one
                if one[part] != other.get(part)
            ]
    return judged("manifest.input", expected, INPUT, faults, "they agree")


def _fixed(asked: Mapping[str, Any], pinned: Mapping[str, Any]) -> dict[str, Any]:
    """An image of bundle.yaml as the manifest has it: what the build finds out is the manifest's.

    That is a digest that bundle.yaml leaves to the registry, and the places under a key.
    """
    found = {**asked, "tag_is_version": None if asked["tag_is_version"] else False}
    if asked["digest"] is None:
        found["digest"] = pinned.get("digest")
    places = pinned.get("values") or {}
    under = str(places.get("repository") or "").rpartition(".")[0]
    if places and asked["values"] in (places.get("reference"), under):
        found["values"] = places
    return found


def _hotfix_checks(manifest: Manifest) -> list[Check]:
    expected = "every hotfix has a unique id and a title"
    count = len(manifest.hotfixes)
    if count == 0:
        why = "the manifest lists no hotfixes"
        return [not_checked("manifest.hotfixes", expected, why, source=MANIFEST)]
    faults = [f"{hotfix.id} has no title" for hotfix in manifest.hotfixes if not hotfix.title]
    ids = ", ".join(hotfix.id for hotfix in manifest.hotfixes)
    return judged(
        "manifest.hotfixes", expected, MANIFEST, faults, f"{count} hotfixes: {ids}", count=count
    )


def _migration_checks(manifest: Manifest, listed: Mapping[str, str]) -> list[Check]:
    expected = "every migration has the SHA-256 that the manifest pins"
    faults = [
        f"{migration.file}: the manifest pins {migration.sha256}, "
        f"the file is {listed[migration.file]}"
        for migration in manifest.migrations
        if listed.get(migration.file, migration.sha256) != migration.sha256
    ]
    for phase in ("expand", "contract"):
        orders = [entry.order for entry in manifest.migrations if entry.phase == phase]
        if sorted(orders) != list(range(1, len(orders) + 1)):
            faults.append(f"the order of {phase} migrations is {orders}; it must count 1, 2, 3 ...")
    if not manifest.migrations and not faults:
        why = "this release has no migrations"
        return [not_checked("manifest.migrations", expected, why, source=MANIFEST)]
    return judged(
        "manifest.migrations",
        expected,
        MANIFEST,
        faults,
        f"{len(manifest.migrations)} migrations match",
    )


def _image_checks(manifest: Manifest, chart: ChartArchive | None) -> list[Check]:
    expected = "the chart's values have each image's repository, tag and digest"
    if chart is None:
        return []  # manifest.files has already failed
    blocks = chart.values.get("images")
    blocks = blocks if isinstance(blocks, Mapping) else {}
    faults = []
    for image in manifest.images:
        if image.values is not None:
            faults += [
                f"{'.'.join(path)} is {found!r}, the manifest pins {value!r}"
                for path, value in image.pinned().items()
                if (found := at(chart.values, path)) != value
            ]
            continue
        block = blocks.get(image.service)
        if not isinstance(block, Mapping):
            faults.append(f"values.yaml has no images.{image.service}")
            continue
        pinned = {"repository": image.name, "tag": image.tag, "digest": image.digest}
        faults += [
            f"images.{image.service}.{key} is {block.get(key)!r}, the manifest pins {value!r}"
            for key, value in pinned.items()
            if block.get(key) != value
        ]
    faults += [
        f"values.yaml has images.{service}, which the manifest does not pin"
        for service in sorted(set(map(str, blocks)) - {image.service for image in manifest.images})
        if all(image.values is None for image in manifest.images)
    ]
    return judged(
        "manifest.images", expected, "values.yaml", faults, f"{len(manifest.images)} images pinned"
    )


def running_check(manifest: Manifest, ask: Callable[[str], str | None] | None) -> Check:
    """Check that this release may follow the running version, which `ask` returns."""
    least = manifest.min_previous_version
    expected = f"at least {least} runs" if least else "no minimum version is required"
    running, why = None, "the running version is unknown (--environment NAME, or --running VERSION)"
    if least is None:
        why = "the manifest has no min_previous_version"
    elif ask is not None:
        try:
            running, why = ask(manifest.application), f"no {manifest.application} runs there"
        except ReleaseError as problem:
            why = problem.detail.found
    if least is None or running is None:
        return not_checked("manifest.previous", expected, why, source=MANIFEST)
    try:
        low = precedence(running) < precedence(least)
    except ValueError:
        low, running = True, f"{running} (no version)"
    return Check(
        id="manifest.previous",
        status=Status.FAIL if low else Status.PASS,
        observed=Observed(value=running, unit="version"),
        expected=expected,
        reason=f"{running} runs, the manifest requires at least {least}",
        source=MANIFEST,
    )
