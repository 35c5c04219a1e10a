"""Servers that dribble, never stop or say nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

ENDLESS = 400 * 2**20


class NobodyStoppedError(Exception):
    """All that was sent was read."""


Sends = Callable[[socket.socket, bytes], None]


class Server:
    """Reads a request, and answers as `sends` says; counts what it could send."""

    def __init__(self, sends: Sends) -> None:
        self.sends = sends
        self.requests: list[bytes] = []
        self.read_whole = False
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                request = connection.recv(65536)
                self.requests.append(request)
                self.sends(connection, request)
            except OSError:
                return
            except NobodyStoppedError:
                self.read_whole = True

    def close(self) -> None:
        self._socket.close()


def headers_for_ever(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(400):
        connection.sendall(b"X-A: b\r\n")
        time.sleep(0.05)


def a_byte_at_a_time(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(400):
        connection.sendall(b"1")
        time.sleep(0.05)


def silence(connection: socket.socket, _: bytes) -> None:
    time.sleep(20)


def without_end(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    piece = b"1" * 65536
    for _ in range(ENDLESS // len(piece)):
        connection.sendall(piece)
    raise NobodyStoppedError


UNRULY = (headers_for_ever, a_byte_at_a_time, silence, without_end)
