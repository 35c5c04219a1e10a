"""Check the bundle's origin: commit, tag, clean tree. Pure, given a repository."""

from __future__ import annotations

from tarsrelease.bundle.results import judged, not_checked
from tarsrelease.bundle.sources import Means
from tarsrelease.model.bundle import MANIFEST, Manifest
from tarsrelease.model.bundle_input import INPUT
from tarsrelease.model.outcome import Check, Observed, Status

_COMMIT = "the repository has this commit, with this tag and this bundle.yaml"


def origin_checks(manifest: Manifest, inputs: bytes | None, means: Means) -> list[Check]:
    """`inputs` is bundle.yaml as it lies in the bundle."""
    return [_source(manifest), *_commit(manifest, inputs, means)]


def _source(manifest: Manifest) -> Check:
    expected = "built from a commit, with no uncommitted change"
    source = manifest.source
    if source is None:
        return not_checked(
            "manifest.source", expected, "the manifest has no commit", source=MANIFEST
        )
    faults = []
    if not source.clean:
        faults.append(f"built from {source.commit} with uncommitted changes")
    if source.tag is not None and source.tag.removeprefix("v") != manifest.version:
        faults.append(f"the tag is {source.tag}, the version {manifest.version}")
    tag = f", tag {source.tag}" if source.tag else ""
    return Check(
        id="manifest.source",
        status=Status.FAIL if faults else Status.PASS,
        observed=Observed(value=source.commit, unit="commit"),
        expected=expected,
        reason="; ".join(faults) or f"built from {source.commit}{tag}",
        source=MANIFEST,
    )


def _commit(manifest: Manifest, inputs: bytes | None, means: Means) -> list[Check]:
    source = manifest.source
    if source is None or means.commit is None:
        why = "the manifest names no commit" if source is None else "no repository was asked"
        return [not_checked("manifest.commit", _COMMIT, why, source="git")]
    known = means.commit(source)
    if isinstance(known, str):
        return [not_checked("manifest.commit", _COMMIT, known, source="git")]
    faults = []
    if source.tag is not None and source.tag not in known.tags:
        there = ", ".join(sorted(known.tags)) or "no tag"
        faults.append(f"the manifest has tag {source.tag}, commit {source.commit} has {there}")
    if known.inputs is not None and known.inputs != inputs:
        faults.append(f"{INPUT} differs from commit {source.commit}")
    whole = f"commit {source.commit} is there"
    return judged("manifest.commit", _COMMIT, "git", faults, whole)
