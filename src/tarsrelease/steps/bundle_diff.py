"""bundle diff: show the differences between two bundles.

Compares (1) the hashes of the files, (2) both manifests and rollouts, (3) both charts. Also works
on a broken bundle; `verify` checks whether a bundle is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tarsrelease.bundle.chart_archive import LARGEST_ARCHIVE, ChartArchive, ReadValues, read_chart
from tarsrelease.bundle.checksum_parser import shown
from tarsrelease.bundle.difference import (
    chart_differences,
    document_differences,
    file_differences,
    manifest_differences,
)
from tarsrelease.bundle.files import BundleFiles
from tarsrelease.bundle.plain_text import LARGEST_TEXT, document_fault
from tarsrelease.model.bundle import MANIFEST, Manifest
from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of
from tarsrelease.model.step_details import BundleDiffDetails
from tarsrelease.ports.clock import Clock

ReadManifest = Callable[[str, bytes], Manifest | tuple[str, ...]]


def bundle_diff(
    names: tuple[str, str],
    bundles: tuple[BundleFiles, BundleFiles],
    *,
    read_manifest: ReadManifest,
    read_values: ReadValues,
    clock: Clock,
    exit_code: bool = False,
) -> Outcome:
    """Compare. With `exit_code` a difference is no-go, as with ``git diff --exit-code``."""
    started_at = clock.now()
    first, second = (_digests(files) for files in bundles)  # (1)
    plan = [f"file     {line}" for line in file_differences(first, second)]
    before, after = (_manifest(files, read_manifest) for files in bundles)
    unread = [
        shown(name)
        for name, manifest in zip(names, (before, after), strict=True)
        if manifest is None
    ]
    if before is not None and after is not None:
        plan += [f"manifest {line}" for line in manifest_differences(before, after)]  # (2)
        old = _rollout(bundles[0], before, read_values)
        new = _rollout(bundles[1], after, read_values)
        if old is not None and new is not None:
            plan += [f"rollout  {line}" for line in document_differences(old, new)]
        charts = (
            _chart(bundles[0], before, read_values),
            _chart(bundles[1], after, read_values),
        )
        if charts[0] is not None and charts[1] is not None:
            plan += [f"chart    {line}" for line in chart_differences(charts[0], charts[1])]  # (3)
    verdict = Verdict.NO_GO if plan and exit_code else Verdict.PROCEED
    said = f"{len(plan)} differences" if plan else "identical, byte for byte"
    if unread:
        said += f" (NOT COMPARED: the manifest of {' and '.join(unread)} cannot be read)"
    return Outcome(
        step="bundle diff",
        release=after.version if after is not None else None,
        environment=None,
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary=f"{shown(names[0])} and {shown(names[1])}: {said}",
        details=BundleDiffDetails(differences=tuple(plan)),
        started_at=started_at,
        finished_at=clock.now(),
    )


def _digests(files: BundleFiles) -> dict[str, str]:
    """SHA-256 by path, or the problem of a file that cannot be read."""
    listing = files.listing()
    found = files.digests([file.path for file in listing if file.problem is None])
    problems = {file.path: file.problem for file in listing if file.problem is not None}
    return {path: digest or "cannot be read" for path, digest in found.items()} | problems


def _manifest(files: BundleFiles, read_manifest: ReadManifest) -> Manifest | None:
    content = _small(files, MANIFEST, LARGEST_TEXT)
    if content is None or document_fault(content, json_only=True) is not None:
        return None
    manifest = read_manifest(MANIFEST, content)
    return manifest if isinstance(manifest, Manifest) else None


def _rollout(
    files: BundleFiles, manifest: Manifest, read_values: ReadValues
) -> Mapping[str, Any] | None:
    content = _small(files, manifest.rollout, LARGEST_TEXT)
    if content is None or document_fault(content) is not None:
        return None
    found = read_values(manifest.rollout, content)
    return None if isinstance(found, tuple) else found


def _chart(files: BundleFiles, manifest: Manifest, read_values: ReadValues) -> ChartArchive | None:
    content = _small(files, manifest.chart.file, LARGEST_ARCHIVE)
    return None if content is None else read_chart(content, manifest.chart.name, read_values)


def _small(files: BundleFiles, path: str, largest: int) -> bytes | None:
    sizes = {file.path: file.size for file in files.listing()}
    return files.read(path) if sizes.get(path, largest + 1) <= largest else None
