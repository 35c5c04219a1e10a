"""verify: is the bundle whole, and does it agree with itself? Nothing is changed.

(1) SHA256SUMS is well-formed, (2) lists exactly what is there, (3) every content matches,
(4) the manifest and the rollout can be read, (5) they, the chart and the migrations agree,
(6) GA_CERTIFICATION/, where there is one, is whole by its own list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from tarsrelease.model.bundle import CERTIFICATION, CHECKSUMS, MANIFEST, Manifest
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, exit_code_of, worst
from tarsrelease.model.rollout import Rollout
from tarsrelease.ports import BundleFile, BundleFiles, Clock
from tarsrelease.steps.verification.agreement import agreement_checks
from tarsrelease.steps.verification.chart_archive import read_chart
from tarsrelease.steps.verification.checksums import (
    completeness_checks,
    digest_checks,
    form_check,
    names_checks,
)
from tarsrelease.steps.verification.listed import parse_checksums


def verify(
    name: str,
    *,
    files: BundleFiles,
    read_manifest: Callable[[str, bytes], Manifest | tuple[str, ...]],
    read_rollout: Callable[[str, bytes], Rollout | tuple[str, ...]],
    clock: Clock,
    checksums_only: bool = False,
    offline: bool = False,
) -> Outcome:
    """Check the bundle `name` (a folder's path, for people); proceed or no-go."""
    started_at = clock.now()
    listing = files.listing()
    checks, digests = _checksums(files, listing)  # (1) to (3)
    manifest: Manifest | None = None
    if not checksums_only:
        checks += names_checks(file.path for file in listing)
    if checksums_only:
        checks.append(_skipped("manifest.schema", "--checksums-only"))
    elif any(file.path == MANIFEST for file in listing):
        manifest, more = _contents(files, digests, read_manifest, read_rollout)  # (4), (5)
        checks += more
    else:
        checks.append(_schema_check("manifest.schema", MANIFEST, (f"{MANIFEST} is absent",)))
    if not checksums_only:
        why = "--offline" if offline else "registries are not asked by this version"
        checks.append(_skipped("images.registry", why))
    checks += _certification(files, listing)  # (6)
    return _outcome(name, manifest, tuple(checks), started_at=started_at, clock=clock)


def _checksums(
    files: BundleFiles, listing: Sequence[BundleFile]
) -> tuple[list[Check], dict[str, str]]:
    content = files.read(CHECKSUMS)
    listed = parse_checksums(content) if content is not None else None
    checks = form_check(listed)
    if listed is None:
        return checks, {}
    checks += completeness_checks(listed, listing)
    sound = {file.path for file in listing if file.problem is None}
    there = [path for path in listed.digests if path in sound]
    found = files.digests(there)
    checks += digest_checks(listed.digests, found)
    return checks, {path: digest for path, digest in found.items() if digest is not None}


def _contents(
    files: BundleFiles,
    digests: dict[str, str],
    read_manifest: Callable[[str, bytes], Manifest | tuple[str, ...]],
    read_rollout: Callable[[str, bytes], Rollout | tuple[str, ...]],
) -> tuple[Manifest | None, list[Check]]:
    manifest = read_manifest(MANIFEST, files.read(MANIFEST) or b"")
    if isinstance(manifest, tuple):
        return None, [_schema_check("manifest.schema", MANIFEST, manifest)]
    checks = [_schema_check("manifest.schema", MANIFEST, ())]
    content = files.read(manifest.rollout)
    rollout = (
        (f"{manifest.rollout} is absent",)
        if content is None
        else read_rollout(manifest.rollout, content)
    )
    faults = rollout if isinstance(rollout, tuple) else ()
    checks.append(_schema_check("rollout.schema", manifest.rollout, faults))
    archive = files.read(manifest.chart.file)
    chart = None if archive is None else read_chart(archive, manifest.chart.name)
    checks += agreement_checks(
        manifest, None if isinstance(rollout, tuple) else rollout, chart, digests
    )
    return manifest, checks


def _certification(files: BundleFiles, listing: Sequence[BundleFile]) -> list[Check]:
    prefix = f"{CERTIFICATION}/"
    inside = [
        BundleFile(file.path.removeprefix(prefix), file.size, file.problem)
        for file in listing
        if file.path.startswith(prefix)
    ]
    if not inside:
        return []
    content = files.read(prefix + CHECKSUMS)
    listed = parse_checksums(content) if content is not None else None
    checks = form_check(listed)
    if listed is not None:
        checks += completeness_checks(listed, inside)
        sound = {file.path for file in inside if file.problem is None}
        there = [path for path in listed.digests if path in sound]
        found = files.digests([prefix + path for path in there])
        relative = {path.removeprefix(prefix): digest for path, digest in found.items()}
        checks += digest_checks(listed.digests, relative)
    return [
        check.model_copy(
            update={"id": "certification." + check.id.split(".")[1], "source": prefix + CHECKSUMS}
        )
        for check in checks
    ]


def _schema_check(check: str, path: str, faults: tuple[str, ...]) -> Check:
    return Check(
        id=check,
        status=Status.FAIL if faults else Status.PASS,
        expected="as its schema describes it",
        reason="\n".join(faults) or "can be read, and has no unknown key",
        source=path,
    )


def _skipped(check: str, why: str) -> Check:
    return Check(
        id=check,
        status=Status.SKIPPED,
        expected="checked",
        reason=f"NOT CHECKED: {why}",
    )


def _outcome(
    name: str,
    manifest: Manifest | None,
    checks: tuple[Check, ...],
    *,
    started_at: datetime,
    clock: Clock,
) -> Outcome:
    required = [check.status for check in checks if check.status is not Status.SKIPPED]
    good = worst(required) is Status.PASS
    verdict = Verdict.PROCEED if good else Verdict.NO_GO
    bad = sum(status is not Status.PASS for status in required)
    return Outcome(
        step="verify",
        release=manifest.version if manifest else None,
        environment=None,
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary=f"{name} is whole" if good else f"{name}: {bad} of {len(required)} checks failed",
        checks=checks,
        started_at=started_at,
        finished_at=clock.now(),
        next=""
        if good
        else "get the bundle again from where it was built; do not release this one",
    )
