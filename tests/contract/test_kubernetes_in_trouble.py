"""API servers, kubeconfigs and exec plugins in trouble: an end in time, a message that helps."""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from unruly_servers import UNRULY, Sends, Server

from tarsrelease.adapters.kubernetes import client, kubeconfig
from tarsrelease.adapters.kubernetes.client import DEPLOYMENT, KubernetesApi
from tarsrelease.model.errors import ReleaseError, UnreachableError, UsageError
from tarsrelease.model.outcome import ExitCode


def use(
    folder: Path, monkeypatch: pytest.MonkeyPatch, url: str, user: dict[str, Any] | None = None
) -> None:
    """A kubeconfig for this server."""
    path = folder / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "users": [{"name": "u", "user": user or {"token": "t"}}],
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(path))


@pytest.mark.parametrize("sends", UNRULY)
def test_an_answer_that_never_ends_is_an_end_in_time(
    sends: Sends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(sends)
    use(tmp_path, monkeypatch, server.url)
    monkeypatch.setattr(client, "_LONGEST", 0.6, raising=False)
    monkeypatch.setattr(client, "_PAUSES", ())
    began = time.monotonic()
    with pytest.raises(UnreachableError):
        KubernetesApi.connect(None, "tars").get(DEPLOYMENT, "web")
    assert time.monotonic() - began < 5.0
    assert not server.read_whole
    server.close()


def saying(body: bytes) -> Sends:
    def sends(connection: socket.socket, _: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    return sends


@pytest.mark.parametrize(
    "body", [b"<html>Please log in</html>", b"[1]", b"", b"null", b"[" * 100_000, b"\xff\xfe"]
)
def test_a_login_page_is_said_to_be_one(
    body: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(saying(body))
    use(tmp_path, monkeypatch, server.url)
    monkeypatch.setattr(client, "_PAUSES", ())
    for ask in (
        lambda api: api.get(DEPLOYMENT, "web"),
        lambda api: api.select(DEPLOYMENT),
        lambda api: api.openapi(),
    ):
        with pytest.raises(UnreachableError, match="not as an API server does") as caught:
            ask(KubernetesApi.connect(None, "tars"))
        assert "log in" in caught.value.detail.next
        assert caught.value.exit_code is ExitCode.UNREACHABLE
    server.close()


def test_a_refusal_that_is_nested_too_deep_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(connection: socket.socket, _: bytes) -> None:
        head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100000\r\n\r\n"
        connection.sendall(head + b"[" * 100_000)

    server = Server(refuses)
    use(tmp_path, monkeypatch, server.url)
    with pytest.raises(ReleaseError) as caught:
        KubernetesApi.connect(None, "tars").openapi()
    assert len(caught.value.detail.found) < 1000
    server.close()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "a: b: c",
        "just text",
        "- a\n- list\n",
        "",
        "\0",
        "current-context: c\ncontexts: 7\n",
        "current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\nclusters: []\n",
        "x: &x [*x]\n",
        "[" * 3000,
    ],
)
def test_a_kubeconfig_that_is_none_is_wrong_configuration(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with pytest.raises(UsageError) as caught:
        KubernetesApi.connect(None, "tars")
    assert "kubeconfig" in caught.value.detail.doing
    assert "\n" not in caught.value.detail.found


def plugin(source: str) -> dict[str, Any]:
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": ["-c", source],
            "env": [{"name": "GIVEN", "value": "yes"}],
            "interactiveMode": "Never",
        }
    }


ANSWER = """
import json, os
secrets = set(os.environ) & {"TARS_DATABASE_DSN", "GITHUB_TOKEN"}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
    "status": {"token": os.environ["GIVEN"] + str(len(secrets))}}))
"""


def test_an_exec_plugin_gives_credentials_and_gets_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(saying(json.dumps({"metadata": {}}).encode()))
    use(tmp_path, monkeypatch, server.url, plugin(ANSWER))
    monkeypatch.setenv("TARS_DATABASE_DSN", "secret")
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    KubernetesApi.connect(None, "tars").get(DEPLOYMENT, "web")
    assert b"authorization: bearer yes0" in server.requests[0].lower()
    server.close()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import sys; sys.exit('the SSO session has expired')", "the SSO session has expired"),
        ("print('not json')", "is not JSON"),
        (ANSWER.replace('"token"', '"other"'), "neither a token nor a certificate"),
        ("import time; time.sleep(20)", "no answer within"),
        ("while True: print('x' * 65536)", "printed more than"),
        ("print('[' * 100000)", "is not JSON"),
        ("print('[]')", "no ExecCredential"),
        (ANSWER.replace("k8s.io/v1", "k8s.io/v2"), "is not of client"),
    ],
)
def test_an_exec_plugin_that_fails_is_not_a_missing_right(
    source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(tmp_path, monkeypatch, "http://127.0.0.1:9", plugin(source))
    monkeypatch.setattr(kubeconfig, "_LONGEST_LOGIN", 1.0 if "sleep" in source else 20.0)
    with pytest.raises(ReleaseError, match=said) as caught:
        KubernetesApi.connect(None, "tars")
    assert isinstance(caught.value, UsageError)
    assert "log in" in caught.value.detail.next


def test_an_exec_plugin_that_never_ends_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({str(tmp_path / "pids")!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(60)
"""
    use(tmp_path, monkeypatch, "http://127.0.0.1:9", plugin(source))
    monkeypatch.setattr(kubeconfig, "_LONGEST_LOGIN", 3.0)
    with pytest.raises(UsageError, match="no answer within"):
        KubernetesApi.connect(None, "tars")
    ends = time.monotonic() + 10
    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) == 2
    while any(runs(pid) for pid in pids):
        assert time.monotonic() < ends, "it still runs"


def runs(pid: str) -> bool:
    """Whether the process is there, and not only waits for its parent to notice its end."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
