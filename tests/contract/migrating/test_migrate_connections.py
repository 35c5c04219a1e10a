"""Connections that cannot be had, or may not be used: what is said, and the exit code."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from migration_proxy import tcp_dsn
from migration_rig import VARIABLE, Rig, Sql, free_port, server_program

from tarsrelease.adapters.postgres.throwaway import ThrowawayServer, unprivileged
from tarsrelease.model.errors import ReleaseError, UnreachableError, UsageError
from tarsrelease.model.outcome import ExitCode

FILES = {"a.sql": Sql("ALTER TABLE missions ADD COLUMN c int;")}


def ends(rig: Rig, dsn: str, **settings: object) -> ReleaseError:
    """How `up` ends with this DSN."""
    with pytest.raises(ReleaseError) as ended:
        rig.up(rig.release(FILES), dsn=dsn, **settings)
    return ended.value


def test_a_wrong_password(own_server_rig: Rig) -> None:
    rig = own_server_rig
    error = ends(rig, tcp_dsn(rig.name, rig.server.port, password="s3cret-wrong"))
    assert error.exit_code is ExitCode.USAGE
    assert "password authentication failed" in error.detail.found
    assert VARIABLE in error.detail.next
    assert "s3cret" not in str(error.detail)
    assert rig.history() == []


def test_the_right_password(own_server_rig: Rig) -> None:
    rig = own_server_rig
    assert rig.up(rig.release(FILES), dsn=tcp_dsn(rig.name, rig.server.port)).exit_code == 0


def test_a_database_that_does_not_exist(own_server_rig: Rig) -> None:
    error = ends(own_server_rig, tcp_dsn("nowhere", own_server_rig.server.port))
    assert error.exit_code is ExitCode.USAGE
    assert "does not exist" in error.detail.found


def test_no_server(rig: Rig) -> None:
    error = ends(rig, tcp_dsn(rig.name, free_port()))
    assert isinstance(error, UnreachableError)
    assert error.exit_code is ExitCode.UNREACHABLE


def test_a_server_that_does_not_answer(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        started = time.monotonic()
        error = ends(rig, tcp_dsn(rig.name, deaf.getsockname()[1]), connect_timeout="2s")
        assert time.monotonic() - started < 10
    assert error.exit_code is ExitCode.UNREACHABLE


@pytest.mark.parametrize("value", ["", "postgresql://u:pa%ss@host/db", "host=a hst=b"])
def test_a_variable_that_holds_no_dsn(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    from tarsrelease.adapters.postgres.connect import dsn_of

    monkeypatch.setenv(VARIABLE, value)
    database = rig.environment().database
    assert database is not None
    with pytest.raises(UsageError) as refused:
        dsn_of(database)
    assert VARIABLE in refused.value.detail.found
    assert "pa%ss" not in refused.value.detail.found


def test_a_read_only_replica(
    own_server_rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = server_program(17)
    assert program is not None
    with standby(program) as server:
        rig = Rig(server, "postgres", tmp_path, monkeypatch)
        error = ends(rig, server.dsn())
    assert error.exit_code is ExitCode.USAGE
    assert "read-only replica" in error.detail.found
    assert "primary" in error.detail.next


@contextmanager
def standby(program: Path) -> Iterator[ThrowawayServer]:
    """A server in recovery that waits for a primary; it answers, and writes nothing."""
    server = ThrowawayServer(program, {"max_connections": "100"})  # no fewer than at initdb
    server.create()
    (server.data / "standby.signal").touch()
    try:
        server.start()
        yield server
    finally:
        server.__exit__()


def test_a_role_that_may_not_keep_the_history(rig: Rig) -> None:
    with rig.connect() as owner:
        owner.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")  # as since PostgreSQL 15
    error = ends(rig, rig.dsn("reader"))
    assert error.exit_code is ExitCode.USAGE
    assert "CREATE in schema public" in error.detail.found


def test_a_role_that_does_not_own_the_tables(rig: Rig) -> None:
    with rig.connect() as owner:
        owner.execute("GRANT CREATE ON SCHEMA public TO reader")
    error = ends(rig, rig.dsn("reader"))
    assert error.exit_code is ExitCode.NO
    assert "must be owner of table missions" in error.detail.found
    assert "GRANT" in error.detail.next
    with rig.connect("postgres") as admin:
        rows = admin.execute("SELECT count(*) FROM tarsrelease_migrations").fetchone()
    assert rows == (0,)


def test_what_a_role_may_not_see_is_said_to_be_unchecked(rig: Rig) -> None:
    """Without pg_monitor the migration works, and says which guards it lacks."""
    with rig.connect() as owner:
        owner.execute("GRANT CREATE ON SCHEMA public TO reader")
        owner.execute("CREATE TABLE theirs (id int)")
    with rig.connect("postgres") as admin:
        admin.execute("ALTER TABLE theirs OWNER TO reader")
    release = rig.release({"a.sql": Sql("ALTER TABLE theirs ADD COLUMN c int;")})
    outcome = rig.up(release, dsn=rig.dsn("reader"))
    assert outcome.exit_code is ExitCode.DONE
    unchecked = {c.id: c.reason for c in outcome.checks if c.status.value == "skipped"}
    assert "pg_monitor" in unchecked["database.oldest_transaction"]


# TLS


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ThrowawayServer, Path]]:
    """A server with a certificate for the host name localhost."""
    program = server_program(17)
    assert program is not None
    server = ThrowawayServer(program, {"listen_addresses": "127.0.0.1", "ssl": "on"})
    server.port = free_port()
    server.create()
    key, certificate = server.data / "server.key", server.data / "server.crt"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += " -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        [*command.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    key.chmod(0o600)
    try:
        server.start()
        yield server, certificate
    finally:
        server.__exit__()


def tls_dsn(server: ThrowawayServer, host: str, root: Path) -> str:
    return (
        f"host={host} hostaddr=127.0.0.1 port={server.port} user=postgres dbname=postgres "
        f"sslrootcert={root}"
    )


@pytest.mark.parametrize("tls", ["disable", "prefer", "require", "verify-ca", "verify-full"])
def test_tls_modes(
    tls_server: tuple[ThrowawayServer, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tls: str,
) -> None:
    server, certificate = tls_server
    rig = Rig(server, "postgres", tmp_path, monkeypatch)
    environment = rig.environment(tls=tls)
    dsn = tls_dsn(server, "localhost", certificate)
    with rig.access(rig.example(), environment, run="look", dsn=dsn) as (_, access):
        assert access.catalog().server().encrypted is (tls != "disable")


def test_a_certificate_of_another_host_is_refused(
    tls_server: tuple[ThrowawayServer, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, certificate = tls_server
    rig = Rig(server, "postgres", tmp_path, monkeypatch)
    error = ends(rig, tls_dsn(server, "db.example", certificate), tls="verify-full")
    assert error.exit_code is ExitCode.USAGE
    assert "certificate" in error.detail.found


def test_a_server_without_tls_is_refused_where_it_is_required(own_server_rig: Rig) -> None:
    rig = own_server_rig
    error = ends(rig, tcp_dsn(rig.name, rig.server.port), tls="require")
    assert error.exit_code is ExitCode.USAGE
    assert "SSL" in error.detail.found


# PgBouncer


@contextmanager
def pgbouncer(rig: Rig, folder: Path, pool_mode: str) -> Iterator[int]:
    """A PgBouncer in front of the server; its port."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not Path(program).exists():
        pytest.skip("no pgbouncer here: apt-get install pgbouncer")
    port = free_port()
    (folder / "users").write_text('"tars" "tars"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{rig.name} = host=127.0.0.1 port={rig.server.port}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {folder}/users\npool_mode = {pool_mode}\n"
        "ignore_startup_parameters = extra_float_digits\n"
    )
    for one in (folder, folder / "users", folder / "pgbouncer.ini"):
        one.chmod(0o777)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            unprivileged([program, str(folder / "pgbouncer.ini")]), stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 20
        while True:
            with suppress(psycopg.OperationalError):
                psycopg.connect(tcp_dsn(rig.name, port), connect_timeout=2).close()
                break
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def test_a_pooler_in_transaction_mode_is_refused(own_server_rig: Rig, tmp_path: Path) -> None:
    with pgbouncer(own_server_rig, tmp_path, "transaction") as port:
        error = ends(own_server_rig, tcp_dsn(own_server_rig.name, port))
    assert error.exit_code is ExitCode.USAGE
    assert "pooler in transaction mode" in error.detail.found
    assert "pool_mode=session" in error.detail.next


def test_a_pooler_in_session_mode_is_fine(own_server_rig: Rig, tmp_path: Path) -> None:
    with pgbouncer(own_server_rig, tmp_path, "session") as port:
        outcome = own_server_rig.up(
            own_server_rig.release(FILES), dsn=tcp_dsn(own_server_rig.name, port)
        )
    assert outcome.exit_code is ExitCode.DONE
