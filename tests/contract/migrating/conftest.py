"""A server for each version, and a database of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from migration_rig import SCHEMA, Rig, free_port, server_program

from tarsrelease.adapters.postgres.throwaway import ThrowawayServer

DEFAULT = 17


class Servers:
    """Servers that are started when a version is first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[int, ThrowawayServer] = {}

    def version(self, version: int) -> ThrowawayServer:
        if version not in self._running:
            program = server_program(version)
            if program is None:
                pytest.skip(f"no PostgreSQL {version} on this machine, and no npm to get it")
            self._running[version] = self.start(program)
        return self._running[version]

    def start(self, program: Path) -> ThrowawayServer:
        """A server that runs until the last test has ended."""
        return self._stack.enter_context(fresh_server(program))


def fresh_server(program: Path, **settings: str) -> ThrowawayServer:
    """A server with the roles that a database has in production."""
    # A test that kills the server must find again what it wrote before.
    return _WithRoles(
        program,
        {
            "autovacuum": "on",
            "synchronous_commit": "on",
            # PostgreSQL 13 has another default.
            "password_encryption": "scram-sha-256",
            **settings,
        },
    )


class _WithRoles(ThrowawayServer):
    def create(self) -> None:
        super().create()
        self.start()
        with psycopg.connect(self.dsn(), autocommit=True) as admin:
            admin.execute("CREATE ROLE tars LOGIN PASSWORD 'tars'")
            admin.execute("GRANT pg_monitor TO tars")
            admin.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
        self.stop()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(
    params=[
        pytest.param(version, marks=() if version == DEFAULT else pytest.mark.full)
        for version in (13, 15, 17, 18)
    ],
    ids="PostgreSQL {}".format,
)
def version(request: pytest.FixtureRequest) -> int:
    """The major version that a test runs on; some tests name others by parametrizing it."""
    return int(request.param)


@pytest.fixture
def rig(
    servers: Servers, version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    """A database with the tables of T.A.R.S. 1.0.0."""
    yield from new_rig(servers.version(version), tmp_path, monkeypatch)


def new_rig(
    server: ThrowawayServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} OWNER tars")
    rig = Rig(server, name, folder, monkeypatch)
    with rig.connect("postgres") as connection:
        connection.execute("ALTER SCHEMA public OWNER TO tars")
    with rig.connect() as connection:
        connection.execute(SCHEMA.read_bytes())
    yield rig
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class OwnServers(Servers):
    """Servers that a test may kill; reached by TCP, too, with passwords."""

    def start(self, program: Path) -> ThrowawayServer:
        server = fresh_server(program, listen_addresses="127.0.0.1")
        server.port = free_port()
        self._stack.enter_context(server)
        rules = server.data / "pg_hba.conf"
        rules.write_text(
            "local all all trust\nlocal replication all trust\n"
            "host all all 127.0.0.1/32 scram-sha-256\n"
        )
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute("SELECT pg_reload_conf()")
        return server


@pytest.fixture(scope="session")
def own_servers() -> Iterator[OwnServers]:
    with ExitStack() as stack:
        yield OwnServers(stack)


@pytest.fixture
def own_server(own_servers: OwnServers, version: int) -> ThrowawayServer:
    """A server that a test may kill; reached by TCP, too, with passwords."""
    return own_servers.version(version)


@pytest.fixture
def own_server_rig(
    own_server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    """A database on a server that the test may kill."""
    yield from new_rig(own_server, tmp_path, monkeypatch)
