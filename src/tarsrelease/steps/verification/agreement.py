"""Do manifest, rollout, chart, migrations and checksums tell the same story? Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tarsrelease.model.bundle import Manifest
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.model.rollout import Rollout
from tarsrelease.steps.verification.chart_archive import ChartArchive


def agreement_checks(
    manifest: Manifest,
    rollout: Rollout | None,
    chart: ChartArchive | None,
    listed: Mapping[str, str],
) -> list[Check]:
    """All of the bundle's cross-references; `listed` is SHA-256 by path, from SHA256SUMS."""
    return [
        *_file_checks(manifest, listed),
        *_version_checks(manifest, rollout, chart),
        *_migration_checks(manifest, listed),
        *_image_checks(manifest, chart),
        _source_check(manifest),
    ]


def _checks(check: str, expected: str, source: str, faults: list[str], whole: str) -> list[Check]:
    """One failing check per fault, or one that passes and says `whole`."""
    if not faults:
        faults, status = [whole], Status.PASS
    else:
        status = Status.FAIL
    return [
        Check(id=check, status=status, expected=expected, reason=reason, source=source)
        for reason in faults
    ]


def _file_checks(manifest: Manifest, listed: Mapping[str, str]) -> list[Check]:
    named = [manifest.chart.file, manifest.canary_values, manifest.rollout]
    for migration in manifest.migrations:
        named += [migration.file, *([migration.down] if migration.down else [])]
    faults = [f"{file} is named, but not in the bundle" for file in named if file not in listed]
    return _checks(
        "manifest.files",
        "every file that the manifest names is in the bundle",
        "manifest.production.json",
        faults,
        f"{len(named)} files named, all there",
    )


def _version_checks(
    manifest: Manifest, rollout: Rollout | None, chart: ChartArchive | None
) -> list[Check]:
    said = [("the manifest's chart entry", manifest.chart.version)]
    if rollout is not None:
        said.append((manifest.rollout, rollout.version))
    if chart is not None:
        said += [
            (f"Chart.yaml's {key}", str(chart.metadata.get(key)))
            for key in ("version", "appVersion")
        ]
    faults = [
        f"{where} says {version}, the manifest {manifest.version}"
        for where, version in said
        if version != manifest.version
    ]
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
    if chart is not None:
        name = chart.metadata.get("name")
        if name != manifest.chart.name:
            faults.append(f"Chart.yaml's name is {name}, in the manifest {manifest.chart.name}")
        faults += chart.faults
    return _checks(
        "manifest.agreement",
        "one version and one application everywhere",
        "manifest.production.json",
        faults,
        f"{manifest.application} {manifest.version} in all {len(said) + 1} places",
    )


def _migration_checks(manifest: Manifest, listed: Mapping[str, str]) -> list[Check]:
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
        return [
            Check(
                id="manifest.migrations",
                status=Status.SKIPPED,
                expected="every migration has the content the manifest pins",
                reason="NOT CHECKED: this release has no migrations",
                source="manifest.production.json",
            )
        ]
    return _checks(
        "manifest.migrations",
        "every migration has the content the manifest pins",
        "manifest.production.json",
        faults,
        f"{len(manifest.migrations)} migrations match",
    )


def _image_checks(manifest: Manifest, chart: ChartArchive | None) -> list[Check]:
    expected = "the chart's values hold each image's repository, tag and digest"
    if chart is None:
        return []  # manifest.files has already failed
    blocks = chart.values.get("images")
    blocks = blocks if isinstance(blocks, Mapping) else {}
    faults = []
    for image in manifest.images:
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
    ]
    return _checks(
        "manifest.images", expected, "values.yaml", faults, f"{len(manifest.images)} images pinned"
    )


def _source_check(manifest: Manifest) -> Check:
    expected = "built from a commit, with no uncommitted change"
    source = manifest.source
    if source is None:
        status, reason = Status.SKIPPED, "NOT CHECKED: the manifest names no commit"
    elif not source.clean:
        status, reason = Status.FAIL, f"built from {source.commit} with uncommitted changes"
    else:
        tag = f", tag {source.tag}" if source.tag else ""
        status, reason = Status.PASS, f"built from {source.commit}{tag}"
    return Check(
        id="manifest.source",
        status=status,
        observed=Observed(value=source.commit, unit="commit") if source else None,
        expected=expected,
        reason=reason,
        source="manifest.production.json",
    )
