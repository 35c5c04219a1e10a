"""verify: check that a bundle is complete, unchanged and consistent.

(1) SHA256SUMS is well-formed, (2) it lists exactly the files of the bundle, (3) every file matches
its hash, (4) the manifest, bundle.yaml and the rollout are valid, (5) they agree with the chart and
the migrations, (6) the chart renders valid Kubernetes objects with exactly the pinned images,
(7) the migrations can be applied, (8) commit, registry and signatures confirm the bundle,
(9) GA_CERTIFICATION/, if present, matches its own SHA256SUMS.

Steps (4) to (7) parse the same bytes that (3) hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tarsrelease.bundle.agreement import agreement_checks, running_check
from tarsrelease.bundle.artifacts import artifact_rows, image_rows, judged_rows
from tarsrelease.bundle.chart import chart_checks
from tarsrelease.bundle.chart_archive import LARGEST_ARCHIVE, ReadValues, read_chart
from tarsrelease.bundle.checksum_parser import LARGEST, Listed, parse_checksums, printable, shown
from tarsrelease.bundle.checksums import (
    completeness_checks,
    digest_checks,
    form_check,
    names_checks,
)
from tarsrelease.bundle.files import BundleFile, BundleFiles
from tarsrelease.bundle.images import image_checks
from tarsrelease.bundle.migration_files import lint_checks
from tarsrelease.bundle.origin import origin_checks
from tarsrelease.bundle.plain_text import LARGEST_TEXT, document_fault
from tarsrelease.bundle.requirements import left_out, required
from tarsrelease.bundle.results import NOT_CHECKED, not_checked
from tarsrelease.bundle.signatures import signature_checks
from tarsrelease.bundle.sources import NOTHING, Means
from tarsrelease.model.bundle import CERTIFICATION, CHECKSUMS, MANIFEST, Manifest
from tarsrelease.model.bundle_input import INPUT, BundleInput
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, exit_code_of, worst
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.step_details import VerifyDetails
from tarsrelease.model.verification import Signed
from tarsrelease.ports.clock import Clock

Reader = Callable[[str, bytes], Any]


@dataclass(frozen=True, slots=True)
class Readers:
    """Functions from a file's path and bytes to its value, or to a tuple of its problems."""

    manifest: Callable[[str, bytes], Manifest | tuple[str, ...]]
    rollout: Callable[[str, bytes], Rollout | tuple[str, ...]]
    values: ReadValues


@dataclass(frozen=True, slots=True)
class Scope:
    """Which checks are made. `require` names those that must be (see `requirements.GROUPS`)."""

    checksums_only: bool = False
    offline: bool = False
    require: Collection[str] = ()


EVERYTHING = Scope()


@dataclass
class _Bundle:
    """The state of the verification; `digests` has the computed SHA-256 by path."""

    files: BundleFiles
    listing: Sequence[BundleFile]
    listed: Listed = field(default_factory=lambda: Listed({}, ()))
    digests: dict[str, str] = field(default_factory=dict)
    manifest: Manifest | None = None
    signed: dict[str, Signed] = field(default_factory=dict)

    def content(self, path: str, largest: int = LARGEST_TEXT) -> bytes | str:
        """The bytes that were hashed, or the reason why they cannot be read."""
        sizes = {file.path: file.size for file in self.listing}
        if path not in self.digests:
            return f"{shown(path)} is absent"
        if sizes.get(path, 0) > largest:
            return f"{shown(path)} has {sizes[path]} bytes; more than {largest} are not read"
        content = self.files.read(path)
        if content is None or hashlib.sha256(content).hexdigest() != self.digests[path]:
            return f"{shown(path)} changed during the verification"
        return content


def verify(
    name: str,
    *,
    files: BundleFiles,
    readers: Readers,
    clock: Clock,
    means: Means = NOTHING,
    scope: Scope = EVERYTHING,
) -> Outcome:
    """Check the bundle `name` (a folder's path, for people); proceed or no-go.

    `means` has the optional sources to check against: registry, Helm, signatures, the cluster.
    """
    started_at = clock.now()
    bundle = _Bundle(files, files.listing())
    checks = _checksums(bundle)  # (1) to (3)
    if scope.checksums_only:
        checks.append(not_checked("manifest.schema", "checked", "--checksums-only"))
    else:
        checks += names_checks(file.path for file in bundle.listing)
        whole = all(check.status is Status.PASS for check in checks)
        if not whole:  # no other program reads it
            means = replace(NOTHING, read_input=means.read_input)
        more = _contents(bundle, readers, means, name)  # (4) to (7)
        if bundle.manifest is not None:
            more += _confirmations(bundle, bundle.manifest, means, offline=scope.offline)  # (8)
        checks += more if whole else [_because_it_is_not_whole(check) for check in more]
    checks += _certification(bundle)  # (9)
    if not scope.checksums_only:
        checks = required(checks, scope.require)
    return _outcome(name, bundle, tuple(checks), started_at=started_at, clock=clock)


def _checksums(bundle: _Bundle) -> list[Check]:
    size = next((file.size for file in bundle.listing if file.path == CHECKSUMS), 0)
    content = bundle.files.read(CHECKSUMS) if size <= LARGEST else None
    if size > LARGEST:
        bundle.listed = Listed({}, (f"it has {size} bytes; more than {LARGEST} are not read",))
    elif content is None:
        return form_check(None)
    else:
        bundle.listed = parse_checksums(content)
    checks = form_check(bundle.listed) + completeness_checks(bundle.listed, bundle.listing)
    sound = {file.path for file in bundle.listing if file.problem is None}
    there = [path for path in bundle.listed.digests if path in sound]
    found = bundle.files.digests(there)
    bundle.digests = {path: digest for path, digest in found.items() if digest is not None}
    return checks + digest_checks(bundle.listed.digests, found)


def _contents(bundle: _Bundle, readers: Readers, means: Means, name: str) -> list[Check]:
    manifest = _document(bundle, MANIFEST, readers.manifest)
    checks = [_schema_check("manifest.schema", MANIFEST, manifest)]
    if isinstance(manifest, tuple):
        return checks
    bundle.manifest = manifest
    rollout = _document(bundle, manifest.rollout, readers.rollout)
    checks.append(_schema_check("rollout.schema", manifest.rollout, rollout))
    inputs: BundleInput | tuple[str, ...] | None = None
    if means.read_input is not None:
        inputs = _document(bundle, INPUT, means.read_input)
        checks.append(_schema_check("bundle.schema", INPUT, inputs))
    archive = bundle.content(manifest.chart.file, LARGEST_ARCHIVE)
    chart = (
        read_chart(archive, manifest.chart.name, readers.values)
        if isinstance(archive, bytes)
        else None
    )
    checks += agreement_checks(
        manifest,
        inputs if isinstance(inputs, BundleInput) else None,
        None if isinstance(rollout, tuple) else rollout,
        chart,
        bundle.digests,
        folder=name.replace("\\", "/").rstrip("/").rpartition("/")[2],
    )
    canary: Mapping[str, Any] | tuple[str, ...]
    canary = _document(bundle, manifest.canary_values, readers.values)
    checks.append(_schema_check("bundle.canary_values", manifest.canary_values, canary))
    if isinstance(archive, str):
        checks.append(_schema_check("chart.archive", manifest.chart.file, (archive,)))
    elif chart is not None:
        layer = {} if isinstance(canary, tuple) else canary
        checks += chart_checks(manifest, chart, archive, layer, means)
    contents = {path: bundle.content(path) for path in bundle.digests if path.endswith(".sql")}
    return checks + lint_checks(manifest, contents, means)


def _document(bundle: _Bundle, path: str, read: Reader) -> Any:
    """The value that `read` returns for the file, or a tuple of its problems."""
    content = bundle.content(path)
    if isinstance(content, str):
        return (content,)
    fault = document_fault(content, json_only=path == MANIFEST)
    if fault is not None:
        return (f"{path}: {fault}",)
    return read(path, content)


def _confirmations(
    bundle: _Bundle, manifest: Manifest, means: Means, *, offline: bool
) -> list[Check]:
    content = bundle.content(INPUT)
    checks = origin_checks(manifest, content if isinstance(content, bytes) else None, means)
    checks.append(running_check(manifest, means.running))
    why = "--offline" if offline else "no registry was asked"
    registry = None if offline else means.registry
    checks += image_checks(manifest.images, registry, why, means.platform, layers=means.layers)
    more, bundle.signed = signature_checks(manifest, bundle.digests, means.signatures)
    return checks + more


def _certification(bundle: _Bundle) -> list[Check]:
    prefix = f"{CERTIFICATION}/"
    inside = [
        BundleFile(file.path.removeprefix(prefix), file.size, file.problem)
        for file in bundle.listing
        if file.path.startswith(prefix)
    ]
    if not inside:
        return []
    small = all(file.size <= LARGEST for file in inside if file.path == CHECKSUMS)
    content = bundle.files.read(prefix + CHECKSUMS) if small else None
    listed = parse_checksums(content) if content is not None else None
    checks = form_check(listed)
    if listed is not None:
        checks += completeness_checks(listed, inside)
        sound = {file.path for file in inside if file.problem is None}
        there = [path for path in listed.digests if path in sound]
        found = bundle.files.digests([prefix + path for path in there])
        relative = {path.removeprefix(prefix): digest for path, digest in found.items()}
        checks += digest_checks(listed.digests, relative)
    return [
        check.model_copy(
            update={"id": "certification." + check.id.split(".")[1], "source": prefix + CHECKSUMS}
        )
        for check in checks
    ]


def _schema_check(check: str, path: str, found: object) -> Check:
    faults = found if isinstance(found, tuple) else ()
    return Check(
        id=check,
        status=Status.FAIL if faults else Status.PASS,
        expected="as its schema describes it",
        reason="\n".join(faults) or "can be read, and has no unknown key",
        source=path,
    )


def _because_it_is_not_whole(check: Check) -> Check:
    if check.status is not Status.SKIPPED:
        return check
    return check.model_copy(update={"reason": f"{NOT_CHECKED}the bundle is not whole"})


def _printable(check: Check) -> Check:
    """Escape control characters from the bundle, which could change the reader's terminal."""
    reason = printable(check.reason)
    return check if reason == check.reason else check.model_copy(update={"reason": reason})


def _outcome(
    name: str,
    bundle: _Bundle,
    checks: tuple[Check, ...],
    *,
    started_at: datetime,
    clock: Clock,
) -> Outcome:
    checks = tuple(_printable(check) for check in checks)
    made = [check.status for check in checks if check.status is not Status.SKIPPED]
    good = worst(made) is Status.PASS
    verdict = Verdict.PROCEED if good else Verdict.NO_GO
    bad = sum(status is not Status.PASS for status in made)
    wrong = [check for check in checks if check.status is Status.FAIL and not left_out(check)]
    where = shown(name)
    rows = artifact_rows(bundle.listing, bundle.listed.digests, bundle.digests, bundle.signed)
    if bundle.manifest is not None:
        rows += image_rows(bundle.manifest.images, checks, bundle.signed)
    return Outcome(
        step="verify",
        release=bundle.manifest.version if bundle.manifest else None,
        environment=None,
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary=f"{where} is valid"
        if good
        else f"{where}: {bad} of {len(made)} checks failed"
        if wrong
        else f"{where}: {bad} required checks could not be made",
        checks=checks,
        details=VerifyDetails(artifacts=judged_rows(rows, checks)),
        started_at=started_at,
        finished_at=clock.now(),
        next=""
        if good
        else "do not release this bundle; download it again from its build, or build it again"
        if wrong
        else "fix what each reason names (registry login, Helm, an option), then verify again",
    )
