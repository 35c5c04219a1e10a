"""The cluster's certificates, with P-256 keys because these are fast to generate."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tarsrelease.rehearsal import world

# A margin for a machine that sets its clock back while the cluster starts.
_EARLIER = datetime.timedelta(minutes=10)
_VALID = datetime.timedelta(days=30)

_API_SERVER_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{world.CLUSTER_DOMAIN}",
    "localhost",
    "127.0.0.1",
    world.NODE_ADDRESS,
    world.KUBERNETES_SERVICE,
)
_AGENT_NAMES = (
    world.NODE_NAME,
    world.NODE_ADDRESS,
    "metrics-server.kube-system.svc",
)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """A certificate authority that lives as long as the cluster and is never stored."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(self._subject, self._subject, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self, name: str, groups: tuple[str, ...] = (), hosts: tuple[str, ...] = ()
    ) -> KeyPair:
        """A certificate for `name`: for a server if `hosts` are given, else for a client.

        Kubernetes reads the user from the common name and the groups from the organizations.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        usage = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(subject, self._subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_alternative_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _private_pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _VALID)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@dataclass(frozen=True, slots=True)
class ClusterCertificates:
    """All certificates and keys of the cluster's parts."""

    authority: bytes
    front_proxy_authority: bytes
    api_server: KeyPair
    api_to_node: KeyPair
    front_proxy: KeyPair
    agent: KeyPair
    administrator: KeyPair
    components: KeyPair
    service_account_key: bytes
    service_account_public: bytes

    @classmethod
    def make(cls) -> ClusterCertificates:
        """New authorities and certificates; those of earlier clusters are not valid."""
        authority = Authority("rehearsal")
        front_proxy_authority = Authority("rehearsal-front-proxy")
        service_account = ec.generate_private_key(ec.SECP256R1())
        masters = ("system:masters",)
        return cls(
            authority=authority.certificate,
            front_proxy_authority=front_proxy_authority.certificate,
            api_server=authority.issue("kube-apiserver", hosts=_API_SERVER_NAMES),
            api_to_node=authority.issue("kube-apiserver-kubelet-client", masters),
            front_proxy=front_proxy_authority.issue("front-proxy-client"),
            agent=authority.issue(world.NODE_NAME, hosts=_AGENT_NAMES),
            administrator=authority.issue("rehearsal-administrator", masters),
            # One identity for controller manager, scheduler, agent, router and metrics: the
            # rehearsal tests the release's permissions, not theirs.
            components=authority.issue("rehearsal-components", masters),
            service_account_key=_private_pem(service_account),
            service_account_public=service_account.public_key().public_bytes(
                serialization.Encoding.PEM,
                serialization.PublicFormat.SubjectPublicKeyInfo,
            ),
        )

    def write(self, folder: Path) -> None:
        """Write each as NAME.crt and NAME.key below `folder`, readable only by the owner."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {
            "ca.crt": self.authority,
            "front-proxy-ca.crt": self.front_proxy_authority,
            "service-account.key": self.service_account_key,
            "service-account.pub": self.service_account_public,
        }
        pairs = {
            "api-server": self.api_server,
            "api-to-node": self.api_to_node,
            "front-proxy": self.front_proxy,
            "agent": self.agent,
            "administrator": self.administrator,
            "components": self.components,
        }
        for name, pair in pairs.items():
            files[f"{name}.crt"] = pair.certificate
            files[f"{name}.key"] = pair.key
        for name, content in files.items():
            path = folder / name
            path.touch(mode=0o600)
            path.write_bytes(content)
