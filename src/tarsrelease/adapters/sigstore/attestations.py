"""Sigstore bundles and GitHub's artifact attestations, by sigstore, without any network.

The trusted roots are the ones that the installed sigstore carries, or those of a file (one root, or
the lines that ``gh attestation trusted-root`` prints). Neither the library's cache nor any server
is asked: what is trusted may not depend on what lies in somebody's home directory.

A signature without an entry in a transparency log cannot be verified here: sigstore for Python
wants one. GitHub signs so for private repositories; ``gh attestation verify`` knows that form.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from cryptography.x509 import (
    Certificate,
    ExtensionNotFound,
    ObjectIdentifier,
    SubjectAlternativeName,
    UniformResourceIdentifier,
)
from sigstore.errors import Error, VerificationError
from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy
from sigstore_models.common.v1 import HashAlgorithm
from sigstore_models.trustroot import v1 as trustroot

from tarsrelease.model.errors import UsageError
from tarsrelease.model.verification import Signed

_ISSUER = "https://token.actions.githubusercontent.com"
_IN_TOTO = "application/vnd.in-toto+json"
_PROVENANCE = "https://slsa.dev/provenance/"
"""The required type of a signed statement. An SBOM or a failed test is not accepted."""
_SOURCE_DIGEST = ObjectIdentifier("1.3.6.1.4.1.57264.1.13")  # Fulcio's OIDs, oid-info.md
_LARGEST = 16 * 2**20
_DOING = "reading the attestations"


class SigstoreSignatures:
    """The port `Signatures`, pinned to one repository and one signer workflow.

    `repository` is ``owner/name``, `workflow` ``owner/name/.github/workflows/file.yml`` (that of a
    reusable workflow, where one signs). Raises `UsageError` where `paths` hold no attestation or
    one that cannot be read.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        repository: str,
        workflow: str,
        trusted_root: Path | None = None,
    ) -> None:
        self._bundles = [(path, data) for path in paths for data in _documents(path)]
        if not self._bundles:
            raise _unreadable(", ".join(map(str, paths)), "holds no attestation")
        self._repository = repository
        self._workflow = workflow
        self._verifiers = [Verifier(trusted_root=root) for root in _roots(trusted_root)]
        self._policy = policy.AllOf(
            [
                policy.OIDCIssuerV2(_ISSUER),
                policy.OIDCSourceRepositoryURI(f"https://github.com/{repository}"),
            ]
        )

    def check(self, digest: str) -> Signed | str:
        """Who signed, of the first attestation of these bytes that holds; else why none does."""
        refusals = []
        for path, data in self._bundles:
            if digest not in _claimed(data):
                continue
            for verifier in self._verifiers:
                try:
                    return self._verified(verifier, data, digest)
                except (Error, ValueError, KeyError, TypeError) as problem:
                    refusals.append(f"{path.name}: {str(problem) or type(problem).__name__}")
        if refusals:
            return "; ".join(dict.fromkeys(refusals))
        return f"none of {len(self._bundles)} attestations is for sha256:{digest}"

    def attested_with(self, digest: str) -> set[str]:
        """SHA-256 of everything that the attestations of these bytes are about."""
        found: set[str] = set()
        for _, data in self._bundles:
            if digest not in _claimed(data):
                continue
            for verifier in self._verifiers:
                with contextlib.suppress(Error, ValueError, KeyError, TypeError):
                    self._verified(verifier, data, digest)
                    found |= _claimed(data)
        return found

    def _verified(self, verifier: Verifier, data: Mapping[str, Any], digest: str) -> Signed:
        """(1) The signature, its certificate and its entry in the log hold, (2) it is by the
        issuer, repository and workflow, (3) what was signed is this digest."""
        bundle = Bundle.from_json(json.dumps(data))
        if "messageSignature" in data:
            hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(digest))
            verifier.verify_artifact(hashed, bundle, self._policy)
        else:
            kind, payload = verifier.verify_dsse(bundle, self._policy)
            if kind != _IN_TOTO or digest not in subjects(payload):
                raise VerificationError("the signed statement is not about these bytes")
            said = str(json.loads(payload).get("predicateType"))
            if not said.startswith(_PROVENANCE):
                raise VerificationError(f"it states {said!r:.80}, not where the bytes come from")
        certificate = bundle.signing_certificate
        signer = _signer(certificate)
        if signer.partition("@")[0] != f"https://github.com/{self._workflow}":
            raise VerificationError(f"signed by {signer}, not by {self._workflow}")
        return Signed(
            signer=signer.removeprefix("https://github.com/"),
            repository=self._repository,
            commit=_text(certificate, _SOURCE_DIGEST),
        )


def subjects(payload: bytes) -> set[str]:
    """SHA-256 (hex) of what an in-toto statement is about; empty for anything else."""
    try:
        statement = json.loads(payload)
        found = {item["digest"].get("sha256") for item in statement["subject"]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()
    return {digest for digest in found if isinstance(digest, str)}


def _claimed(data: Mapping[str, Any]) -> set[str]:
    """What an attestation says that it is about, before it is verified."""
    try:
        if "messageSignature" in data:
            said = data["messageSignature"]["messageDigest"]["digest"]
            return {base64.b64decode(said, validate=True).hex()}
        return subjects(base64.b64decode(data["dsseEnvelope"]["payload"], validate=True))
    except (KeyError, TypeError, ValueError, binascii.Error):
        return set()


def _documents(path: Path) -> Iterator[Mapping[str, Any]]:
    """The bundles in a file, or of a folder's files."""
    if path.is_dir():
        for inner in sorted(path.iterdir()):
            if inner.suffix in {".json", ".jsonl", ".sigstore"}:
                yield from _documents(inner)
    else:
        yield from _objects(path)


def _objects(path: Path) -> list[Mapping[str, Any]]:
    """The objects in a file: one in JSON, or JSON lines as gh writes them, whatever its name."""
    try:
        if path.stat().st_size > _LARGEST:
            raise _unreadable(str(path), f"has more than {_LARGEST} bytes")
        text = path.read_text(encoding="utf-8")
        try:
            found = [json.loads(text)]
        except ValueError:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError, RecursionError) as problem:
        raise _unreadable(str(path), f"cannot be read: {problem}") from problem
    if not all(isinstance(one, dict) for one in found):
        raise _unreadable(str(path), "has something other than JSON objects")
    return found


def _roots(path: Path | None) -> list[TrustedRoot]:
    """Those that sigstore carries, or those of the file that have a transparency log."""
    if path is None:
        store = resources.files("sigstore._store") / "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev"
        with resources.as_file(store / "trusted_root.json") as embedded:
            return [TrustedRoot.from_file(str(embedded))]
    roots = []
    for data in _objects(path):
        try:
            inner = trustroot.TrustedRoot.from_json(json.dumps(data))
            root = TrustedRoot(inner)
        except (ValueError, Error) as problem:
            raise _no_root(path, f"is not a trusted root: {problem}") from problem
        if inner.tlogs:
            roots.append(root)
    if not roots:
        raise _no_root(path, "holds no root with a transparency log")
    return roots


def _no_root(path: Path, why: str) -> UsageError:
    return UsageError(
        doing="reading the trusted root",
        found=f"{path} {why}",
        expected="trusted_root.json, or the lines that `gh attestation trusted-root` prints",
        next_step="check --trusted-root; for signatures without a log (private repositories on "
        "GitHub) use `gh attestation verify`",
    )


def _signer(certificate: Certificate) -> str:
    names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    found = names.get_values_for_type(UniformResourceIdentifier)
    if len(found) != 1:
        raise VerificationError("the certificate does not name exactly one workflow")
    return str(found[0])


def _text(certificate: Certificate, oid: ObjectIdentifier) -> str:
    """An extension of Fulcio's: a DER-encoded UTF8String, always shorter than 128 bytes here."""
    try:
        value: Any = certificate.extensions.get_extension_for_oid(oid).value
    except ExtensionNotFound:
        raise VerificationError(f"the certificate has no {oid.dotted_string}") from None
    raw = bytes(value.value)
    if len(raw) < 2 or raw[0] != 0x0C or raw[1] != len(raw) - 2:
        raise VerificationError(f"{oid.dotted_string} is not a UTF8String")
    return raw[2:].decode()


def _unreadable(path: str, why: str) -> UsageError:
    return UsageError(
        doing=_DOING,
        found=f"{path} {why}",
        expected="sigstore bundles in JSON, as `gh attestation download` writes them",
        next_step="check --attestations",
    )
