"""The receivers of messages during a rehearsal.

Slack (bot and webhook), PagerDuty, Statuspage and a signed webhook by HTTP, and a mail server. They
hold each message to its provider's rules and keep it. A receiver can be told to misbehave.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import jsonschema

from tarsrelease.rehearsal import provider_forms as forms
from tarsrelease.rehearsal.mail_server import MailServer, mail_server

PAGE = "rehearsal"
CHANNELS = (
    ("#tars-deployments", "technical"),
    ("#tars-support", "support"),
    ("#tars-leadership", "summary"),
)
NAMES = ("slack", "slack webhook", "pagerduty", "statuspage", "email", "webhook teams")
SIGNATURE = "X-Tarsrelease-Signature-256"
_LOGIN = ("release@tars.example", "mail-password")
Trouble = Literal["429", "420", "500", "time-out", "reset", "invalid-json", "401", "drip"]
TROUBLES: tuple[Trouble, ...] = (
    *("429", "420", "500", "time-out"),
    *("reset", "invalid-json", "401", "drip"),
)


@dataclass(frozen=True, slots=True)
class Received:
    """A message that a receiver accepted; `body` is what the provider would keep."""

    at: datetime
    receiver: str
    path: str
    body: Mapping[str, Any]


@dataclass(slots=True)
class Receivers:
    """All receivers; `trouble` names those that misbehave, by `slack`, `email` and so on.

    `refused` has the reasons of messages that break a provider's rule. `tries` counts requests.
    """

    url: str = ""
    mail: MailServer | None = None
    received: list[Received] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    tries: list[str] = field(default_factory=list)
    trouble: dict[str, Trouble] = field(default_factory=dict)
    incidents: list[dict[str, Any]] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, receiver: str, path: str, body: Mapping[str, Any]) -> None:
        """Keep an accepted message."""
        with self.lock:
            self.received.append(Received(datetime.now(UTC), receiver, path, body))

    def of(self, receiver: str) -> list[Mapping[str, Any]]:
        """The messages of one receiver, in their order."""
        with self.lock:
            return [each.body for each in self.received if each.receiver == receiver]

    def settings(self) -> dict[str, Any]:
        """What the environment file says under `notifications`."""
        assert self.mail is not None  # noqa: S101
        return {
            "slack": {
                "webhook_env": "REHEARSAL_SLACK_WEBHOOK",
                "token_env": "REHEARSAL_SLACK_TOKEN",
                "channels": [{"name": name, "detail": detail} for name, detail in CHANNELS],
                "url": f"{self.url}/api",
            },
            "pagerduty": {"routing_key_env": "REHEARSAL_PAGERDUTY_KEY", "url": self.url},
            "statuspage": {
                "page": PAGE,
                "token_env": "REHEARSAL_STATUSPAGE_TOKEN",
                "url": self.url,
            },
            "email": {
                "host": "127.0.0.1",
                "port": self.mail.port,
                "sender": "release@tars.example",
                "to": ["team@tars.example"],
                "customers": ["customers@tars.example"],
                "username_env": "REHEARSAL_MAIL_USER",
                "password_env": "REHEARSAL_MAIL_PASSWORD",
                "ca_file": str(self.mail.authority),
            },
            "webhooks": [
                {
                    "name": "teams",
                    "url_env": "REHEARSAL_HOOK",
                    "secret_env": "REHEARSAL_HOOK_SECRET",
                    "form": "json",
                }
            ],
        }

    def write(self, file: Path) -> None:
        """Write all messages to a file, a line each."""
        with self.lock:
            lines = [
                json.dumps(
                    {
                        "at": each.at.isoformat(),
                        "receiver": each.receiver,
                        "path": each.path,
                        "body": each.body,
                    },
                    ensure_ascii=False,
                )
                for each in sorted(self.received, key=lambda each: each.at)
            ]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@contextmanager
def receivers(trouble: Trouble | None = None) -> Iterator[Receivers]:
    """Running receivers on this machine; with `trouble`, all of them misbehave from the start."""
    found = Receivers(trouble=dict.fromkeys(NAMES, trouble) if trouble else {})
    with (
        TemporaryDirectory(prefix="tarsrelease-mail-") as folder,
        _Server(found) as server,
        mail_server(Path(folder), _LOGIN) as mail,
    ):
        found.url, found.mail = f"http://127.0.0.1:{server.server_address[1]}", mail
        mail.taken = lambda body: found.keep("email", "", body)
        mail.trouble = lambda: found.trouble.get("email")
        found.secrets = {
            "REHEARSAL_SLACK_WEBHOOK": f"{found.url}/services/T0/B0/{secrets.token_hex(12)}",
            "REHEARSAL_SLACK_TOKEN": f"xoxb-{secrets.token_hex(12)}",
            "REHEARSAL_PAGERDUTY_KEY": secrets.token_hex(16),
            "REHEARSAL_STATUSPAGE_TOKEN": secrets.token_hex(16),
            "REHEARSAL_HOOK": f"{found.url}/hooks/{secrets.token_hex(12)}",
            "REHEARSAL_HOOK_SECRET": secrets.token_hex(16),
            "REHEARSAL_MAIL_USER": _LOGIN[0],
            "REHEARSAL_MAIL_PASSWORD": _LOGIN[1],
        }
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, found: Receivers) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.found = found

    def handle_error(self, *_: object) -> None:
        """A client that went away is no error."""


class _RefusedError(Exception):
    """The message breaks a rule; carries status and answer."""

    def __init__(self, status: int, said: object) -> None:
        super().__init__(str(said))
        self.status, self.said = status, said


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30.0

    def do_GET(self) -> None:
        """Read a page or its incidents."""
        self._answer(None)

    def do_POST(self) -> None:
        """Take a message."""
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def do_PATCH(self) -> None:
        """Take an update."""
        self.do_POST()

    def _answer(self, content: bytes | None) -> None:
        found, receiver = self.server.found, self._receiver()
        with found.lock:
            found.tries.append(receiver)
            trouble = found.trouble.get(receiver) or found.trouble.get(receiver.split()[0])
        if trouble is not None:
            return self._misbehave(trouble)
        try:
            status, said = self._take(receiver, content)
        except (_RefusedError, jsonschema.ValidationError, ValueError, LookupError) as problem:
            found.refused.append(f"{receiver}: {str(problem)[:300]}")
            refused = problem if isinstance(problem, _RefusedError) else None
            said = refused.said if refused else {"error": str(problem)[:300]}
            status = refused.status if refused else 400
        return self._send(status, said)

    def _receiver(self) -> str:
        for begins, name in (("/v1/pages/", "statuspage"), ("/v2/", "pagerduty")):
            if self.path.startswith(begins):
                return name
        if self.path.startswith("/hooks/"):
            return "webhook teams"
        return "slack webhook" if self.path.startswith("/services/") else "slack"

    def _take(self, receiver: str, content: bytes | None) -> tuple[int, object]:
        body: Any = None if content is None else json.loads(content)
        match receiver:
            case "statuspage":
                return self._statuspage(body)
            case "pagerduty":
                return self._pagerduty(body)
            case "webhook teams":
                return self._webhook(content or b"", body)
            case "slack webhook":
                return self._slack_webhook(body)
        return self._slack(body)

    def _slack(self, body: dict[str, Any]) -> tuple[int, object]:
        found = self.server.found
        if self.headers["Authorization"] != f"Bearer {found.secrets['REHEARSAL_SLACK_TOKEN']}":
            return 200, {"ok": False, "error": "invalid_auth"}
        if self.path == "/api/auth.test":
            return 200, {"ok": True, "user": "tarsrelease"}
        try:
            jsonschema.validate(body, forms.POST_MESSAGE)
        except jsonschema.ValidationError as problem:
            found.refused.append(f"slack: {problem.message[:300]}")
            return 200, {"ok": False, "error": "invalid_blocks"}
        name = f"slack {body['channel']}"
        thread = body.get("thread_ts")
        if thread is not None and thread not in {each["ts"] for each in found.of(name)}:
            return 200, {"ok": False, "error": "thread_not_found"}
        ts = f"{time.time():.6f}"
        found.keep(name, self.path, {**body, "ts": ts})
        return 200, {"ok": True, "channel": body["channel"], "ts": ts}

    def _slack_webhook(self, body: dict[str, Any]) -> tuple[int, object]:
        found = self.server.found
        if f"{found.url}{self.path}" != found.secrets["REHEARSAL_SLACK_WEBHOOK"]:
            raise _RefusedError(404, "no_service")
        jsonschema.validate(body, forms.SLACK)
        found.keep("slack", "", body)
        return 200, "ok"

    def _pagerduty(self, body: dict[str, Any]) -> tuple[int, object]:
        found = self.server.found
        jsonschema.validate(body, forms.FORMS[self.path])
        if body["routing_key"] != found.secrets["REHEARSAL_PAGERDUTY_KEY"]:
            raise _RefusedError(400, {"status": "invalid event"})
        found.keep("pagerduty", self.path, {k: v for k, v in body.items() if k != "routing_key"})
        return 202, {"status": "success", "message": "Event processed"}

    def _statuspage(self, body: dict[str, Any] | None) -> tuple[int, object]:
        found = self.server.found
        if self.headers["Authorization"] != f"OAuth {found.secrets['REHEARSAL_STATUSPAGE_TOKEN']}":
            raise _RefusedError(401, {"error": "Could not authenticate"})
        path = self.path.partition("?")[0].removeprefix(f"/v1/pages/{PAGE}")
        if body is None:
            return 200, {"": {"name": "T.A.R.S. status"}, "/components": []}.get(
                path, found.incidents
            )
        new = self.command == "POST"
        jsonschema.validate(body, forms.statuspage(("name",) if new else ()))
        given = body["incident"]
        if new:
            found.incidents.insert(0, {"id": f"i{len(found.incidents)}", **given})
            kept = found.incidents[0]
        else:
            kept = next(each for each in found.incidents if each["id"] == path.rpartition("/")[2])
            if not forms.allowed(kept["status"], given["status"]):
                raise _RefusedError(422, {"error": f"not after {kept['status']}"})
            kept.update(given)
        found.keep("statuspage", path, {"name": kept["name"], **given})
        return 201 if new else 200, kept

    def _webhook(self, content: bytes, body: dict[str, Any]) -> tuple[int, object]:
        found = self.server.found
        key = found.secrets["REHEARSAL_HOOK_SECRET"].encode()
        expected = f"sha256={hmac.new(key, content, hashlib.sha256).hexdigest()}"
        if not hmac.compare_digest(self.headers.get(SIGNATURE, ""), expected):
            raise _RefusedError(401, {"error": "the signature is wrong"})
        found.keep("webhook teams", "", body)
        return 200, {}

    # Misbehaviour: the message is never taken

    def _misbehave(self, trouble: Trouble) -> None:
        match trouble:
            case "429" | "420":
                self._send(int(trouble), {"error": "slow down"}, {"Retry-After": "1"})
            case "500":
                self._send(500, {"error": "oops"})
            case "401":
                self._send(401, {"error": "who are you"})
            case "invalid-json":
                self._send(200, "<html>a proxy's page</html>")
            case "reset":
                gone = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, gone)
                self.connection.close()
            case "time-out":
                self._silent()
            case "drip":
                self._drip()

    def _silent(self) -> None:
        """Until the client gives up."""
        self.connection.settimeout(20.0)
        with suppress(OSError):
            self.connection.recv(1)
        self.close_connection = True

    def _drip(self) -> None:
        with suppress(OSError):
            for byte in b"HTTP/1.1 503 Service Unavailable\r\n\r\n":
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(1.0)
        self.close_connection = True

    def _send(self, status: int, said: object, headers: Mapping[str, str] | None = None) -> None:
        content = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
