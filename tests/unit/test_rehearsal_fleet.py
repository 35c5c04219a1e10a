"""A rehearsal on several clusters: its files, its relays and its options."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from tarsrelease.adapters.files.configuration import load_environment
from tarsrelease.cli import main
from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import ExitCode, Outcome
from tarsrelease.rehearsal import world
from tarsrelease.rehearsal.clusters import Fleet, Member
from tarsrelease.rehearsal.commands import Cluster
from tarsrelease.rehearsal.day import Rehearsal
from tarsrelease.rehearsal.fleet_day import Waves
from tarsrelease.rehearsal.processes import Process
from tarsrelease.rehearsal.state import ClusterRecord, StateFolder

ROOT = Path(__file__).parents[2]


def fleet_of(number: int, folder: Path) -> Fleet:
    """A fleet of clusters that do not run."""
    record = ClusterRecord("x", Process(1, 1, "boot"), False, 0.0, True, "", {}, {})
    return Fleet(
        tuple(
            Member(each, Cluster(StateFolder(folder / f"x-{each}"), record))
            for each in range(1, number + 1)
        )
    )


def test_the_environment_has_each_cluster_at_an_address_of_the_first_ones_network(
    tmp_path: Path,
) -> None:
    one = yaml.safe_load((ROOT / "environments" / "rehearsal.yaml").read_text())
    file = tmp_path / "rehearsal.yaml"
    fleet = fleet_of(3, tmp_path)
    file.write_text(yaml.safe_dump(fleet.environment(one, (1, 2), "all")))
    found = load_environment(str(file))
    assert [wave.targets for wave in found.waves] == [("region-1",), ("region-2", "region-3")]
    assert {wave.on_failure for wave in found.waves} == {"all"}
    places = [found.at(target) for target in found.targets]
    assert [place.gateway.address for place in places] == [
        f"http://{world.ROUTER}",
        "http://127.0.0.2:8000",
        "http://127.0.0.3:8000",
    ]
    assert [place.prometheus.url for place in places] == [
        f"http://{world.PROMETHEUS}",
        "http://127.0.0.2:9090",
        "http://127.0.0.3:9090",
    ]
    databases = [found.sharing(target.name) for target in found.targets]
    assert databases == [("region-1",), ("region-2",), ("region-3",)]
    variables = fleet.variables(tmp_path / "kubeconfig")
    dsns = {place.database.dsn_env for place in places if place.database}
    assert dsns == set(variables) - {"KUBECONFIG"}
    assert variables["TARS_DATABASE_DSN_3"] == (
        "postgresql://tars:rehearsal-only@127.0.0.3:5432/tars"
    )


def test_the_kubeconfig_has_a_context_for_each_target(tmp_path: Path) -> None:
    own = []
    for number in (1, 2):
        path = tmp_path / f"own-{number}"
        server = {"server": f"https://{world.API_SERVER}", "certificate-authority-data": "x"}
        config = {
            "clusters": [{"name": "rehearsal", "cluster": server}],
            "users": [{"name": "tarsrelease", "user": {"token": f"secret-{number}"}}],
        }
        path.write_text(yaml.safe_dump(config))
        own.append(path)
    written = fleet_of(2, tmp_path).kubeconfig(own, tmp_path / "fleet")
    assert written.stat().st_mode & 0o777 == 0o600
    found = yaml.safe_load(written.read_text())
    servers = {one["name"]: one["cluster"]["server"] for one in found["clusters"]}
    assert servers == {"region-1": "https://127.0.0.1:6443", "region-2": "https://127.0.0.2:6443"}
    tokens = {one["name"]: one["user"]["token"] for one in found["users"]}
    assert tokens == {"region-1": "secret-1", "region-2": "secret-2"}
    assert [one["name"] for one in found["contexts"]] == ["region-1", "region-2"]


@contextmanager
def relay(folder: Path, *routes: str) -> Iterator[subprocess.Popen[bytes]]:
    """A relay that listens."""
    argv = [sys.executable, "-m", "tarsrelease.rehearsal.relay", str(folder), *routes]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        try:
            yield process
        finally:
            process.stdin.close()
            assert process.wait(10) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_a_relay_passes_bytes_on_in_both_directions(tmp_path: Path) -> None:
    port = free_port()
    sent, reply = os.urandom(1 << 20), os.urandom(1 << 20)
    received = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as stream:
                received.append(stream.read(len(sent)))
                connection.sendall(reply)

        serving = Thread(target=serve)
        serving.start()
        there = f"x.sock=127.0.0.1:{server.getsockname()[1]}"
        with relay(tmp_path, there), relay(tmp_path, f"127.0.0.1:{port}=x.sock"):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(sent)
                with client.makefile("rb") as stream:
                    assert stream.read() == reply
            serving.join()
    assert received == [sent]


def test_a_relay_resets_connections_while_nobody_listens_behind_it(tmp_path: Path) -> None:
    port, nobody = free_port(), free_port()
    there, here = f"x.sock=127.0.0.1:{nobody}", f"127.0.0.1:{port}=x.sock"
    with (
        relay(tmp_path, there),
        relay(tmp_path, here),
        socket.create_connection(("127.0.0.1", port)) as client,
        pytest.raises(ConnectionResetError),
    ):
        client.recv(1)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["rehearse", *arguments])
    return int(ended.value.code or 0)


def test_rehearse_hands_the_waves_to_the_rehearsal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    got: list[Any] = []

    def play(day: Rehearsal, waves: Waves, _progress: Any) -> Outcome:
        got.append((day.faults, waves))
        raise UsageError(doing="x", found="y", expected="z", next_step="")

    monkeypatch.setattr("tarsrelease.rehearsal.fleet_day.play", play)
    monkeypatch.chdir(tmp_path)
    assert run("--targets", "3") == ExitCode.USAGE
    asked = ("--waves", "2,2", "--on-failure", "all", "--fault", "errors")
    assert run("--targets", "4", *asked, "--fault-at", "region-3") == ExitCode.USAGE
    assert got == [((), Waves((1, 2))), (("errors",), Waves((2, 2), "all", "region-3"))]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--waves", "1,2"), "need --targets"),
        (("--on-failure", "all"), "need --targets"),
        (("--targets", "3", "--waves", "1,1"), "--waves has 2 targets, and --targets 3"),
        (("--targets", "3", "--waves", "1,x"), "1,x is not a list of numbers"),
        (("--targets", "3", "--waves", "3,0"), "3,0 is not a list of numbers"),
        (("--targets", "3", "--fault-at", "region-4"), "one of region-1, region-2"),
        (("--targets", "3", "--context", "kind"), "--context"),
        (("--targets", "3", "--fault", "silent-channels"), "a fault of the channels"),
    ],
)
def test_wrong_options_are_refused_before_anything_starts(
    arguments: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TARSRELEASE_CACHE", str(tmp_path / "cache"))
    assert run(*arguments) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
    assert not (tmp_path / "cache").exists()


def test_the_faults_happen_at_the_last_target_by_default() -> None:
    assert Waves((1, 2)).faulty == "region-3"
    assert Waves((1, 2), fault_at="region-1").faulty == "region-1"
