"""A PostgreSQL server, or a proxy before it, that dribbles or says nothing: an end in time."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from unruly_servers import Server

from tarsrelease.adapters.postgres import bounded
from tarsrelease.adapters.postgres.catalog import PostgresCatalog
from tarsrelease.adapters.postgres.connect import connect
from tarsrelease.adapters.postgres.errors import own_errors
from tarsrelease.migrations.problems import ConnectionGoneError
from tarsrelease.model.database import Database
from tarsrelease.model.errors import UnreachableError

DATABASE = Database(dsn_env="DSN", connect_timeout=2.0)
Sends = Callable[[socket.socket, bytes], None]


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


WELCOME = (
    message(b"R", struct.pack(">I", 0))
    + message(b"S", b"server_version\x0017.0\x00")
    + message(b"S", b"client_encoding\x00UTF8\x00")
    + message(b"K", struct.pack(">II", 1, 2))
    + message(b"Z", b"I")
)
ANSWERED = message(b"C", b"SET\x00") + message(b"Z", b"I")
ROW = struct.pack(">H", 1) + b"a\x00" + struct.pack(">IHIhIH", 0, 0, 25, -1, 0, 0)


def dribble(connection: socket.socket, piece: bytes) -> None:
    """Bytes of a message that never ends."""
    connection.sendall(b"N" + struct.pack(">I", 1_000_000))
    for _ in range(600):
        connection.sendall(piece)
        time.sleep(0.05)


def welcomed(then: Sends) -> Sends:
    """Accepts every user, and answers the first query with `then`."""

    def sends(connection: socket.socket, startup: bytes) -> None:
        while startup[4:8] in (struct.pack(">I", 80877103), struct.pack(">I", 80877104)):
            connection.sendall(b"N")  # no TLS, no GSSAPI
            startup = connection.recv(65536)
        connection.sendall(WELCOME)
        then(connection, connection.recv(65536))

    return sends


def says_nothing(connection: socket.socket, _: bytes) -> None:
    time.sleep(30)


def dribbles(connection: socket.socket, _: bytes) -> None:
    dribble(connection, b"x")


def rows_without_end(connection: socket.socket, _: bytes) -> None:
    connection.sendall(message(b"T", ROW))
    row = message(b"D", struct.pack(">HI", 1, 1) + b"x")
    for _ in range(600):
        connection.sendall(row)
        time.sleep(0.05)


def notices_without_end(connection: socket.socket, _: bytes) -> None:
    notice = message(b"N", b"SNOTICE\x00C00000\x00Mwait\x00\x00")
    for _ in range(600):
        connection.sendall(notice)
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded.BoundedConnection, "patience", 1.0)


@pytest.fixture(params=[says_nothing, dribbles])
def before_the_welcome(request: pytest.FixtureRequest) -> Iterator[Server]:
    running = Server(request.param)
    yield running
    running.close()


@pytest.fixture(params=[says_nothing, dribbles, rows_without_end, notices_without_end])
def after_the_welcome(request: pytest.FixtureRequest) -> Iterator[Server]:
    running = Server(welcomed(request.param))
    yield running
    running.close()


def dsn(server: Server) -> str:
    return f"host=127.0.0.1 port={server.port} dbname=a user=b gssencmode=disable"


def test_connecting_ends_in_time(before_the_welcome: Server) -> None:
    began = time.monotonic()
    with pytest.raises(UnreachableError):
        connect(dsn(before_the_welcome), DATABASE, "test")
    assert time.monotonic() - began < 8.0


def test_the_first_query_ends_in_time(after_the_welcome: Server) -> None:
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="did not complete its answer"):
        connect(dsn(after_the_welcome), DATABASE, "test")
    assert time.monotonic() - began < 8.0


def test_a_query_of_the_catalog_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is in order until the session is set up, then it sends rows without end."""
    monkeypatch.setattr("tarsrelease.adapters.postgres.catalog._DEADLINE", 1.0)
    monkeypatch.setattr("tarsrelease.adapters.postgres.catalog.GRACE", 0.5)

    def then(connection: socket.socket, query: bytes) -> None:
        while b"server_version_num" not in query:
            connection.sendall(ANSWERED)
            query = connection.recv(65536)
        rows_without_end(connection, query)

    running = Server(welcomed(then))
    catalog = PostgresCatalog(dsn(running), DATABASE, "tars")
    began = time.monotonic()
    with pytest.raises(ConnectionGoneError, match="did not complete"), own_errors():
        catalog.server()
    assert time.monotonic() - began < 8.0
    catalog.close()
    running.close()
