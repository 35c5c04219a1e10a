"""Statuspage by its published rules: fields, statuses, order (developer.statuspage.io)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jsonschema

from tarsrelease.rehearsal.provider_forms import allowed, statuspage


class Statuspage(ThreadingHTTPServer):
    """`busy` is how many of the next requests are answered with that status."""

    def __init__(self, page: str, token: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.page, self.token = page, token
        self.incidents: list[dict[str, Any]] = []
        self.history: list[tuple[str, str]] = []
        self.busy: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Statuspage

    def do_GET(self) -> None:
        self.answer(None)

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def do_PATCH(self) -> None:
        self.do_POST()

    def answer(self, content: bytes | None) -> None:
        if self.server.busy:
            return self.send(self.server.busy.pop(0), {"error": "slow down"})
        if self.headers["Authorization"] != f"OAuth {self.server.token}":
            return self.send(401, {"error": "Could not authenticate"})
        path = self.path.partition("?")[0].removeprefix(f"/v1/pages/{self.server.page}")
        if content is None:
            known = {"": {"name": "Shop status"}, "/components": [{"id": "c1", "name": "API"}]}
            return self.send(200, known.get(path, self.server.incidents))
        try:
            jsonschema.validate(
                json.loads(content), statuspage(("name",) if path == "/incidents" else ())
            )
            return self.send(200, self.change(path, json.loads(content)["incident"]))
        except (jsonschema.ValidationError, ValueError) as problem:
            return self.send(422, {"error": str(problem)})

    def change(self, path: str, given: dict[str, Any]) -> dict[str, Any]:
        incidents = self.server.incidents
        if self.command == "POST":
            incidents.insert(0, {"id": f"i{len(incidents)}", **given})
            found = incidents[0]
        else:
            found = next(each for each in incidents if each["id"] == path.rpartition("/")[2])
            if not allowed(found["status"], given["status"]):
                raise ValueError(f"{found['status']} cannot become {given['status']}")
            found.update(given)
        self.server.history.append((found["name"], found["status"]))
        return found

    def send(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        if status in (420, 429):
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def statuspage_server(page: str, token: str) -> Iterator[Statuspage]:
    """A running one."""
    with Statuspage(page, token) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
