"""The bundle's own suite against the real services: 1.0.0 fails by its five defects, 1.0.1 passes.

The gateway is a plain relay that chooses the service by path; what Prometheus would say of the
worker's memory is read from the worker itself.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from test_example_services import World, world

from tarsrelease.adapters.files.configuration import load_environment
from tarsrelease.adapters.pytest.suite import PytestSuite
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Status
from tarsrelease.model.suite import SuiteResult

__all__ = ["world"]
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DEFECTS = {
    "test_tars_1001_reconnection_is_enabled",
    "test_tars_1001_a_lost_session_is_taken_up_again",
    "test_tars_1002_dashboard_loads_within_3_s[tars-evaluation]",
    "test_tars_1003_missions_are_found_within_50_ms",
    "test_tars_1004_recent_traces_have_both_ids",
    "test_tars_1004_all_traces_are_covered",
    "test_tars_1005_ppo_memory",
}
ROUTES = (
    (re.compile(r"/api/v1/(websocket|agents)|/ws"), "orchestration-agent"),
    (re.compile(r"/api/v1/(traces|evaluations)"), "insight-engine"),
    (re.compile(r"/"), "dashboard-api"),
)


def relay(client: socket.socket, world: World, version: str) -> None:
    """One request of one connection, to the service that its path leads to."""
    with client:
        head = b""
        while b"\r\n\r\n" not in head:
            more = client.recv(65536)
            if not more:
                return
            head += more
        line, _, rest = head.partition(b"\r\n")
        path = line.split()[1].decode()
        service = next(name for pattern, name in ROUTES if pattern.match(path))
        if b"upgrade: websocket" not in rest.lower():
            rest = re.sub(rb"(?im)^connection:[^\r]*", b"Connection: close", rest)
        address = urlsplit(world.urls[version, service])
        assert address.hostname
        assert address.port
        with socket.create_connection((address.hostname, address.port)) as server:
            server.sendall(line + b"\r\n" + rest)
            threading.Thread(target=pipe, args=(client, server), daemon=True).start()
            pipe(server, client)


def pipe(one: socket.socket, other: socket.socket) -> None:
    try:
        while more := one.recv(65536):
            other.sendall(more)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def gateway(world: World, version: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=relay, args=(client, world, version), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def prometheus(world: World, version: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "ppo_buffer_bytes" in self.path
            text = world.get(version, "ppo-agent", "/metrics").text
            found = re.search(r"^ppo_buffer_bytes (\S+)", text, re.MULTILINE)
            assert found
            result = [{"metric": {}, "value": [0, found[1]]}]
            body = json.dumps({"status": "success", "data": {"result": result}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def run(world: World, version: str) -> SuiteResult:
    place = load_environment(str(ROOT / "environments" / "rehearsal.yaml"))
    with gateway(world, version) as web, prometheus(world, version) as metrics:
        place = place.model_copy(
            update={
                "gateway": place.gateway.model_copy(update={"address": web}),
                "prometheus": place.prometheus.model_copy(update={"url": metrics}),
            }
        )
        return PytestSuite(ROOT / "release" / "v1_0_1", place).run((), Track.STABLE)


def failed(result: SuiteResult) -> set[str]:
    return {test.name for test in result.tests if test.status is not Status.PASS}


def test_the_new_version_passes_every_test(world: World) -> None:
    result = run(world, "1.0.1")
    assert result.trouble is None
    assert failed(result) == set()
    assert len(result.tests) > 25


def test_the_old_version_fails_by_its_defects_and_its_version(world: World) -> None:
    result = run(world, "1.0.0")
    said = {name for name in failed(result) if "released_version" not in name}
    assert said == DEFECTS
    assert len(failed(result) - DEFECTS) == 3
