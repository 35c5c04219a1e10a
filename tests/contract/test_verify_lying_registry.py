"""A registry that lies, on loopback: nothing that it says about content is believed."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tarsrelease.adapters.registry.credentials import CREDENTIALS
from tarsrelease.adapters.registry.manifests import HttpRegistry
from tarsrelease.bundle.images import image_checks
from tarsrelease.model.bundle import Image
from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import Check, Status
from tarsrelease.model.verification import INDEXES, LARGEST_MANIFEST, MANIFESTS

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Liar:
    """Answers by path; `seen` is every request's path and Authorization."""

    host: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[tuple[str, str | None]] = field(default_factory=list)

    def says(self, reference: str, content: bytes, kind: str, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[f"/v2/demo/web/{reference}"] = (200, {"Content-Type": kind} | named, content)


@pytest.fixture
def liar() -> Iterator[Liar]:
    liar = Liar()

    class Server(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            liar.seen.append((path, self.headers.get("Authorization")))
            status, headers, content = liar.answers.get(path, (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    liar.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield liar
    server.shutdown()
    server.server_close()
    thread.join()


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def text(value: object) -> bytes:
    return json.dumps(value).encode()


CONFIG = text({"os": "linux", "architecture": "amd64"})
ARM = text({"os": "linux", "architecture": "arm64"})


def manifest_of(config: bytes) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFESTS[0],
        "config": {"digest": digest(config), "size": len(config)},
        "layers": [{"digest": digest(b"layer"), "size": 5}],
    }


MANIFEST = text(manifest_of(CONFIG))
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": INDEXES[0],
    "manifests": [
        {
            "digest": digest(MANIFEST),
            "size": len(MANIFEST),
            "platform": {"os": "linux", "architecture": "amd64"},
        }
    ],
}


def honest(liar: Liar, index: dict[str, Any] = INDEX) -> bytes:
    content = text(index)
    liar.says("manifests/v1", content, INDEXES[0])
    liar.says(f"manifests/{digest(MANIFEST)}", MANIFEST, MANIFESTS[0])
    liar.says(f"blobs/{digest(CONFIG)}", CONFIG, "application/octet-stream")
    return content


def check(liar: Liar, content: bytes, **variables: str) -> Check:
    image = Image(service="web", name=f"{liar.host}/demo/web", tag="v1", digest=digest(content))
    registry = HttpRegistry(variables=variables, timeout=5)
    (found,) = image_checks([image], registry, "", "linux/amd64", layers=False)
    registry.close()
    return found


def test_an_honest_one_passes(liar: Liar) -> None:
    assert check(liar, honest(liar)).status is Status.PASS


def with_entry(**changes: object) -> dict[str, Any]:
    return {**INDEX, "manifests": [{**INDEX["manifests"][0], **changes}]}


@pytest.mark.parametrize(
    ("kind", "headers", "content", "said"),
    [
        (INDEXES[0], {"Docker_Content_Digest": digest(b"")}, text(INDEX), "Docker-Content-Digest"),
        (MANIFESTS[0], {}, text(INDEX), "the registry says it is"),
        ("text/html", {}, text(INDEX), "the media type text/html is not an image's"),
        ("application/json", {}, text(INDEX), "the media type application/json"),
        (INDEXES[0], {}, b"<html>", "is not a manifest"),
        (INDEXES[0], {}, b"[" * 100_000, "is not a manifest"),
        (INDEXES[0], {}, text({**INDEX, "schemaVersion": 1}), "although its media type says so"),
        (INDEXES[0], {}, text({**INDEX, "layers": []}), "although its media type says so"),
        (INDEXES[0], {}, text({**INDEX, "manifests": []}), "no list of descriptors"),
        (INDEXES[0], {}, text({**INDEX, "manifests": INDEX["manifests"] + [1]}), "no list of desc"),
        (INDEXES[0], {}, text(with_entry(size=1)), "with 1 bytes, the registry sent"),
        (INDEXES[0], {}, text(with_entry(digest=digest(b"x"))), "does not exist"),
        (INDEXES[0], {}, text(with_entry(digest="md5:0")), "no list of descriptors"),
        (
            INDEXES[0],
            {},
            text(
                {
                    **INDEX,
                    "manifests": [
                        *INDEX["manifests"],
                        {**INDEX["manifests"][0], "digest": digest(b"x")},
                    ],
                }
            ),
            "several images for linux/amd64",
        ),
    ],
)
def test_a_lie_about_the_tag(
    liar: Liar, kind: str, headers: dict[str, str], content: bytes, said: str
) -> None:
    honest(liar)
    liar.says("manifests/v1", content, kind, **headers)
    found = check(liar, content)
    assert found.status is Status.FAIL
    assert said in found.reason
    assert f"{liar.host}/demo/web:v1" in found.reason


def test_other_content_under_the_platforms_digest(liar: Liar) -> None:
    content = honest(liar)
    other = text(manifest_of(ARM))
    liar.says(f"manifests/{digest(MANIFEST)}", other, MANIFESTS[0])
    found = check(liar, content)
    assert found.status is Status.FAIL
    assert digest(other) in found.reason


def test_an_index_in_an_index(liar: Liar) -> None:
    inner = text(INDEX)
    content = honest(liar, with_entry(digest=digest(inner), size=len(inner)))
    liar.says(f"manifests/{digest(inner)}", inner, INDEXES[0])
    assert "an index in an index" in check(liar, content).reason


@pytest.mark.parametrize("config", [ARM, b"{}", b"no JSON"])
def test_a_configuration_that_is_another(liar: Liar, config: bytes) -> None:
    content = honest(liar)
    liar.says(f"blobs/{digest(CONFIG)}", config, "application/octet-stream")
    found = check(liar, content)
    assert found.status is Status.FAIL
    assert "its configuration" in found.reason


def test_an_image_that_was_built_for_another_platform(liar: Liar) -> None:
    wrong = text(manifest_of(ARM))
    content = honest(liar, with_entry(digest=digest(wrong), size=len(wrong)))
    liar.says(f"manifests/{digest(wrong)}", wrong, MANIFESTS[0])
    liar.says(f"blobs/{digest(ARM)}", ARM, "application/octet-stream")
    found = check(liar, content)
    assert found.status is Status.FAIL
    assert "its configuration is not for linux/amd64" in found.reason


@pytest.mark.parametrize("status", [429, 500, 503])
def test_trouble_is_no_verdict(liar: Liar, status: int) -> None:
    content = honest(liar)
    liar.answers["/v2/demo/web/manifests/v1"] = (status, {}, b"")
    found = check(liar, content)
    assert found.status is Status.SKIPPED
    assert str(status) in found.reason


def test_an_answer_without_end_is_not_read_to_it(liar: Liar) -> None:
    content = honest(liar)
    liar.says("manifests/v1", bytes(LARGEST_MANIFEST + 1), INDEXES[0])
    found = check(liar, content)
    assert found.status is Status.SKIPPED
    assert f"more than {LARGEST_MANIFEST} bytes" in found.reason


def test_it_is_not_followed_for_ever(liar: Liar) -> None:
    content = honest(liar)
    where = {"Location": "/v2/demo/web/manifests/v1"}
    liar.answers["/v2/demo/web/manifests/v1"] = (307, where, b"")
    assert "too many redirects" in check(liar, content).reason


@pytest.mark.parametrize(
    "realm", ["http://evil.example/token", "https://evil.example/token", "file:///etc/passwd", ""]
)
def test_a_password_goes_to_nobody_else(liar: Liar, realm: str) -> None:
    content = honest(liar)
    challenge = {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'}
    liar.answers["/v2/demo/web/manifests/v1"] = (401, challenge, b"")
    found = check(liar, content, **{CREDENTIALS: f"{liar.host}=somebody:secret"})
    assert found.status is Status.SKIPPED
    assert "secret" not in found.reason
    assert all(given is None for _, given in liar.seen)


def test_a_token_stays_with_the_registry_when_it_redirects(liar: Liar) -> None:
    content = honest(liar)
    port = liar.host.partition(":")[2]
    away = {"Location": f"http://localhost:{port}/storage"}
    liar.answers[f"/v2/demo/web/blobs/{digest(CONFIG)}"] = (307, away, b"")
    liar.answers["/storage"] = (200, {}, CONFIG)
    liar.answers["/token"] = (200, {}, text({"access_token": "abc"}))
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{liar.host}/token",service="x"'}
    real = liar.answers["/v2/demo/web/manifests/v1"]
    liar.answers["/v2/demo/web/manifests/v1"] = (401, challenge, b"")
    registry = HttpRegistry(variables={}, timeout=5)
    with pytest.raises(UsageError, match="refused to read"):
        registry.manifest(f"{liar.host}/demo/web", "v1")
    liar.answers["/v2/demo/web/manifests/v1"] = real
    liar.seen.clear()
    image = Image(service="web", name=f"{liar.host}/demo/web", tag="v1", digest=digest(content))
    (found,) = image_checks([image], registry, "", "linux/amd64", layers=False)
    registry.close()
    assert found.status is Status.PASS, found.reason
    assert ("/storage", None) in liar.seen
    assert {given for path, given in liar.seen if path != "/storage"} == {"Bearer abc"}
