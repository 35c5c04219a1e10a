"""A network that goes silent: no packet, and no reset either.

Server and tool run in a network namespace of their own, whose loopback is taken down while a
build runs; both ends have to notice by keepalives. Takes about a minute.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SCRIPT = textwrap.dedent(
    """
    import json, os, subprocess, sys, time
    from pathlib import Path
    import psycopg
    from conftest import fresh_server, new_rig
    from migration_proxy import tcp_dsn
    from migration_rig import Heard, Sql, free_port, server_program

    def lo(state):
        subprocess.run(["ip", "link", "set", "lo", state], check=True)

    class Environ:
        def setenv(self, name, value):
            os.environ[name] = value

    lo("up")
    server = fresh_server(server_program(17), listen_addresses="127.0.0.1")
    server.port = free_port()
    with server:
        rigs = new_rig(server, Path(sys.argv[1]), Environ())
        rig = next(rigs)
        release = rig.release({"a.sql": Sql("CREATE INDEX CONCURRENTLY one ON missions (status);")})
        writer = rig.connect()  # by the socket, which stays
        writer.execute("BEGIN")
        writer.execute("UPDATE missions SET agent = 'x' WHERE id = 1")

        def react(line):
            if "waits for" in line:
                lo("down")

        started = time.monotonic()
        found = {}
        try:
            rig.up(release, progress=Heard(react), dsn=tcp_dsn(rig.name, server.port))
        except Exception as error:
            found["first"] = type(error).__name__
        found["noticed_after"] = time.monotonic() - started
        writer.rollback()
        lo("up")
        again = rig.up(release, run="again", wait=90.0)
        found["again"] = int(again.exit_code)
        found["invalid"] = rig.invalid_indexes()
        found["finished"] = [row.finished is not None for row in rig.history()]
        print(json.dumps(found))
    """
)


@pytest.mark.full
def test_both_ends_notice_that_the_network_is_silent(tmp_path: Path) -> None:
    argv = ["unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*argv, "ip", "link"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no network namespaces for this user, or no ip program")
    done = subprocess.run(
        [*argv, sys.executable, "-c", SCRIPT, str(tmp_path)],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["first"] == "StoppedError"
    assert found["noticed_after"] < 60
    assert found["again"] == 0
    assert found["invalid"] == []
    assert found["finished"].count(True) == 1
