"""Check who signed the chart and the images. Pure, given attestations."""

from __future__ import annotations

from collections.abc import Mapping

from tarsrelease.bundle.results import not_checked
from tarsrelease.bundle.sources import Signatures
from tarsrelease.model.bundle import Manifest
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.verification import Signed

_ID = "signatures.attestation"
_EXPECTED = "an attestation of these bytes, by the expected workflow of the expected repository"


def signature_checks(
    manifest: Manifest, digests: Mapping[str, str], signatures: Signatures | None
) -> tuple[list[Check], dict[str, Signed]]:
    """The results for the chart and each image, and the signers by SHA-256 (hex)."""
    artifacts = {manifest.chart.file: digests.get(manifest.chart.file)}
    artifacts |= {
        f"{image.name}:{image.tag}": image.digest.removeprefix("sha256:")
        for image in manifest.images
    }
    if signatures is None:
        why = "no attestations were given (--attestations)"
        return [not_checked(_ID, _EXPECTED, why)], {}
    checks = []
    signed: dict[str, Signed] = {}
    for name, digest in artifacts.items():
        if digest is None:
            continue  # its absence has been told
        try:
            found = signatures.check(digest)
        except ReleaseError as problem:
            checks.append(not_checked(_ID, _EXPECTED, f"{name}: {problem.detail.found}"))
            continue
        if isinstance(found, str):
            checks.append(_check(name, Status.FAIL, f"{name}: {found}"))
        else:
            signed[digest] = found
            reason = f"{name}: by {found.signer}, built from {found.repository}@{found.commit}"
            checks.append(_check(name, Status.PASS, reason))
    return checks, signed


def _check(name: str, status: Status, reason: str) -> Check:
    return Check(id=_ID, status=status, expected=_EXPECTED, reason=reason, source=name)
