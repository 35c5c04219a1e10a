"""Servers with certificates of a private authority, at an address that is not their name."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tarsrelease.adapters.http.gateway import GatewayWeb
from tarsrelease.adapters.prometheus.samples import PrometheusMetrics
from tarsrelease.adapters.registry.manifests import HttpRegistry
from tarsrelease.model.connections import ClientTls
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.metrics_server import Prometheus

NAME = "shop.example"


class Server:
    """An https server whose only certificate is for `NAME`; it notes the names it is asked for."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.pem = folder / "ca.pem"
        self.pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = folder / "key.pem"
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.asked: list[str | None] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem, private)
        context.sni_callback = lambda _socket, asked, _context: self.asked.append(asked)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = b'{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server(tmp_path)
    monkeypatch.setenv("SHOP_CA", str(made.pem))
    yield made
    made.http.shutdown()


def test_the_gateway_is_asked_by_the_hosts_name(server: Server) -> None:
    web = GatewayWeb(server.url, tls=ClientTls(ca_env="SHOP_CA"))
    assert web.get(NAME, "/", {})[0] == 200
    assert server.asked == [NAME]


def test_a_gateway_of_an_unknown_authority_is_not_trusted(server: Server) -> None:
    with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        GatewayWeb(server.url).get(NAME, "/", {})


def test_a_server_name_of_its_own(server: Server) -> None:
    tls = ClientTls(ca_env="SHOP_CA", server_name=NAME)
    assert GatewayWeb(server.url, tls=tls).get("other.example", "/", {})[0] == 200
    metrics = PrometheusMetrics(Prometheus(url=server.url, tls=tls))
    assert metrics.server_time() == 1
    assert server.asked == [NAME, NAME]


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_CA", raising=False)
    with pytest.raises(UsageError, match="SHOP_CA is not set"):
        GatewayWeb("https://127.0.0.1:1", tls=ClientTls(ca_env="SHOP_CA"))


def test_the_registrys_authority(server: Server) -> None:
    name = server.url.removeprefix("https://").replace("127.0.0.1", "[::ffff:127.0.0.1]")
    text = server.pem.read_text()
    registry = HttpRegistry(variables={"TARSRELEASE_REGISTRY_CA": text})
    with pytest.raises(UnreachableError) as caught:
        registry.manifest(f"{name}/shop", "1.0.0")
    # The authority is accepted, and the name is not: the certificate is for another one.
    assert "mismatch" in caught.value.detail.found
    with pytest.raises(UnreachableError) as caught:
        HttpRegistry(variables={}).manifest(f"{name}/shop", "1.0.0")
    assert "self-signed certificate" in caught.value.detail.found
