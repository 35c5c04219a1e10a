"""Tokens that end while a stage is observed; the HTTP server here knows one token at a time."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tarsrelease.adapters.kubernetes.client import POD, KubernetesApi
from tarsrelease.adapters.kubernetes.kubeconfig import configured
from tarsrelease.model.errors import UsageError

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: here
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
contexts: [{{name: here, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {user}}}]
"""
PLUGIN = """\
#!/bin/sh
echo asked >> {folder}/asked
printf '{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",'
printf ' "status": {{"token": "%s"{ends}}}}}' "$(cat {folder}/token)"
"""


@dataclass
class Server:
    """Where the token in force stands in a file, which a plugin or the client may read."""

    folder: Path
    port: int = 0
    answers: list[int] = field(default_factory=list)

    def issue(self, token: str) -> None:
        """From now on only this token is good."""
        (self.folder / "token").write_text(token)

    @property
    def asked(self) -> int:
        """How often the plugin was run."""
        path = self.folder / "asked"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def kubeconfig(self, user: object, monkeypatch: pytest.MonkeyPatch) -> KubernetesApi:
        file = self.folder / "kubeconfig"
        file.write_text(KUBECONFIG.format(port=self.port, user=json.dumps(user)))
        monkeypatch.setenv("KUBECONFIG", str(file))
        return KubernetesApi.connect("here", "default")

    def plugin(self, ends: datetime | None = None) -> object:
        file = self.folder / "plugin"
        announced = f', "expirationTimestamp": "{ends:%Y-%m-%dT%H:%M:%SZ}"' if ends else ""
        file.write_text(PLUGIN.format(folder=self.folder, ends=announced))
        file.chmod(0o755)
        version = "client.authentication.k8s.io/v1"
        return {"exec": {"apiVersion": version, "command": str(file), "interactiveMode": "Never"}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    known = Server(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            good = f"Bearer {(tmp_path / 'token').read_text()}"
            known.answers.append(200 if self.headers["Authorization"] == good else 401)
            body = json.dumps({"items": [], "message": "Unauthorized"}).encode()
            self.send_response(known.answers[-1])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        known.port = listening.server_port
        known.issue("first")
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield known
        listening.shutdown()


def test_a_plugin_is_asked_again_when_its_token_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = server.kubeconfig(server.plugin(), monkeypatch)
    cluster.select(POD)
    cluster.select(POD)
    assert (server.asked, server.answers) == (1, [200, 200])
    server.issue("second")
    assert cluster.select(POD) == []
    assert (server.asked, server.answers) == (2, [200, 200, 401, 200])
    cluster.select(POD)
    assert server.asked == 2


def test_a_plugin_is_asked_again_before_the_end_that_it_announced(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=30)
    cluster = server.kubeconfig(server.plugin(ends), monkeypatch)
    server.issue("second")
    assert cluster.select(POD) == []
    assert server.answers == [200]
    assert server.asked > 1


def test_a_token_file_is_read_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = server.kubeconfig({"tokenFile": str(server.folder / "token")}, monkeypatch)
    cluster.select(POD)
    server.issue("second")
    assert cluster.select(POD) == []
    assert server.answers == [200, 401, 200]


def test_a_token_that_is_wrong_is_tried_twice_and_then_said(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = server.kubeconfig({"token": "first"}, monkeypatch)
    server.issue("second")
    with pytest.raises(UsageError, match="does not accept the credentials"):
        cluster.select(POD)
    assert server.answers == [401, 401]


def test_a_kubeconfig_that_was_written_anew_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(file))
    for number, token in enumerate(("first", "other")):
        user = json.dumps({"token": token})
        file.write_text(KUBECONFIG.format(port=1, user=user))
        os.utime(file, (number, number))
        assert set(configured("here").api_key.values()) == {f"Bearer {token}"}
