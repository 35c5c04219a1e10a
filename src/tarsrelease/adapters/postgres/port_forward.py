"""kubectl port-forward to the database's Service."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import conninfo

from tarsrelease.adapters.child_environment import for_cluster
from tarsrelease.model.database import PortForward
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.format import duration

_LOCAL = "127.0.0.1"
_READY = 15.0
_LISTENS = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


@contextmanager
def forwarded(dsn: str, environment: Environment) -> Iterator[str]:
    """The DSN through the port-forward, which lasts as long as the block.

    Only the address changes; TLS checks the same host name.
    """
    wanted = environment.database.port_forward if environment.database else None
    if wanted is None:
        yield dsn
        return
    process = _start(environment, wanted)
    try:
        port = _port(process, wanted)
        host = conninfo.conninfo_to_dict(dsn).get("host") or wanted.service
        yield conninfo.make_conninfo(dsn, host=host, hostaddr=_LOCAL, port=port)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(environment: Environment, wanted: PortForward) -> subprocess.Popen[str]:
    program = shutil.which("kubectl")
    if program is None:
        raise UsageError(
            doing="opening a port-forward to the database",
            found="no kubectl on the PATH",
            expected="kubectl, for database.port_forward",
            next_step="install it, reach the database directly, or use --as-job",
        )
    argv = [program, "--namespace", environment.kubernetes.namespace]
    if environment.kubernetes.context is not None:
        argv += ["--context", environment.kubernetes.context]
    argv += ["port-forward", f"service/{wanted.service}", f":{wanted.port}", f"--address={_LOCAL}"]
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=for_cluster(),
    )


def _port(process: subprocess.Popen[str], wanted: PortForward) -> int:
    """The local port, once kubectl listens; its further output is discarded."""
    said: list[str] = []
    ports: list[int] = []
    heard = threading.Event()

    def read() -> None:
        for line in process.stdout or ():
            said.append(line.strip())
            if not ports and (found := _LISTENS.search(line)):
                ports.append(int(found[1]))
                heard.set()
        heard.set()

    threading.Thread(target=read, name="port-forward", daemon=True).start()
    heard.wait(_READY)
    if not ports:
        raise UnreachableError(
            doing=f"opening a port-forward to service/{wanted.service}",
            found="; ".join(said) or f"kubectl said nothing within {duration(_READY)}",
            expected="a port on this machine that leads to the database",
            next_step="check the Service's name and pods, and the right to create pods/portforward",
        )
    return ports[0]
