"""A proxy in front of a real Prometheus that behaves as other back ends do, or fails in their ways.

What each back end does is written after its own documentation and sources: Thanos' querier
(partial_response, dedup, replica labels, 422 for a store that is away), Mimir's tenant header,
VictoriaMetrics' deny_partial_response, isPartial and latency offset.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import httpx

Form = dict[str, str]
Headers = Mapping[str, str]
Reply = tuple[int, bytes]
Behaviour = Callable[["Front", Form, Headers], Reply]


@dataclass
class Front:
    """The proxy; `behave` makes the reply. `down` says that one of the stores is away."""

    upstream: str
    behave: Behaviour
    down: bool = False
    url: str = ""
    forms: list[Form] = field(default_factory=list)
    client: httpx.Client = field(
        default_factory=lambda: httpx.Client(verify=False, trust_env=False, timeout=10.0)
    )

    def forward(self, form: Form) -> Reply:
        """What the real Prometheus answers."""
        answer = self.client.post(f"{self.upstream}/api/v1/query", data=form)
        return answer.status_code, answer.content

    def edited(self, form: Form, edit: Callable[[dict[str, Any]], None]) -> Reply:
        """The real answer with a change."""
        status, body = self.forward(form)
        answer = json.loads(body)
        edit(answer)
        return status, json.dumps(answer).encode()


@contextmanager
def front(upstream: str, behave: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[Front]:
    """A running proxy."""
    state = Front(upstream, behave)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            form = dict(parse_qsl(self.rfile.read(length).decode()))
            state.forms.append(form)
            status, body = state.behave(state, dict(form), self.headers)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            return  # a refused handshake, or a client that gave up: the test sees its side

    server = Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    state.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def as_prometheus(own: Front, form: Form, headers: Headers) -> Reply:
    """The real one."""
    return own.forward(form)


def as_thanos(own: Front, form: Form, headers: Headers) -> Reply:
    """Two replicas of everything; one of them may be away."""
    partial = form.pop("partial_response", "true") == "true"
    dedup = form.pop("dedup", "true") == "true"
    if form.pop("max_source_resolution", "5m") != "0s":
        form["query"] = "absent_over_time(downsampled[1m])"  # no raw samples
    if own.down and not partial:
        return 422, json.dumps(
            {
                "status": "error",
                "errorType": "execution",
                "error": 'expanding series: fetch series for {replica="b"}: no such host',
            }
        ).encode()

    def edit(answer: dict[str, Any]) -> None:
        if own.down:
            answer["warnings"] = ['fetch series for {replica="b"}: no such host']
            answer["data"]["result"] = answer["data"]["result"][:1]
        if not dedup:
            answer["data"]["result"] = [
                each | {"metric": each["metric"] | {"replica": replica}}
                for each in answer["data"]["result"]
                for replica in "ab"
            ]

    return own.edited(form, edit)


def as_mimir(own: Front, form: Form, headers: Headers) -> Reply:
    """Two tenants; only `tars` has the series."""
    tenant = headers.get("X-Scope-OrgID")
    if tenant is None:
        return 401, b"no org id\n"
    if "tars" not in tenant.split("|"):
        return own.edited(form, lambda answer: answer["data"].update(result=[]))
    return own.forward(form)


def as_victoriametrics(own: Front, form: Form, headers: Headers) -> Reply:
    """The newest 30 s are held back without nocache; a store may be away."""
    deny = form.pop("deny_partial_response", "0") == "1"
    if form.pop("nocache", "0") != "1":
        form["time"] = str(time.time() - 30)
    if own.down and deny:
        text = "cannot fetch data from vmstorage-1: connection refused"
        return 503, json.dumps({"status": "error", "errorType": "503", "error": text}).encode()
    return own.edited(form, lambda answer: answer.update(isPartial=own.down))
