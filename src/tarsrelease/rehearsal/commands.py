"""Up, down, status and shell: what the command line and the rehearsal do with a cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.format import duration
from tarsrelease.rehearsal import control, world
from tarsrelease.rehearsal.launch import Launch
from tarsrelease.rehearsal.paths import Say, cache_root, locked
from tarsrelease.rehearsal.processes import Process
from tarsrelease.rehearsal.state import ClusterRecord, StateFolder

_GONE_DEADLINE = 20.0
# Seconds to keep the logs of a cluster that is down: a week.
_LOGS_KEPT = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The state of a cluster. phase: absent, starting, ready, dead (it ended without `down`), or
    silent (it runs but does not answer).

    parts: one line each as `keeper.Part.describe` has them; since: Unix time.
    """

    name: str
    phase: str
    pid: int | None = None
    since: float | None = None
    kubeconfig: Path | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster, as its users see it."""

    folder: StateFolder
    record: ClusterRecord
    hold: control.Hold | None = None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; its addresses work only inside the cluster's network."""
        return self.folder.kubeconfig

    @property
    def env(self) -> dict[str, str]:
        """The environment for a command inside: kubectl and helm on PATH, the rehearsal's own
        database, and no proxy."""
        helm = self.folder.data / "helm"
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            world.DSN_VARIABLE: world.dsn(world.PRODUCTION),
            "PATH": f"{self.folder.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            # Clusters share this address, so the cache of one is wrong for the next.
            "KUBECACHEDIR": str(self.folder.data / "kube-cache"),
            "HELM_CACHE_HOME": str(helm / "cache"),
            "HELM_CONFIG_HOME": str(helm / "config"),
            "HELM_DATA_HOME": str(helm / "data"),
            "NO_PROXY": "*",
            "no_proxy": "*",
        }

    def tool(self, name: str) -> list[str]:
        """How a program of the cluster (helm, kubectl, promtool, loadgen) is started."""
        tools = json.loads(self.folder.spec.read_text())["tools"]
        return [str(argument) for argument in tools[name]]

    def enter_argv(self, argv: list[str]) -> list[str]:
        """The command line that runs `argv` inside, in the folder that the caller is in.

        It ends when the cluster ends, and gets SIGTERM when the command line itself is killed.
        """
        namespaces = ["--net", "--pid", "--ipc", "--mount"]
        if self.record.user_namespace:
            namespaces += ["--user", "--preserve-credentials"]
        target = ["--target", str(self.record.process.pid)]
        tied = ["setpriv", "--pdeathsig", "TERM"]
        return ["nsenter", *target, *namespaces, "--", *tied, "env", "-C", os.getcwd(), *argv]  # noqa: PTH109

    def run(self, argv: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `argv` inside and return its result as text; `options` as for subprocess.run."""
        defaults = {"env": self.env, "text": True, "capture_output": True}
        done: subprocess.CompletedProcess[str] = subprocess.run(
            self.enter_argv(argv), check=False, **{**defaults, **options}
        )
        return done

    def control(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the supervisor (see `control`). Raises `control.ControlError` if it refuses."""
        return control.ask(self.folder.socket, request)

    def close(self, *, keep_logs: bool = True) -> None:
        """Release a cluster that was started tied; the last process to release it ends it."""
        if self.hold is not None and self.hold.leave() == 0:
            down(self.folder.name, lambda _: None, keep_logs=keep_logs)


def up(
    name: str,
    say: Say,
    scrape_interval: float = 5.0,
    *,
    tied: bool = False,
    images: Path | None = None,
) -> Cluster:
    """Start the cluster `name` and return when everything in it is ready.

    scrape_interval: Prometheus', in seconds. tied: the cluster ends when the last process that
    started it tied has ended, or earlier with `Cluster.close`. images: an images.json to use
    instead of the worked example's. A cluster that runs already is returned unchanged.
    """
    # Imported here because it takes half a second.
    from tarsrelease.rehearsal.prepare import prepare

    _refuse_other_systems()
    folder = folder_of(name)
    with locked(folder.lock, lambda: say(f"waiting for another up or down of {name}")):
        there = _running(folder)
        if there is not None:
            say(f"the cluster {name} is already up (process {there.record.process.pid})")
            return replace(there, hold=control.Hold(folder.socket) if tied else None)
        _sweep(folder.root.parent)
        _end(folder)  # a cluster whose `up` was killed may still be ending
        folder.clean(keep_logs=False)
        folder.logs.mkdir(parents=True)
        folder.data.mkdir()
        began = time.monotonic()
        launch: Launch | None = None
        try:
            versions = prepare(folder, cache_root(), scrape_interval, images, say)
            launch = Launch(folder)
            record = _follow(folder, launch, versions, say)
            hold = control.Hold(folder.socket) if tied else None
            if hold is None:
                control.ask(folder.socket, {"do": "detach"})
            launch.hand_over()
        except BaseException:
            if launch is not None:
                launch.let_go()
            folder.clean()
            raise
        say(f"the cluster {name} is up ({duration(time.monotonic() - began)})")
        return Cluster(folder, record, hold)


def down(name: str, say: Say, *, keep_logs: bool = True) -> None:
    """End the cluster `name`, even a dead one, and remove everything except its logs."""
    folder = folder_of(name)
    with locked(folder.lock, lambda: say(f"waiting for another up or down of {name}")):
        if not folder.root.exists():
            others = ", ".join(running())
            say(f"there is no cluster {name}" + (f"; running: {others}" if others else ""))
            return
        _end(folder)
        folder.clean(keep_logs=keep_logs)
        say(f"the cluster {name} is down" + (f"; its logs: {folder.logs}" if keep_logs else ""))


def give_up(name: str) -> None:
    """End a cluster that another thread is starting; its `up` then raises UnreachableError."""
    record = folder_of(name).read()
    if record is not None and not record.ready:
        record.process.kill(_GONE_DEADLINE)


def status(name: str) -> ClusterStatus:
    """The state of the cluster `name`; changes nothing."""
    folder = folder_of(name)
    record = folder.read()
    if record is None:
        return ClusterStatus(name, "absent")
    known = ClusterStatus(
        name,
        "dead",
        pid=record.process.pid,
        since=record.started_at,
        kubeconfig=folder.kubeconfig,
        addresses=record.addresses,
        versions=record.versions,
    )
    if not record.process.is_running():
        return known
    try:
        reply = control.ask(folder.socket, {"do": "status"})
    except control.ControlError:
        return replace(known, phase="silent")
    return replace(known, phase=reply["phase"], parts=tuple(reply["parts"]))


def find(name: str) -> Cluster:
    """The running cluster `name`. Raises UsageError if it does not run."""
    found = _running(folder_of(name))
    if found is None:
        others = running()
        raise UsageError(
            doing=f"finding the rehearsal cluster {name}",
            found="it does not run" + (f"; what runs is {', '.join(others)}" if others else ""),
            expected="a running cluster",
            next_step=f"tarsrelease rehearse up --name {name}"
            + "".join(f", or use --name {other}" for other in others),
        )
    return found


def running() -> list[str]:
    """The names of the clusters that run."""
    folders = map(StateFolder, (cache_root() / "rehearsal").glob("[a-z0-9]*"))
    return sorted(folder.name for folder in folders if _running(folder) is not None)


def shell(name: str, argv: list[str] | None = None) -> int:
    """Run `argv`, or the user's shell, inside the cluster `name`; returns its exit status."""
    cluster = find(name)
    command = argv or [os.environ.get("SHELL") or "/bin/sh"]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for what runs inside
    try:
        process = subprocess.Popen(
            cluster.enter_argv(["env", "--default-signal=INT", *command]), env=cluster.env
        )
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def folder_of(name: str) -> StateFolder:
    """The folder of the cluster `name`. Raises UsageError for a name that is no plain word."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", name):
        raise UsageError(
            doing="naming the rehearsal cluster",
            found=f"the name {name!r}",
            expected="1 to 40 lower-case letters, digits and inner hyphens",
            next_step="choose another --name",
        )
    return StateFolder(cache_root() / "rehearsal" / name)


def _end(folder: StateFolder) -> None:
    """End what runs in `folder`, if anything does, and wait until it is gone."""
    record = folder.read()
    if record is not None and not record.process.kill(_GONE_DEADLINE):
        raise UsageError(
            doing=f"ending the cluster {folder.name}",
            found=f"process {record.process.pid} is still there after {duration(_GONE_DEADLINE)}",
            expected="it ends at once when killed",
            next_step=f"look at /proc/{record.process.pid}/stack and repeat",
        )
    Launch.collect(folder.name)


class _BusyError(Exception):
    """Somebody is at work on that cluster."""


def _leave_alone() -> None:
    raise _BusyError


def _sweep(clusters: Path) -> None:
    """Remove what dead clusters of other names left: their data at once, their logs in a week."""
    for folder in map(StateFolder, clusters.glob("[a-z0-9]*")):
        with suppress(_BusyError), locked(folder.lock, _leave_alone):
            record = folder.read()
            if record is not None and not record.process.is_running():
                folder.clean()
            elif record is None and time.time() - folder.root.stat().st_mtime > _LOGS_KEPT:
                folder.clean(keep_logs=False)


def _running(folder: StateFolder) -> Cluster | None:
    record = folder.read()
    if record is None or not record.process.is_running() or not record.ready:
        return None
    return Cluster(folder, record)


def _follow(
    folder: StateFolder, launch: Launch, versions: dict[str, str], say: Say
) -> ClusterRecord:
    """Pass the supervisor's progress on until it is ready; UnreachableError where it fails."""
    record: ClusterRecord | None = None
    failure = "it ended without a word"
    for message in launch.messages():
        match message:
            case {"say": str(text)}:
                say(text)
            case {"listening": True}:
                record = _record(folder, launch, versions)
                folder.write(record)
            case {"ready": float()} if record is not None:
                record = replace(record, ready=True)
                folder.write(record)
                return record
            case {"failed": str(reason)}:
                failure = reason
    raise UnreachableError(
        doing=f"bringing the cluster {folder.name} up",
        found=failure,
        expected="every part becomes ready",
        next_step=f"read {folder.logs}, then run this command again",
    )


def _record(folder: StateFolder, launch: Launch, versions: dict[str, str]) -> ClusterRecord:
    process = Process.of(control.server_pid(folder.socket))
    if process is None:
        raise ProcessLookupError("the supervisor ended as soon as it had started")
    return ClusterRecord(
        name=folder.name,
        process=process,
        user_namespace=launch.user_namespace,
        started_at=time.time(),
        ready=False,
        kubeconfig=str(folder.kubeconfig),
        addresses=world.ADDRESSES,
        versions=versions,
    )


def _refuse_other_systems() -> None:
    missing = [name for name in ("ip", "unshare", "nsenter", "setpriv") if not shutil.which(name)]
    if sys.platform == "linux" and not missing:
        return
    raise UsageError(
        doing="starting a rehearsal cluster",
        found=f"{sys.platform}, without {', '.join(missing) or 'anything missing'}",
        expected="Linux with iproute2 and util-linux",
        next_step="`apt-get install iproute2 util-linux` (or use your own cluster with --context)",
    )
