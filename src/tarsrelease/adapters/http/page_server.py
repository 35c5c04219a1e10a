"""Serves one page that changes: read-only, by server-sent events.

It answers GET of the page and of its events, and nothing else. The name in the Host header must be
an address or localhost, so that no web page elsewhere can read it by a name of its own (DNS
rebinding).
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tarsrelease.model.errors import UsageError

Render = Callable[[str], str]
"""The whole page, for a nonce of its script."""
_MOST_READERS = 50
_KEEP_ALIVE = 10.0
"""Seconds after which an event is sent even if nothing changed."""


class PageServer(ThreadingHTTPServer):
    """`publish` sends new content to all readers. Raises UsageError if the address is taken."""

    daemon_threads = True

    def __init__(self, host: str, port: int, render: Render) -> None:
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as problem:
            raise UsageError(
                doing=f"serving the page at {host}:{port}",
                found=str(problem),
                expected="an address of this machine with a free port",
                next_step="choose another one with --listen HOST:PORT",
            ) from problem
        self.render = render
        self.readers = threading.BoundedSemaphore(_MOST_READERS)
        self._changed = threading.Condition()
        self._content, self._number = "", 0

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}/"

    def publish(self, content: str) -> None:
        """Send the content to all readers, if it is another one."""
        with self._changed:
            if content == self._content:
                return
            self._content, self._number = content, self._number + 1
            self._changed.notify_all()

    def after(self, number: int) -> tuple[int, str | None]:
        """The next content after this number, or None after a while without a change."""
        with self._changed:
            self._changed.wait_for(lambda: self._number > number, timeout=_KEEP_ALIVE)
            return self._number, self._content if self._number > number else None


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = 30.0
    server_version = "tarsrelease"
    sys_version = ""

    def do_GET(self) -> None:
        """The page, or its events."""
        if not _is_address(self.headers.get("Host", "")):
            self.send_error(403, "The Host header must be an address or localhost")
        elif self.path == "/":
            self._page()
        elif self.path == "/events":
            self._events()
        else:
            self.send_error(404)

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        content = self.server.render(nonce).encode()
        policy = (
            f"default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def _events(self) -> None:
        if not self.server.readers.acquire(blocking=False):
            self.send_error(503, "Too many readers")
            return
        try:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            number = 0
            while True:
                number, content = self.server.after(number)
                news = {"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"}
                if content is not None:
                    news["content"] = content
                self.wfile.write(f"data: {json.dumps(news)}\n\n".encode())
                self.wfile.flush()
        except OSError:
            return  # the reader went away
        finally:
            self.server.readers.release()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _is_address(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False
