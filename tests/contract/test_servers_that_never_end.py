"""Servers that dribble, never stop or ask for patience: every client ends in time, and small."""

from __future__ import annotations

import gzip
import socket
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from unruly_servers import UNRULY, Sends, Server, without_end

from tarsrelease.adapters.channels.channels import Channels
from tarsrelease.adapters.github.api import GitHubReviews
from tarsrelease.adapters.http.client import Client, TooLargeError, retry_after
from tarsrelease.adapters.http.gateway import GatewayWeb
from tarsrelease.adapters.http.number import read_number
from tarsrelease.adapters.prometheus.samples import PrometheusMetrics
from tarsrelease.adapters.registry.manifests import HttpRegistry
from tarsrelease.model.checks import ExternalCheck, NumberSource
from tarsrelease.model.errors import ReleaseError, UnreachableError
from tarsrelease.model.github import GitHub
from tarsrelease.model.metrics_server import Prometheus
from tarsrelease.model.notice import Message
from tarsrelease.model.notifications import Notifications, Slack

SECONDS = 0.6
AT_MOST = 3.0
"""What the server is asked for ends within SECONDS; this is for a busy machine."""


@pytest.fixture(params=UNRULY)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    running = Server(request.param)
    yield running
    running.close()


def ask_registry(server: Server) -> None:
    HttpRegistry(variables={}, timeout=SECONDS).manifest(f"127.0.0.1:{server.port}/a/b", "1")


def ask_token_service(server: Server) -> None:
    challenge = (
        "HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n"
        f'WWW-Authenticate: Bearer realm="{server.url}/token"\r\n\r\n'
    ).encode()

    def sends(connection: socket.socket, _: bytes) -> None:
        connection.sendall(challenge)

    registry = Server(sends)
    try:
        HttpRegistry(variables={}, timeout=SECONDS).manifest(f"127.0.0.1:{registry.port}/a/b", "1")
    finally:
        registry.close()


def ask_metrics(server: Server) -> None:
    PrometheusMetrics(Prometheus(url=server.url, timeout=SECONDS)).series(["up"], 5)


def ask_gateway(server: Server) -> None:
    GatewayWeb(server.url, SECONDS).get("example.org", "/", {})


def ask_number(server: Server) -> None:
    source = NumberSource(url=server.url)
    read_number(ExternalCheck(kind="external", id="a.n", source=source, at_most=1, timeout=SECONDS))


def ask_command(server: Server) -> None:
    """A command of an external check, which fetches the same."""
    fetch = f"import urllib.request as u; print(u.urlopen('{server.url}').read().decode())"
    source = NumberSource(command=(sys.executable, "-c", fetch))
    read_number(ExternalCheck(kind="external", id="a.n", source=source, at_most=1, timeout=SECONDS))


def ask_github(server: Server) -> None:
    GitHubReviews(GitHub(repository="a/b", api=server.url)).private()


def tell_slack(server: Server) -> None:
    settings = Notifications(slack=Slack(webhook_env="HOOK"))
    message = Message(receiver="slack", path="", body={})
    Channels(settings, deadline=SECONDS).deliver(message)


@pytest.mark.parametrize(
    "ask",
    [
        ask_registry,
        ask_token_service,
        ask_metrics,
        ask_gateway,
        ask_number,
        ask_command,
        ask_github,
        tell_slack,
    ],
)
def test_whatever_is_asked_ends_in_time(
    server: Server, ask: Callable[[Server], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", server.url)
    monkeypatch.setenv("GITHUB_TOKEN", "t")
    monkeypatch.setattr("tarsrelease.adapters.github.api._TIMEOUT", SECONDS, raising=False)
    monkeypatch.setattr("tarsrelease.adapters.github.api._PATIENCE", SECONDS, raising=False)
    began = time.monotonic()
    with pytest.raises(ReleaseError) as caught:
        ask(server)
    assert time.monotonic() - began < AT_MOST
    assert isinstance(caught.value, UnreachableError)
    assert not server.read_whole or ask is ask_command


def test_an_answer_that_is_too_large_is_said_and_not_read() -> None:
    running = Server(without_end)
    with pytest.raises(TooLargeError, match="more than 1000 bytes"):
        Client(seconds=5, largest=1000).get(running.url)
    running.close()


def test_a_compressed_answer_is_bounded_by_what_it_unpacks_to() -> None:
    bomb = gzip.compress(bytes(40 * 2**20))

    def sends(connection: socket.socket, _: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
        connection.sendall(head.encode() + bomb)

    running = Server(sends)
    with pytest.raises(TooLargeError):
        Client(seconds=5, largest=2**20).get(running.url)
    running.close()


def busy(asked: str) -> Sends:
    """429 with Retry-After, then 200."""
    answers = iter([f"429 Later\r\nRetry-After: {asked}", "200 OK"])

    def sends(connection: socket.socket, _: bytes) -> None:
        head = f"HTTP/1.1 {next(answers)}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())

    return sends


def test_retry_after_is_honored_within_the_budget() -> None:
    running = Server(busy("1"))
    began = time.monotonic()
    answer = Client(seconds=5).get(running.url, attempts=2, deadline=began + 5)
    assert answer.status == 200
    assert time.monotonic() - began >= 1.0
    running.close()


def test_retry_after_beyond_the_budget_ends_at_once() -> None:
    running = Server(busy("60"))
    began = time.monotonic()
    answer = Client(seconds=5).get(running.url, attempts=2, deadline=began + 5)
    assert answer.status == 429
    assert time.monotonic() - began < AT_MOST
    running.close()


def test_retry_after_is_read_in_both_its_forms() -> None:
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert retry_after({"retry-after": "7"}) == 7
    later = format_datetime(now + timedelta(seconds=9), usegmt=True)
    assert retry_after({"retry-after": later}, now) == 9
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None
