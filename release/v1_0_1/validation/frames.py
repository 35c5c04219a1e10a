"""A WebSocket client of few lines (RFC 6455), on the stream that httpx leaves after a handshake."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx
    from conftest import Target

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The answer to KEY that RFC 6455, section 1.3, computes."""


class Socket:
    """An open connection. `hello` is the server's first message."""

    def __init__(self, stream: Any, answer: httpx.Response) -> None:
        self.stream, self.answer, self.buffer = stream, answer, b""
        self.hello: dict[str, Any] = self.message()

    def send(self, kind: int, payload: bytes = b"") -> None:
        """One final, masked frame of at most 125 bytes."""
        mask = os.urandom(4)
        body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.stream.write(bytes([0x80 | kind, 0x80 | len(payload)]) + mask + body)

    def say(self, text: str) -> None:
        """One text message."""
        self.send(TEXT, text.encode())

    def frame(self, within: float = 10.0) -> tuple[int, bytes]:
        """The next frame: its kind and its payload."""
        kind, size = self._read(2, within)
        assert size < 126, f"a longer frame than expected: {size}"
        return kind & 15, self._read(size, within)

    def message(self, kind: str | None = None, within: float = 10.0) -> dict[str, Any]:
        """The next message, of the given type if there is one."""
        deadline = time.monotonic() + within
        while True:
            found, payload = self.frame(max(0.1, deadline - time.monotonic()))
            if found == TEXT:
                message: dict[str, Any] = json.loads(payload)
                if kind is None or message["type"] == kind:
                    return message

    def _read(self, size: int, within: float) -> bytes:
        while len(self.buffer) < size:
            more = self.stream.read(4096, timeout=within)
            assert more, f"the connection ended after {len(self.buffer)} of {size} bytes"
            self.buffer += more
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found


def handshake(target: Target, session: str = "", **changed: str | None) -> httpx.Response:
    """The streamed answer to a handshake with some of its headers changed or (None) left out."""
    headers: dict[str, str | None] = {
        **target.headers,
        "host": target.hosts["api"],
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": KEY,
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    request = target.web.build_request(
        "GET",
        f"/ws?session={session}" if session else "/ws",
        headers={name: value for name, value in headers.items() if value is not None},
    )
    return target.web.send(request, stream=True)


@contextmanager
def opened(target: Target, session: str = "") -> Iterator[Socket]:
    """A session, new or taken up again. Leaving the block cuts the connection."""
    answer = handshake(target, session)
    try:
        assert answer.status_code == 101, f"{answer.status_code} instead of a session"
        yield Socket(answer.extensions["network_stream"], answer)
    finally:
        answer.close()


def status_of(target: Target, session: str = "", **changed: str | None) -> int:
    """The status of a handshake."""
    answer = handshake(target, session, **changed)
    answer.close()
    return answer.status_code


def new_key() -> str:
    """A random handshake key."""
    return base64.b64encode(os.urandom(16)).decode()
