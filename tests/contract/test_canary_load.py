"""Requests of the canary alone: the real load generator against a server that notes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tarsrelease.model.environment import Gateway
from tarsrelease.rehearsal.binaries import resolve
from tarsrelease.rehearsal.canary_load import CanaryLoad
from tarsrelease.rehearsal.load import Aim
from tarsrelease.rehearsal.paths import cache_root


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_they_have_the_header_and_are_sent_only_while_the_canary_has_traffic() -> None:
    seen: list[tuple[str, str | None, str | None]] = []

    class Server(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.append((self.path, self.headers["Host"], self.headers["x-shop-canary"]))
            self.send_response(500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    weight, asked = 1, 0
    gateway = Gateway(
        name="g",
        namespace="g",
        address=f"http://127.0.0.1:{server.server_port}",
        hostnames={"web": "shop.example"},
        canary_header="x-shop-canary",
    )

    def read() -> int:
        nonlocal asked
        asked += 1
        return weight

    def wait_for_readings(count: int) -> None:
        least = asked + count
        until(lambda: asked >= least)

    def quiet() -> bool:
        """No request during a second, in which 50 would come."""
        count = len(seen)
        wait_for_readings(5)
        return len(seen) == count

    program = resolve(cache_root(), print).commands["loadgen"]
    aims = [Aim("shop.example", "/status/500", 50.0)]
    with CanaryLoad(list(program), gateway, aims, read, print):
        wait_for_readings(3)
        assert seen == []
        weight = 10
        until(lambda: len(seen) > 5)
        weight = 0
        until(quiet)
    server.shutdown()
    assert set(seen) == {("/status/500", "shop.example", "always")}
