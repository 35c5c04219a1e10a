"""A small sigstore of our own: who signs, who timestamps, two logs, and the root that trusts them.

It makes what GitHub's attest action makes: an in-toto statement in a DSSE envelope, signed by a key
whose certificate names the workflow, with the entry of a transparency log (Rekor 1, dsse 0.0.1) or
a timestamp (RFC 3161). Nothing in it is secret or kept, and nothing real trusts it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey
HERE = "https://github.com/"
PROVENANCE = "https://slsa.dev/provenance/v1"
IN_TOTO = "application/vnd.in-toto+json"
FULCIO = "1.3.6.1.4.1.57264.1."  # Fulcio's own extensions, oid-info.md
SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")  # RFC 6962, section 3.3
YEAR = timedelta(days=365)


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def sign(key: Key, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def der(key: Key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])


def key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True)
class Authority:
    """A key with its own certificate, that issues certificates."""

    name: str
    key: Key
    certificate: x509.Certificate

    @classmethod
    def new(cls, name: str, now: datetime) -> Authority:
        key = new_key()
        certificate = (
            _certificate(name, name, key, (now - YEAR, now + YEAR))
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(key_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )
        return cls(name, key, certificate)

    def beneath(self, key: Key, name: str, valid: tuple[datetime, datetime]) -> Any:
        """What a certificate that it issues begins with."""
        return _certificate(self.name, name, key, valid).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
        )


def _certificate(
    issuer: str, name: str, key: Key, valid: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(named(issuer))
        .subject_name(named(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
    )


@dataclass(frozen=True)
class Workflow:
    """What a job's token says of it: the signer's file, the repository built, and its commit."""

    signer: str
    repository: str
    commit: str = "c" * 40
    ref: str = "refs/tags/v1.2.0"
    issuer: str = "https://token.actions.githubusercontent.com"


@dataclass
class Sigstore:
    """`folder` holds what `openssl ts` works with."""

    folder: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    rekor: Key = field(default_factory=new_key)
    ctlog: Key = field(default_factory=new_key)

    def __post_init__(self) -> None:
        self.fulcio = Authority.new("fulcio", self.now)
        self.tsa = Authority.new("tsa", self.now)
        self.tsa_key = new_key()
        self.tsa_certificate = (
            self.tsa.beneath(self.tsa_key, "timestamps", (self.now - YEAR, self.now + YEAR))
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True)
            .add_extension(key_usage(ca=False), True)
            .sign(self.tsa.key, hashes.SHA256())
        )

    def trusted_root(self) -> dict[str, Any]:
        """As sigstore's trusted_root.json has it."""
        start = {"start": (self.now - YEAR).isoformat().replace("+00:00", "Z")}
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [_log("https://rekor.example", self.rekor, start)],
            "certificateAuthorities": [_chain("fulcio", [self.fulcio.certificate], start)],
            "ctlogs": [_log("https://ct.example", self.ctlog, start)],
            "timestampAuthorities": [
                _chain("tsa", [self.tsa_certificate, self.tsa.certificate], start)
            ],
        }

    def attest(
        self,
        digests: Mapping[str, str],
        workflow: Workflow,
        *,
        kind: str = IN_TOTO,
        predicate: str = PROVENANCE,
        logged_after: timedelta = timedelta(minutes=1),
        stamped: bool = False,
    ) -> dict[str, Any]:
        """A bundle about artifacts (SHA-256 by name), by a certificate that lasts ten minutes.

        `logged_after` its begin the log sees the entry and promises to keep it; `stamped` gives
        it a timestamp instead of that promise.
        """
        key = new_key()
        certificate = self._issued(key, workflow, self.now - logged_after)
        payload = json.dumps(_statement(digests, predicate)).encode()
        pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
        signature = sign(key, pae)
        entry = self._entry(payload, signature, certificate, promised=not stamped)
        material: dict[str, Any] = {
            "certificate": {"rawBytes": text(certificate.public_bytes(Encoding.DER))},
            "tlogEntries": [entry],
        }
        if stamped:
            material["timestampVerificationData"] = {
                "rfc3161Timestamps": [{"signedTimestamp": text(self._timestamp(signature))}]
            }
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": text(payload),
                "payloadType": kind,
                "signatures": [{"sig": text(signature)}],
            },
        }

    def _issued(self, key: Key, workflow: Workflow, begin: datetime) -> x509.Certificate:
        """As Fulcio: first without the log's receipt, for the log to sign, then with it."""
        said = {
            "8": workflow.issuer,
            "9": f"{HERE}{workflow.signer}@{workflow.ref}",
            "12": HERE + workflow.repository,
            "13": workflow.commit,
            "14": workflow.ref,
        }
        identity = x509.UniformResourceIdentifier(said["9"])
        builder = (
            self.fulcio.beneath(key, "", (begin, begin + timedelta(minutes=10)))
            .add_extension(x509.SubjectAlternativeName([identity]), critical=True)
            .add_extension(key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
        )
        for number, value in said.items():
            encoded = b"\x0c" + bytes([len(value)]) + value.encode()  # a UTF8String
            builder = builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier(FULCIO + number), encoded), False
            )
        before = builder.sign(self.fulcio.key, hashes.SHA256())
        receipt = self._receipt(before.tbs_certificate_bytes, begin)
        issued: x509.Certificate = builder.add_extension(
            x509.UnrecognizedExtension(SCT_LIST, receipt), critical=False
        ).sign(self.fulcio.key, hashes.SHA256())
        return issued

    def _receipt(self, certificate: bytes, when: datetime) -> bytes:
        """A list of one signed certificate timestamp (RFC 6962, sections 3.2 and 3.3)."""
        stamp = struct.pack(">Q", int(when.timestamp() * 1000))
        issuer = hashlib.sha256(der(self.fulcio.key)).digest()
        length = struct.pack(">I", len(certificate))[1:]
        signed = b"\0\0" + stamp + b"\0\1" + issuer + length + certificate + b"\0\0"
        signature = sign(self.ctlog, signed)
        log = hashlib.sha256(der(self.ctlog)).digest()
        one = b"\0" + log + stamp + b"\0\0" + b"\4\3" + _sized(signature)
        found = _sized(_sized(one))
        mark = bytes([len(found)]) if len(found) < 128 else bytes([0x81, len(found)])
        return b"\x04" + mark + found  # an OCTET STRING

    def _entry(
        self,
        payload: bytes,
        signature: bytes,
        certificate: x509.Certificate,
        *,
        promised: bool,
    ) -> dict[str, Any]:
        """The entry of a log that holds no other one, so its hash is the tree's root."""
        body = rfc8785.dumps(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": {"algorithm": "sha256", "value": "0" * 64},
                    "payloadHash": {
                        "algorithm": "sha256",
                        "value": hashlib.sha256(payload).hexdigest(),
                    },
                    "signatures": [
                        {
                            "signature": text(signature),
                            "verifier": text(certificate.public_bytes(Encoding.PEM)),
                        }
                    ],
                },
            }
        )
        log = hashlib.sha256(der(self.rekor)).digest()
        root = hashlib.sha256(b"\0" + body).digest()
        note = f"rekor.example - 1\n1\n{text(root)}\n"
        signed_note = text(log[:4] + sign(self.rekor, note.encode()))
        entry: dict[str, Any] = {
            "logIndex": "0",
            "logId": {"keyId": text(log)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(int(self.now.timestamp())),
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": text(root),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n\N{EM DASH} rekor.example {signed_note}\n"},
            },
            "canonicalizedBody": text(body),
        }
        if promised:
            promise = rfc8785.dumps(
                {
                    "body": text(body),
                    "integratedTime": int(self.now.timestamp()),
                    "logID": log.hex(),
                    "logIndex": 0,
                }
            )
            entry["inclusionPromise"] = {"signedEntryTimestamp": text(sign(self.rekor, promise))}
        return entry

    def _timestamp(self, signature: bytes) -> bytes:
        """A response of now by ``openssl ts``."""
        (self.folder / "signature").write_bytes(signature)
        (self.folder / "serial").write_text("01\n")
        (self.folder / "key.pem").write_bytes(
            self.tsa_key.private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
            )
        )
        (self.folder / "signer.pem").write_bytes(self.tsa_certificate.public_bytes(Encoding.PEM))
        (self.folder / "ts.cnf").write_text(
            "[tsa]\nserial = serial\nsigner_digest = sha256\ndefault_policy = 1.2.3.4\n"
            "digests = sha256\ness_cert_id_chain = no\ness_cert_id_alg = sha256\n"
        )
        for line in (
            "-query -data signature -sha256 -cert -out query",
            "-reply -config ts.cnf -section tsa -queryfile query -signer signer.pem "
            "-inkey key.pem -out reply",
        ):
            subprocess.run(
                ["openssl", "ts", *line.split()], cwd=self.folder, check=True, capture_output=True
            )
        return (self.folder / "reply").read_bytes()


def _sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def _statement(digests: Mapping[str, str], predicate: str) -> dict[str, Any]:
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": one}} for name, one in digests.items()],
        "predicateType": predicate,
        "predicate": {"buildDefinition": {}, "runDetails": {}},
    }


def _log(url: str, key: Key, valid: Mapping[str, str]) -> dict[str, Any]:
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": text(der(key)),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": valid,
        },
        "logId": {"keyId": text(hashlib.sha256(der(key)).digest())},
    }


def _chain(
    name: str, certificates: Sequence[x509.Certificate], valid: Mapping[str, str]
) -> dict[str, Any]:
    raw = [{"rawBytes": text(one.public_bytes(Encoding.DER))} for one in certificates]
    return {
        "subject": {"organization": "example", "commonName": name},
        "uri": f"https://{name}.example",
        "certChain": {"certificates": raw},
        "validFor": valid,
    }
