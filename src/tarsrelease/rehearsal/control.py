"""How a running cluster is asked for something: one JSON line each way on a Unix socket.

Requests: {"do": "status"}; {"do": "stop" | "start" | "kill" | "restart" | "pause" | "resume" |
"reload", "part": NAME}; {"do": "load-start", "arguments": [...]}; {"do": "load-stop"};
{"do": "shutdown"};
{"do": "detach"} (outlive everybody, until `down`); {"do": "hold"}, whose connection stays open:
a cluster that is not detached ends when the last one that holds it has said {"do": "leave"}
(reply: "left", how many still hold it; detached counts as one) or has died.
Replies: {"ok": true, ...} or {"ok": false, "error": TEXT}. `kill` leaves the part down until
`start`; `restart` kills it and starts it again.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

# A part may take ten seconds to stop before it is killed.
_REPLY_DEADLINE = 30.0
_LONGEST_REPLY = 1 << 20


class ControlError(Exception):
    """The cluster did not answer, or refused the request."""


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name of `path` that fits into a socket address (107 bytes), however deep it lies."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_REPLY_DEADLINE)
        try:
            with short_path(path) as name:
                connection.connect(name)
        except OSError as error:
            raise ControlError(f"no cluster answers on {path} ({error.strerror})") from error
        yield connection


def server_pid(path: Path) -> int:
    """The process id of who serves the socket, as seen from the caller's own namespace."""
    with _connected(path) as connection:
        layout = struct.Struct("3i")
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
    pid: int = layout.unpack(raw)[0]
    return pid


class Hold:
    """Keeps a cluster alive until it is left or this process ends, not just until it is dropped."""

    _kept: ClassVar[set[Hold]] = set()

    def __init__(self, path: Path) -> None:
        self._stack = ExitStack()
        self._connection = self._stack.enter_context(_connected(path))
        _exchange(self._connection, {"do": "hold"})
        self._kept.add(self)

    def leave(self) -> int:
        """Let go; how many others still hold the cluster, 0 too for one that has ended meanwhile.

        It ends by itself where nobody holds it.
        """
        self._kept.discard(self)
        with self._stack:
            try:
                return int(_exchange(self._connection, {"do": "leave"})["left"])
            except ControlError:
                return 0


def ask(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Send one request and return its reply. Raises ControlError if it is refused or lost."""
    with _connected(path) as connection:
        return _exchange(connection, request)


def _exchange(connection: socket.socket, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as replies:
            line = replies.readline(_LONGEST_REPLY)
    except OSError as error:
        raise ControlError(f"the cluster did not answer {dict(request)}: {error}") from error
    if not line:
        raise ControlError(f"the cluster ended while it was asked {dict(request)}")
    reply: dict[str, Any] = json.loads(line)
    if not reply.get("ok"):
        raise ControlError(str(reply.get("error", reply)))
    return reply
