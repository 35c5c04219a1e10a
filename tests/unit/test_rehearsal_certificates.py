"""The certificates say who is who, and who may sign."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tarsrelease.rehearsal import world
from tarsrelease.rehearsal.certificates import Authority, ClusterCertificates
from tarsrelease.rehearsal.kubeconfig import kubeconfig


def test_a_server_is_verified_by_its_authority_and_no_other() -> None:
    made = ClusterCertificates.make()
    server = x509.load_pem_x509_certificate(made.api_server.certificate)
    own = x509.load_pem_x509_certificate(made.authority)
    other = x509.load_pem_x509_certificate(made.front_proxy_authority)
    server.verify_directly_issued_by(own)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "127.0.0.1" in {str(a) for a in names.get_values_for_type(x509.IPAddress)}
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)
    with pytest.raises(ValueError, match="issuer"):
        server.verify_directly_issued_by(other)


def test_the_administrator_is_in_the_group_that_may_do_everything() -> None:
    made = ClusterCertificates.make()
    subject = x509.load_pem_x509_certificate(made.administrator.certificate).subject
    groups = [one.value for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    assert groups == ["system:masters"]


def test_clients_and_servers_are_told_apart() -> None:
    authority = Authority("test")
    for hosts, expected in (
        ((), ExtendedKeyUsageOID.CLIENT_AUTH),
        (("localhost",), ExtendedKeyUsageOID.SERVER_AUTH),
    ):
        issued = x509.load_pem_x509_certificate(authority.issue("x", hosts=hosts).certificate)
        usage = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [expected]
        assert isinstance(issued.public_key(), ec.EllipticCurvePublicKey)


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    ClusterCertificates.make().write(tmp_path / "certificates")
    files = list((tmp_path / "certificates").iterdir())
    assert len(files) >= 16
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_kubeconfig_can_be_copied() -> None:
    made = ClusterCertificates.make()
    document = json.loads(kubeconfig(made.authority, made.administrator, "administrator"))
    assert document["current-context"] == world.CONTEXT
    cluster = document["clusters"][0]["cluster"]
    assert base64.b64decode(cluster["certificate-authority-data"]) == made.authority
