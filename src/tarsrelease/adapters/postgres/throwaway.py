"""A temporary PostgreSQL server that ends with this process and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import psycopg
from psycopg import conninfo

from tarsrelease.adapters.postgres.programs import find, major_version
from tarsrelease.model.errors import UsageError

USER = "postgres"
_START = 30.0
_STOP = 10.0
_ENDED = frozenset({"Z", "X"})
_SETTINGS = {
    # Nothing here outlives the process.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_connections": "40",
    "max_locks_per_transaction": "1024",  # a whole schema is restored in one transaction
    "listen_addresses": "",
    "track_functions": "all",
}


def unprivileged(argv: Sequence[str], *, network: bool = True) -> list[str]:
    """The command as PostgreSQL accepts it.

    PostgreSQL refuses uid 0, so root becomes uid 1000 in a user namespace. The command ends with
    this process, even if it is killed.
    """
    command = list(argv)
    if shutil.which("setpriv"):
        command = ["setpriv", "--pdeathsig", "INT", "--", *command]
    if os.geteuid() == 0:
        alone = [] if network else ["--net"]
        command = [
            *("unshare", "--user", "--map-user=1000", "--map-group=1000", *alone, "--"),
            *command,
        ]
    elif not network and _may_unshare():
        command = ["unshare", "--user", "--map-current-user", "--net", "--", *command]
    return command


@cache
def _may_unshare() -> bool:
    """Whether this machine lets a user make a namespace without network."""
    argv = ["unshare", "--user", "--map-current-user", "--net", "--", "true"]
    return bool(
        shutil.which("unshare")
        and subprocess.run(argv, capture_output=True, check=False).returncode == 0
    )


def _environment() -> dict[str, str]:
    """Nothing of ours but what a program needs: no DSN, no token."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C"}


def _state(pid: int) -> str:
    """The letter of the process's state (Linux): T is stopped, Z a zombie, X gone or not known."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


class ThrowawayServer:
    """PostgreSQL in a temporary folder; by default reached by a socket in it, with no network.

    `server` is the program ``postgres`` to use (by default the newest one found), `settings`
    override the defaults. As a context manager it starts, and removes everything at the end.
    """

    def __init__(
        self,
        server: Path | None = None,
        settings: Mapping[str, str] | None = None,
        superuser: str = USER,
    ) -> None:
        self._server = server or find("postgres", best=10_000)
        # A socket's path has at most 107 characters: not below a long TMPDIR.
        self._folder = Path(tempfile.mkdtemp(prefix="tarspg-", dir="/tmp"))
        self._settings = {**_SETTINGS, **(settings or {})}
        self._superuser = superuser
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 5432

    @property
    def data(self) -> Path:
        """The data directory."""
        return self._folder / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self._folder / "log"

    def dsn(self, database: str = "postgres", user: str = USER) -> str:
        """The DSN by its socket."""
        return conninfo.make_conninfo(
            "", host=str(self._folder), port=self.port, user=user, dbname=database
        )

    def __enter__(self) -> ThrowawayServer:
        try:
            self.create()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def create(self) -> None:
        """Create the data directory. Raises UsageError if that fails."""
        done = subprocess.run(
            unprivileged(
                [
                    str(self._server.parent / "initdb"),
                    *(
                        "-D",
                        str(self.data),
                        "-U",
                        self._superuser,
                        "--auth=trust",
                        "--encoding=UTF8",
                    ),
                    *("--locale=C", "--no-sync"),
                ]
            ),
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise self._failed(done.stdout)

    def start(self) -> None:
        """Start it and wait until it answers. Raises UsageError if it does not."""
        argv = [str(self._server), "-D", str(self.data), "-k", str(self._folder)]
        argv += ["-p", str(self.port)]
        for name, value in self._settings.items():
            argv += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                unprivileged(argv, network=self._has_network()),
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START
        while True:
            try:
                psycopg.connect(self.dsn(user=self._superuser), connect_timeout=2).close()
            except psycopg.OperationalError as problem:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise self._failed(self.log.read_text(errors="replace")) from problem
                time.sleep(0.02)
            else:
                return

    def _has_network(self) -> bool:
        """Before PostgreSQL 15, the statistics need the loopback interface."""
        return bool(self._settings["listen_addresses"]) or (major_version(self._server) or 0) < 15

    def kill(self) -> None:
        """Kill all its processes at once, as a power cut would; return when all have ended.

        A backend that still ends keeps the shared memory, and the server cannot start again.
        """
        if self._process is None:
            return
        # Stopped, it starts no backend and does not collect those that have ended; until then one
        # may be missed, as Linux leaves children out of the list while others of them end.
        self._process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + _STOP
        while time.monotonic() < deadline:
            stopped = _state(self._process.pid) in {"T", *_ENDED}
            children = self._children(self._process.pid)
            running = [pid for pid in children if _state(pid) not in _ENDED]
            for pid in running:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if stopped and not running:
                break
            time.sleep(0.01)
        self._process.kill()
        self._process.wait()
        self._process = None

    def _children(self, pid: int) -> list[int]:
        """Its processes, each of which is in a session of its own (Linux)."""
        path = Path(f"/proc/{pid}/task/{pid}/children")
        return [int(one) for one in path.read_text().split()] if path.exists() else []

    def stop(self) -> None:
        """Stop it without waiting for its clients."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def _failed(self, output: str) -> UsageError:
        return UsageError(
            doing="starting a throwaway PostgreSQL",
            found=f"{self._server} did not start:\n" + "\n".join(output.splitlines()[-10:]),
            expected="a server for a copy of the schema",
            next_step="set PG_BIN to another PostgreSQL's programs, or database.scratch_env to "
            "the DSN of a server where databases may be created",
        )
