"""PostgreSQL's messages, mutated: an error of ours with a SQLSTATE or a lost connection."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from fuzzing import MINUTES, long, short
from hypothesis import strategies as st
from unruly_servers import Server

from tarsrelease.adapters.postgres import bounded
from tarsrelease.adapters.postgres.connect import connect
from tarsrelease.adapters.postgres.errors import own_errors
from tarsrelease.migrations.problems import ConnectionGoneError, SqlError
from tarsrelease.model.database import Database

DATABASE = Database(dsn_env="DSN", connect_timeout=2.0)


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
TEXT = st.binary(max_size=40).map(lambda text: text.replace(b"\0", b""))
STATE = (
    st.sampled_from([b"42601", b"57014", b"57P01", b"08006", b"XX000", b"", b"?", b"4260"]) | TEXT
)
FIELD = st.tuples(st.sampled_from(list(b"SVCMDHPpqWsntdFLR?")), TEXT).map(
    lambda found: bytes([found[0]]) + found[1] + b"\0"
)


@st.composite
def errors(draw: st.DrawFn) -> bytes:
    """An ErrorResponse with any fields, perhaps cut, perhaps with a wrong length."""
    state = b"C" + draw(STATE) + b"\0"
    position = b"P" + draw(st.sampled_from([b"1", b"0", b"-1", b"9" * 30, b"x", b""])) + b"\0"
    fields = b"SERROR\0" + state + b"Mno\0" + position + b"".join(draw(st.lists(FIELD, max_size=4)))
    whole = message(b"E", fields + draw(st.sampled_from([b"\0", b"", b"\0\0"]))) + message(
        b"Z", b"I"
    )
    cut = draw(st.integers(0, len(whole)))
    wrong = whole[:1] + draw(st.binary(min_size=4, max_size=4)) + whole[5:]
    return draw(
        st.sampled_from([whole, whole, whole, whole[:cut], wrong, draw(st.binary(max_size=60))])
    )


class Answering:
    """A server in order until the first query of a catalog: the answer to it is given."""

    def __init__(self) -> None:
        self.answer = b""
        self.at_login = False
        self.server = Server(self._serve)
        self.dsn = f"host=127.0.0.1 port={self.server.port} dbname=a user=b gssencmode=disable"

    def _serve(self, connection: socket.socket, startup: bytes) -> None:
        while startup[4:8] in (struct.pack(">I", 80877103), struct.pack(">I", 80877104)):
            connection.sendall(b"N")
            startup = connection.recv(65536)
        if self.at_login:
            connection.sendall(self.answer)
            return
        connection.sendall(WELCOME)
        for _ in range(3):  # what `connect` sets
            connection.recv(65536)
            connection.sendall(ANSWERED)
        connection.recv(65536)
        connection.sendall(self.answer)

    def asked(self, answer: bytes) -> None:
        self.answer, self.at_login = answer, False
        connection = connect(self.dsn, DATABASE, "fuzz")
        with contextlib.closing(connection):
            found = _error_of(connection)
            assert found is None or found.state

    def refused(self, answer: bytes) -> None:
        self.answer, self.at_login = answer, True
        connect(self.dsn, DATABASE, "fuzz").close()


def _error_of(connection: psycopg.Connection[Any]) -> SqlError | None:
    try:
        with own_errors():
            connection.execute("SELECT 1")
    except SqlError as problem:
        return problem
    except ConnectionGoneError:
        return None
    return None


CASES: dict[str, Callable[[Answering, bytes], None]] = {
    "to a query": Answering.asked,
    "at login": Answering.refused,
}


@pytest.fixture(scope="module")
def database() -> Iterator[Answering]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded.BoundedConnection, "patience", 0.5)
        found = Answering()
        yield found
        found.server.close()


def target(database: Answering, name: str) -> Callable[[Any], object]:
    return lambda answer: CASES[name](database, answer)


@pytest.mark.parametrize("name", CASES)
def test_any_error_is_ours(database: Answering, name: str) -> None:
    short(target(database, name), errors())


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", CASES)
def test_new_errors_for_minutes(database: Answering, name: str) -> None:
    assert long(target(database, name), errors(), MINUTES * 60 * 0.1 / len(CASES)) > 0


def test_an_error_in_order_keeps_its_state_and_its_position(database: Answering) -> None:
    database.at_login = False
    database.answer = message(b"E", b"SERROR\0C42601\0Mno\0P7\0\0") + message(b"Z", b"I")
    connection = connect(database.dsn, DATABASE, "fuzz")
    with pytest.raises(SqlError) as caught, own_errors():
        connection.execute("SELECT 1")
    assert (caught.value.state, caught.value.position) == ("42601", 7)
    assert isinstance(connection, psycopg.Connection)
