"""One row per artifact: expected digest, actual digest, and its signer. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tarsrelease.bundle.checksum_parser import shown
from tarsrelease.bundle.files import BundleFile
from tarsrelease.bundle.requirements import left_out
from tarsrelease.model.bundle import CERTIFICATION, CHECKSUMS, Image
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.step_details import ArtifactRow
from tarsrelease.model.verification import Signed


def artifact_rows(
    listing: Sequence[BundleFile],
    expected: Mapping[str, str],
    found: Mapping[str, str],
    signed: Mapping[str, Signed],
) -> list[ArtifactRow]:
    """The bundle's files. `expected` and `found` are SHA-256 by path, `signed` by digest."""
    sizes = {file.path: file.size for file in listing}
    paths = {path for path in sizes if not path.startswith(f"{CERTIFICATION}/")} - {CHECKSUMS}
    return [
        _row(
            shown(path),
            sizes.get(path),
            expected.get(path),
            found.get(path),
            CHECKSUMS if path in expected else "",
            signed.get(found.get(path, "")),
        )
        for path in sorted(paths | set(expected))
    ]


def image_rows(
    images: Sequence[Image], checks: Sequence[Check], signed: Mapping[str, Signed]
) -> list[ArtifactRow]:
    """The images; their check is that of the registry."""
    by_service = {check.service: check for check in checks if check.id == "images.registry"}
    rows = []
    for image in images:
        check = by_service.get(image.service)
        passed = check is not None and check.status is Status.PASS
        actual = image.digest if passed else None
        result = "PASS" if passed else "NOT CHECKED" if not check or left_out(check) else "FAIL"
        who = signed.get(image.digest.removeprefix("sha256:"))
        row = _row(
            shown(f"{image.name}:{image.tag}"), None, image.digest, actual, "the manifest", who
        )
        rows.append(row.model_copy(update={"result": result}))
    return rows


def judged_rows(rows: Sequence[ArtifactRow], checks: Sequence[Check]) -> tuple[ArtifactRow, ...]:
    """The rows, with FAIL where a check of the artifact itself failed, whatever its digest: an
    attestation of it, its archive, its schema."""
    failed = {
        shown(check.source)
        for check in checks
        if check.status is Status.FAIL and not left_out(check)
    }
    return tuple(
        row.model_copy(update={"result": "FAIL"}) if row.artifact in failed else row for row in rows
    )


def _row(
    name: str,
    size: int | None,
    expected: str | None,
    actual: str | None,
    source: str,
    signed: Signed | None,
) -> ArtifactRow:
    return ArtifactRow(
        artifact=name,
        size=size,
        expected=expected,
        actual=actual,
        source=source,
        signer=signed.signer if signed else None,
        built_from=f"{signed.repository}@{signed.commit}" if signed else None,
        result="PASS" if expected is not None and expected == actual else "FAIL",
    )
