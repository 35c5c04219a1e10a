"""What the metrics adapter makes of servers that fail: each way of failing, played for real."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from tarsrelease.adapters.prometheus.samples import PrometheusMetrics
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.metrics_server import Prometheus

SELECTOR = 'requests_total{service=~"api"}'
MATRIX = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [{"metric": {"pod": "p"}, "values": [[1.5, "3"], [6.5, "4"]]}],
    },
}

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers as the test says, over connections that are kept."""

    protocol_version = "HTTP/1.1"
    answer: Answer
    seen: list[dict[str, str]]

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        form = parse_qs(self.rfile.read(length).decode())
        token = self.headers.get("Authorization", "")
        type(self).seen.append(
            {"query": form["query"][0], "path": self.path, "token": token}
            | {"connection": str(self.client_address)}
        )
        type(self).answer(self)

    def log_message(self, *_: object) -> None:
        return

    def give(self, status: int, body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)


def giving(status: int, body: object, length: int | None = None) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda handler: handler.give(status, raw, length)


@pytest.fixture
def handler() -> type[Handler]:
    class Own(Handler):
        answer = staticmethod(giving(200, MATRIX))
        seen: list[dict[str, str]] = []

    return Own


@pytest.fixture
def url(handler: type[Handler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def adapter(url: str, timeout: float = 1.0, token_env: str | None = None) -> PrometheusMetrics:
    return PrometheusMetrics(Prometheus(url=url, timeout=timeout, token_env=token_env))


def test_the_request_is_an_instant_query_for_a_range(handler: type[Handler], url: str) -> None:
    found = adapter(f"{url}/prefix/").series([SELECTOR], 12.2)
    assert handler.seen[0]["path"] == "/prefix/api/v1/query"
    assert handler.seen[0]["query"] == f"{SELECTOR}[13s]"
    assert [sample.value for sample in found[0][0].samples] == [3, 4]


def test_the_token_is_sent_and_must_be_there(
    handler: type[Handler], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METRICS_TOKEN", "secret\n")
    adapter(url, token_env="METRICS_TOKEN").series([SELECTOR], 5)
    assert handler.seen[0]["token"] == "Bearer secret"
    monkeypatch.delenv("METRICS_TOKEN")
    with pytest.raises(UsageError, match="METRICS_TOKEN"):
        adapter(url, token_env="METRICS_TOKEN")


@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_query_is_a_mistake_of_ours(
    handler: type[Handler], url: str, status: int
) -> None:
    handler.answer = staticmethod(
        giving(status, {"status": "error", "errorType": "bad_data", "error": "what is this"})
    )
    with pytest.raises(UsageError, match="what is this") as caught:
        adapter(url).series([SELECTOR], 5)
    assert SELECTOR in caught.value.detail.doing


@pytest.mark.parametrize("status", [401, 403])
def test_missing_rights_name_the_token(handler: type[Handler], url: str, status: int) -> None:
    handler.answer = staticmethod(giving(status, b"go away"))
    with pytest.raises(UsageError) as caught:
        adapter(url).series([SELECTOR], 5)
    assert "token_env" in caught.value.detail.next


def test_a_wrong_address_is_a_mistake_of_ours(handler: type[Handler], url: str) -> None:
    handler.answer = staticmethod(giving(404, b"404 page not found"))
    with pytest.raises(UsageError, match="404"):
        adapter(url).series([SELECTOR], 5)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_unreachable(handler: type[Handler], url: str, status: int) -> None:
    handler.answer = staticmethod(giving(status, b"Service Unavailable"))
    with pytest.raises(UnreachableError, match=str(status)):
        adapter(url).series([SELECTOR], 5)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>a login page</html>",
        json.dumps(MATRIX).encode()[:-20],
        json.dumps({"status": "error", "error": "cut"}).encode(),
        json.dumps({"status": "success"}).encode(),
        json.dumps([1, 2]).encode(),
        json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}}).encode(),
        json.dumps(
            {"status": "success", "data": {"resultType": "matrix", "result": [{"x": 1}]}}
        ).encode(),
        json.dumps(MATRIX | {"warnings": ["1 store did not answer"]}).encode(),
    ],
    ids=["empty", "html", "cut", "error", "no data", "list", "vector", "shape", "warning"],
)
def test_what_is_no_complete_answer_is_none(handler: type[Handler], url: str, body: bytes) -> None:
    handler.answer = staticmethod(giving(200, body))
    with pytest.raises(UnreachableError):
        adapter(url).series([SELECTOR], 5)


def test_a_body_that_ends_too_soon_is_none(handler: type[Handler], url: str) -> None:
    def short(own: Handler) -> None:
        own.give(200, json.dumps(MATRIX).encode(), length=10_000)
        own.close_connection = True

    handler.answer = staticmethod(short)
    with pytest.raises(UnreachableError):
        adapter(url).series([SELECTOR], 5)


def test_infos_are_no_warnings(handler: type[Handler], url: str) -> None:
    handler.answer = staticmethod(
        giving(200, MATRIX | {"infos": ["metric might not be a counter"]})
    )
    assert adapter(url).series([SELECTOR], 5)[0]


def test_a_server_that_hangs_is_given_up_in_time(handler: type[Handler], url: str) -> None:
    let_go = threading.Event()
    handler.answer = staticmethod(lambda own: let_go.wait(10) and None)
    started = time.monotonic()
    with pytest.raises(UnreachableError, match="in time"):
        adapter(url, timeout=0.5).series([SELECTOR, SELECTOR, SELECTOR], 5)
    assert time.monotonic() - started < 1.2
    let_go.set()


def test_a_server_that_dribbles_is_given_up_in_time(handler: type[Handler], url: str) -> None:
    """Each byte comes well within any read time-out; the whole does not."""
    let_go = threading.Event()

    def dribble(own: Handler) -> None:
        own.send_response(200)
        own.send_header("Content-Length", "10000")
        own.end_headers()
        try:
            while not let_go.wait(0.1):
                own.wfile.write(b" ")
                own.wfile.flush()
        except OSError:
            return

    handler.answer = staticmethod(dribble)
    started = time.monotonic()
    with pytest.raises(UnreachableError, match="in time"):
        adapter(url, timeout=0.5).series([SELECTOR], 5)
    assert time.monotonic() - started < 1.2
    let_go.set()


def test_nobody_listening_is_known_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(UnreachableError, match="ConnectError"):
        adapter(f"http://127.0.0.1:{port}", timeout=5.0).series([SELECTOR], 5)
    assert time.monotonic() - started < 1


def test_selectors_are_asked_side_by_side(handler: type[Handler], url: str) -> None:
    together = threading.Barrier(4)

    def at_once(own: Handler) -> None:
        together.wait(5)
        own.give(200, json.dumps(MATRIX).encode())

    handler.answer = staticmethod(at_once)
    assert len(adapter(url, timeout=4.0).series([SELECTOR] * 4, 5)) == 4


def test_one_failing_selector_fails_the_look(handler: type[Handler], url: str) -> None:
    def sometimes(own: Handler) -> None:
        if "second" in own.seen[-1]["query"] and len(own.seen) == 2:
            own.give(503, b"not now")
        else:
            own.give(200, json.dumps(MATRIX).encode())

    handler.answer = staticmethod(sometimes)
    metrics = adapter(url)
    metrics.series(["first{}"], 5)
    with pytest.raises(UnreachableError):
        metrics.series(["second{}"], 5)


def test_connections_are_kept_and_a_closed_one_is_opened_again(
    handler: type[Handler], url: str
) -> None:
    metrics = adapter(url)
    for _ in range(3):
        metrics.series([SELECTOR], 5)
    assert len({each["connection"] for each in handler.seen}) == 1

    def drop_first(own: Handler) -> None:
        if len(own.seen) == 4:
            own.close_connection = True  # ends without an answer, as after a restart
        else:
            own.give(200, json.dumps(MATRIX).encode())

    handler.answer = staticmethod(drop_first)
    assert metrics.series([SELECTOR], 5)[0]
    assert len({each["connection"] for each in handler.seen}) == 2


def test_the_servers_time(handler: type[Handler], url: str) -> None:
    answer = {"status": "success", "data": {"resultType": "scalar", "result": [17.25, "17.25"]}}
    handler.answer = staticmethod(giving(200, answer))
    assert adapter(url).server_time() == 17.25
    handler.answer = staticmethod(giving(200, MATRIX))
    with pytest.raises(UnreachableError, match="scalar"):
        adapter(url).server_time()


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert adapter(url).series([SELECTOR], 5)[0]
