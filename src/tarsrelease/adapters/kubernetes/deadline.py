"""Connections to the API server whose answers end: a total deadline, and a largest answer.

urllib3's read timeout starts anew with every byte; here one deadline holds for status line, headers
and body together.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any

from kubernetes.client import ApiClient
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

LARGEST = 64 * 2**20
"""Bytes of one answer, as they are sent."""

_ends_at: ContextVar[float] = ContextVar("_ends_at", default=float("inf"))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Answers that are read in the block have ended after `seconds`, or TimeoutError is raised."""
    token = _ends_at.set(monotonic() + seconds)
    try:
        yield
    finally:
        _ends_at.reset(token)


def bounded(client: ApiClient) -> ApiClient:
    """The client, with connections of this kind."""
    manager: Any = client.rest_client.pool_manager
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return client


class _Answer(io.RawIOBase):
    """What is read of one answer."""

    def __init__(self, sock: Any) -> None:
        self._socket = sock
        self._inner = sock.makefile("rb", buffering=0)
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = _ends_at.get() - monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        if left != float("inf"):
            self._socket.settimeout(left)
        count: int | None = self._inner.readinto(buffer)
        self._read += count or 0
        if self._read > LARGEST:
            raise OSError(f"the answer has more than {LARGEST} bytes")
        return count

    def close(self) -> None:
        self._inner.close()
        super().close()


class _Socket:
    """A socket whose file is an `_Answer`."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def makefile(self, mode: str = "rb", **_: Any) -> io.BufferedReader:
        if mode != "rb":
            raise ValueError(f"mode {mode}")
        return io.BufferedReader(_Answer(self._inner))


class _Connection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock: Any = _Socket(self.sock)


class _TlsConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock: Any = _Socket(self.sock)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
