"""images.registry against a real registry (Debian's docker-registry), with and without tokens."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from tarsrelease.adapters.registry.credentials import CREDENTIALS
from tarsrelease.adapters.registry.manifests import HttpRegistry
from tarsrelease.bundle.images import image_checks
from tarsrelease.model.bundle import Image
from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.verification import INDEXES, MANIFESTS
from tarsrelease.rehearsal.oci import Image as OciImage
from tarsrelease.rehearsal.oci import program_layer, write_layout

PROGRAM = shutil.which("docker-registry")
needs_registry = pytest.mark.skipif(
    PROGRAM is None, reason="docker-registry (a Debian package) is not installed"
)
ISSUER, SERVICE = "the token service", "the registry"


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass
class Tokens:
    """A token service as GHCR's: anonymous or Basic, then a signed token for the scope asked."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    asked: list[tuple[dict[str, str], str | None]] = field(default_factory=list)
    spoiled: int = 0
    """How many of the next tokens are expired."""
    password: str | None = None
    url: str = ""

    def token(self, scope: str) -> str:
        kind, name, actions = scope.rsplit(":", 2)
        began = datetime.now(UTC) - timedelta(hours=2 if self.spoiled else 0)
        self.spoiled = max(0, self.spoiled - 1)
        chain = base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER))
        head = {"typ": "JWT", "alg": "ES256", "x5c": [chain.decode()]}
        claims = {
            "iss": ISSUER,
            "sub": "",
            "aud": SERVICE,
            "exp": int((began + timedelta(minutes=10)).timestamp()),
            "nbf": int((began - timedelta(minutes=1)).timestamp()),
            "iat": int(began.timestamp()),
            "jti": "1",
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }
        text = ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))
        r, s = decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@pytest.fixture(scope="module")
def tokens() -> Iterator[Tokens]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    service = Tokens(key, certificate)

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
            given = self.headers.get("Authorization")
            service.asked.append((query, given))
            wanted = service.password
            if wanted and given != "Basic " + base64.b64encode(wanted.encode()).decode():
                self.send_response(401)
                self.end_headers()
                return
            body = json.dumps({"token": service.token(query["scope"])}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    service.url = f"http://127.0.0.1:{server.server_address[1]}/token"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield service
    server.shutdown()
    thread.join()


@dataclass(frozen=True)
class Place:
    """A running registry that holds demo/web:v1.2.0; `index` and the manifests' digests by
    architecture, `layer` the layer's."""

    host: str
    index: str
    manifests: dict[str, str]
    layer: str
    folder: Path

    def image(self, digest: str | None = None, tag: str = "v1.2.0") -> Image:
        name = f"{self.host}/demo/web"
        return Image(service="web", name=name, tag=tag, digest=digest or self.index)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(folder: Path, auth: dict[str, Any]) -> Iterator[str]:
    """The host of a registry that keeps its data in the folder, while it runs."""
    port = free_port()
    settings: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": auth,
    }
    (folder / "config.yml").write_text(json.dumps({k: v for k, v in settings.items() if v}))
    process = subprocess.Popen(
        [str(PROGRAM), "serve", str(folder / "config.yml")],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("wb"),
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/v2/")
                break
            except httpx.TransportError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                threading.Event().wait(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module", params=["open", "token"])
def place(
    request: pytest.FixtureRequest, tokens: Tokens, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("registry")
    auth: dict[str, Any] = {}
    if request.param == "token":
        bundle = folder / "tokens.pem"
        bundle.write_bytes(tokens.certificate.public_bytes(serialization.Encoding.PEM))
        auth["token"] = {
            "realm": tokens.url,
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": str(bundle),
        }
    with serving(folder, auth) as host:
        bearer = f"Bearer {tokens.token('repository:demo/web:pull,push')}"
        yield pushed(host, folder, {"Authorization": bearer})


def pushed(host: str, folder: Path, headers: dict[str, str]) -> Place:
    """Push a small image for two architectures, as any client does."""
    image = OciImage("demo/web:v1.2.0", ("/web",), (), {})
    layers = {name: program_layer("web", name.encode()) for name in ("amd64", "arm64")}
    index = write_layout(folder / "layout", [image], layers)["demo/web:v1.2.0"]
    blobs = folder / "layout/blobs/sha256"
    base = f"http://{host}/v2/demo/web"
    manifests = {}
    document = json.loads((blobs / index.removeprefix("sha256:")).read_text())
    with httpx.Client(headers=headers) as client:
        for path in blobs.iterdir():
            start = client.post(f"{base}/blobs/uploads/")
            start.raise_for_status()
            goal = httpx.URL(start.headers["location"]).copy_merge_params(
                {"digest": f"sha256:{path.name}"}
            )
            client.put(goal, content=path.read_bytes()).raise_for_status()
        for entry in document["manifests"]:
            manifests[entry["platform"]["architecture"]] = entry["digest"]
            put(client, base, entry["digest"], blobs / entry["digest"][7:], MANIFESTS[0])
        put(client, base, "v1.2.0", blobs / index[7:], INDEXES[0])
        put(client, base, "plain", blobs / manifests["amd64"][7:], MANIFESTS[0])
    chosen = json.loads((blobs / manifests["amd64"][7:]).read_text())
    return Place(host, index, manifests, chosen["layers"][0]["digest"], folder)


def put(client: httpx.Client, base: str, reference: str, file: Path, kind: str) -> None:
    answer = client.put(
        f"{base}/manifests/{reference}",
        content=file.read_bytes(),
        headers={"Content-Type": kind},
    )
    answer.raise_for_status()


def check(
    image: Image,
    *,
    platform: str = "linux/amd64",
    layers: bool = False,
    variables: dict[str, str] | None = None,
) -> Check:
    registry = HttpRegistry(variables=variables or {})
    (found,) = image_checks([image], registry, "", platform, layers=layers)
    registry.close()
    return found


@needs_registry
def test_a_tag_leads_to_the_index_that_the_manifest_pins(place: Place) -> None:
    found = check(place.image(), layers=True)
    assert found.status is Status.PASS, found.reason
    assert place.manifests["amd64"] in found.reason
    assert "1 layers exist" in found.reason


@needs_registry
def test_a_pin_of_the_platforms_own_manifest_is_as_good(place: Place) -> None:
    assert check(place.image(place.manifests["amd64"])).status is Status.PASS
    assert check(place.image(place.manifests["arm64"]), platform="linux/arm64").status is (
        Status.PASS
    )
    assert check(place.image(place.manifests["amd64"], tag="plain")).status is Status.PASS


@needs_registry
@pytest.mark.parametrize(
    ("digest", "tag", "platform", "said"),
    [
        ("sha256:" + "0" * 64, "v1.2.0", "linux/amd64", "the manifest pins sha256:0000"),
        (None, "v9.9.9", "linux/amd64", "does not exist in the registry"),
        (None, "v1.2.0", "linux/riscv64", "has no image for linux/riscv64"),
        ("arm64", "v1.2.0", "linux/amd64", "the digest of linux/arm64"),
        ("amd64", "plain", "linux/arm64", "its configuration is not for linux/arm64"),
    ],
)
def test_what_is_not_as_pinned_is_refused(
    place: Place, digest: str | None, tag: str, platform: str, said: str
) -> None:
    pinned = place.manifests.get(digest, digest) if digest else None
    found = check(place.image(pinned, tag=tag), platform=platform)
    assert found.status is Status.FAIL
    assert said in found.reason
    assert f"{place.host}/demo/web" in found.reason


@needs_registry
def test_a_layer_that_was_lost_is_found_where_it_is_asked_for(place: Place) -> None:
    digest = place.layer.removeprefix("sha256:")
    (stored,) = place.folder.glob(f"data/docker/registry/v2/blobs/sha256/*/{digest}")
    moved = place.folder / "moved"
    stored.rename(moved)
    try:
        assert check(place.image()).status is Status.PASS
        found = check(place.image(), layers=True)
        assert found.status is Status.FAIL
        assert place.layer in found.reason
    finally:
        moved.rename(stored)


@needs_registry
@pytest.mark.parametrize("place", ["token"], indirect=True)
def test_tokens(place: Place, tokens: Tokens) -> None:
    tokens.asked.clear()
    assert check(place.image()).status is Status.PASS
    assert len(tokens.asked) == 1  # one token serves every request for the repository
    query, given = tokens.asked[0]
    assert query == {"service": SERVICE, "scope": "repository:demo/web:pull"}
    assert given is None

    tokens.spoiled = 1  # expired when it is first used: asked for once more
    assert check(place.image()).status is Status.PASS
    tokens.spoiled = 9  # expired whenever it is asked for: not for ever
    tokens.asked.clear()
    found = check(place.image())
    tokens.spoiled = 0
    assert found.status is Status.SKIPPED
    assert "status 401" in found.reason
    assert len(tokens.asked) == 2

    tokens.password = "somebody:secret"
    try:
        assert check(place.image()).status is Status.SKIPPED
        right = {CREDENTIALS: f"{place.host}=somebody:secret"}
        assert check(place.image(), variables=right).status is Status.PASS
        wrong = check(place.image(), variables={CREDENTIALS: f"{place.host}=somebody:other"})
        assert wrong.status is Status.SKIPPED
        assert "other" not in wrong.reason
        elsewhere = {CREDENTIALS: "ghcr.io=somebody:secret"}
        tokens.asked.clear()
        assert check(place.image(), variables=elsewhere).status is Status.SKIPPED
        assert [given for _, given in tokens.asked] == [None]  # a password of another registry
    finally:
        tokens.password = None


def test_a_registry_that_is_not_there_is_not_checked() -> None:
    image = Image(
        service="web",
        name=f"127.0.0.1:{free_port()}/demo/web",
        tag="v1",
        digest="sha256:" + hashlib.sha256(b"").hexdigest(),
    )
    found = check(image)
    assert found.status is Status.SKIPPED
    assert found.reason.startswith("NOT CHECKED: cannot reach 127.0.0.1:")


def test_a_wrong_variable_is_told_without_what_it_holds() -> None:
    with pytest.raises(UsageError) as caught:
        HttpRegistry(variables={CREDENTIALS: "secret"})
    assert "secret" not in str(caught.value.detail)
