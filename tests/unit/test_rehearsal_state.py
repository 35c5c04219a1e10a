"""What is known of a cluster from outside, and what is not believed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tarsrelease.model.errors import UsageError
from tarsrelease.rehearsal import commands, control
from tarsrelease.rehearsal.paths import cache_root, locked, write_atomically
from tarsrelease.rehearsal.processes import Process
from tarsrelease.rehearsal.state import ClusterRecord, StateFolder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateFolder:
    monkeypatch.setenv("TARSRELEASE_CACHE", str(tmp_path))
    state = commands.folder_of("try")
    state.logs.mkdir(parents=True)
    return state


def _record(process: Process) -> ClusterRecord:
    return ClusterRecord(
        name="try",
        process=process,
        user_namespace=False,
        started_at=1.0,
        ready=True,
        kubeconfig="kubeconfig",
        addresses={},
        versions={},
    )


def _me() -> Process:
    me = Process.of(os.getpid())
    assert me is not None
    return me


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TARSRELEASE_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/tarsrelease"),
        ({"HOME": "/c"}, "/c/.cache/tarsrelease"),
    ],
)
def test_the_cache_is_where_the_user_says(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name in ("TARSRELEASE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_root() == Path(expected)


def test_a_record_comes_back_as_it_was_written(folder: StateFolder) -> None:
    folder.write(_record(_me()))
    assert folder.read() == _record(_me())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"process": {"pid": 1}}'])
def test_a_damaged_record_is_no_record(folder: StateFolder, text: str) -> None:
    folder.record.write_text(text)
    assert folder.read() is None


def test_nothing_started_is_absent(folder: StateFolder) -> None:
    assert commands.status("try").phase == "absent"


def test_a_cluster_whose_process_is_gone_is_dead(folder: StateFolder) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    folder.write(_record(replace(_me(), pid=ended.pid)))
    assert commands.status("try").phase == "dead"


def test_a_reused_process_id_is_another_process(folder: StateFolder) -> None:
    another = replace(_me(), started=_me().started + 1)
    assert _me().is_running()
    assert not another.is_running()
    folder.write(_record(another))
    assert commands.status("try").phase == "dead"
    commands.down("try", lambda _: None)  # which must not kill this process: it would be us
    assert folder.read() is None


def test_a_process_of_another_boot_is_another_process() -> None:
    assert not replace(_me(), boot="another").is_running()


def test_a_zombie_does_not_run() -> None:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    process = Process.of(child.pid)
    assert process is not None
    assert process.is_running()
    assert process.kill(deadline=10)  # killed, and not yet waited for by us
    assert not process.is_running()
    assert Process.of(child.pid) is None
    child.wait()


def test_down_of_a_dead_cluster_leaves_its_logs_only(folder: StateFolder) -> None:
    (folder.data / "etcd").mkdir(parents=True)
    (folder.logs / "etcd.log").write_text("last words")
    folder.bin.mkdir()
    (folder.bin / "helm").symlink_to("/bin/true")
    folder.write(_record(replace(_me(), started=0)))
    commands.down("try", lambda _: None)
    assert [entry.name for entry in folder.root.iterdir()] == ["logs"]
    assert (folder.logs / "etcd.log").read_text() == "last words"
    assert Path("/bin/true").exists()


def test_a_running_cluster_that_does_not_answer_is_silent(folder: StateFolder) -> None:
    folder.write(_record(_me()))
    assert commands.status("try").phase == "silent"


def test_what_dead_clusters_left_is_swept_and_nothing_else(folder: StateFolder) -> None:
    def left(name: str, started: int) -> StateFolder:
        other = commands.folder_of(name)
        other.data.mkdir(parents=True)
        other.logs.mkdir()
        other.write(_record(replace(_me(), started=started)))
        return other

    dead, alive = left("dead", 0), left("alive", _me().started)
    commands._sweep(folder.root.parent)
    assert [entry.name for entry in dead.root.iterdir()] == ["logs"]
    assert alive.data.exists()
    week = 7 * 86_400
    os.utime(dead.root, (1, dead.root.stat().st_mtime - week - 1))
    commands._sweep(folder.root.parent)
    assert not dead.root.exists()
    assert alive.data.exists()
    assert folder.logs.exists()


def test_shell_needs_a_cluster(folder: StateFolder) -> None:
    with pytest.raises(UsageError) as caught:
        commands.shell("try", ["true"])
    assert caught.value.detail.next == "tarsrelease rehearse up --name try"


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", "-a", "a" * 41])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        commands.folder_of(name)


def test_the_way_in_keeps_the_folder_and_ends_with_the_caller(folder: StateFolder) -> None:
    argv = commands.Cluster(folder, _record(_me())).enter_argv(["kubectl", "get", "pods"])
    assert argv[-3:] == ["kubectl", "get", "pods"]
    assert argv[argv.index("-C") + 1] == str(Path.cwd())
    assert "--user" not in argv
    without_root = replace(_record(_me()), user_namespace=True)
    assert "--user" in commands.Cluster(folder, without_root).enter_argv(["true"])


def test_asking_nobody_says_so(folder: StateFolder) -> None:
    with pytest.raises(control.ControlError, match="no cluster answers"):
        control.ask(folder.socket, {"do": "status"})


def test_a_socket_may_lie_deeper_than_its_address_allows(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        with control.short_path(deep / "control.sock") as name:
            server.bind(name)
        server.listen()
        assert control.server_pid(deep / "control.sock") == os.getpid()


def test_a_write_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_atomically(target, "one")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomically(tmp_path / "folder", "two")  # cannot replace a folder
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]
    assert target.read_text() == "one"


def test_a_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = (
        "import sys, pathlib\n"
        "from tarsrelease.rehearsal.paths import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        waited: list[str] = []

        def waiting() -> None:
            waited.append("yes")
            holder.kill()

        with locked(lock, waiting):
            assert waited == ["yes"]
