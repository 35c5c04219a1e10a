"""PagerDuty's REST API by its published rules (developer.pagerduty.com; PagerDuty/api-schema).

`GET /incidents` and `GET /oncalls`: which parameters they take, and the shape of the answers: lists
in pages with limit, offset and more; references with type, id and summary.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema

TIME = {"type": ["string", "null"], "format": "date-time"}


def reference(kind: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["id", "type"],
        "properties": {
            "id": {"type": "string"},
            "type": {"const": f"{kind}_reference"},
            "summary": {"type": ["string", "null"]},
            "self": {"type": ["string", "null"]},
            "html_url": {"type": ["string", "null"]},
        },
        "additionalProperties": False,
    }


ON_CALL = {
    "type": "object",
    "required": ["escalation_policy", "user", "escalation_level"],
    "properties": {
        "escalation_policy": reference("escalation_policy"),
        "user": reference("user"),
        "schedule": {"oneOf": [reference("schedule"), {"type": "null"}]},
        "escalation_level": {"type": "integer"},
        "start": TIME,
        "end": TIME,
    },
    "additionalProperties": False,
}
INCIDENT = {
    "type": "object",
    "required": ["id", "type", "status"],
    "properties": {
        "id": {"type": "string"},
        "type": {"const": "incident"},
        "summary": {"type": ["string", "null"]},
        "title": {"type": "string"},
        "status": {"enum": ["triggered", "acknowledged", "resolved"]},
        "html_url": {"type": ["string", "null"]},
        "service": reference("service"),
        "urgency": {"enum": ["high", "low"]},
        "created_at": TIME,
    },
    "additionalProperties": False,
}
PAGED = {"limit", "offset", "total"}
TAKES = {
    "/incidents": PAGED | {"statuses[]", "service_ids[]", "urgencies[]", "since", "until"},
    "/oncalls": PAGED | {"escalation_policy_ids[]", "schedule_ids[]", "since", "until", "earliest"},
}
ITEMS = {"/incidents": INCIDENT, "/oncalls": ON_CALL}
ACCEPT = "application/vnd.pagerduty+json;version=2"


class PagerDutyApi(ThreadingHTTPServer):
    """`asked` are the queries; `busy` is how many of the next ones get that status."""

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.token = token
        self.entries: dict[str, list[dict[str, Any]]] = {"/incidents": [], "/oncalls": []}
        self.asked: list[list[tuple[str, str]]] = []
        self.busy: list[int] = []
        self.pages_of = 2

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: PagerDutyApi

    def do_GET(self) -> None:
        if self.server.busy:
            return self.send(self.server.busy.pop(0), {"error": {"message": "later", "code": 2020}})
        if self.headers["Authorization"] != f"Token token={self.server.token}":
            return self.send(401, {"error": {"message": "Unauthorized", "code": 2006}})
        parts = urlsplit(self.path)
        query = parse_qsl(parts.query, strict_parsing=True)
        self.server.asked.append(query)
        wrong = {name for name, _ in query} - TAKES.get(parts.path, set())
        times = [
            datetime.fromisoformat(value) for name, value in query if name in ("since", "until")
        ]
        if wrong or self.headers["Accept"] != ACCEPT or (times and times[0] >= times[1]):
            return self.send(400, {"error": {"message": f"Invalid: {wrong}", "code": 2001}})
        return self.send(200, self.page(parts.path, dict(query), query))

    def page(self, path: str, last: dict[str, str], query: list[tuple[str, str]]) -> dict[str, Any]:
        found = self.server.entries[path]
        for each in found:
            jsonschema.validate(each, ITEMS[path])
        statuses = {value for name, value in query if name == "statuses[]"}
        services = {value for name, value in query if name == "service_ids[]"}
        policies = {value for name, value in query if name == "escalation_policy_ids[]"}
        kept = [
            each
            for each in found
            if (not statuses or each["status"] in statuses)
            and (not services or each["service"]["id"] in services)
            and (not policies or each["escalation_policy"]["id"] in policies)
        ]
        offset, limit = int(last["offset"]), min(int(last["limit"]), self.server.pages_of)
        return {
            path.lstrip("/"): kept[offset : offset + limit],
            "limit": limit,
            "offset": offset,
            "more": offset + limit < len(kept),
            "total": None,
        }

    def send(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def pagerduty_api(token: str) -> Iterator[PagerDutyApi]:
    """A running one."""
    with PagerDutyApi(token) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
