"""Keeps one part running: restarts it when it dies, unless it was stopped on purpose."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tarsrelease.model.format import duration
from tarsrelease.rehearsal.spawn import Child, ProcessTable

Check = Callable[[], bool]

# The pause before a restart: doubled each time, so that a part that cannot run does not use up the
# CPU; reset once the part has run for a while.
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_LONG_ENOUGH = 30.0
# A part that dies this often while the cluster starts has failed.
_DEATHS_ALLOWED = 3
_LOOK_EVERY = 0.05
_STOP_DEADLINE = 10.0


class PartError(Exception):
    """A part did not start, or cannot do what was requested in its current state."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every part is started with."""

    table: ProcessTable
    environment: Mapping[str, str]
    logs: Path
    folder: Path
    say: Callable[[str], None]


class Part:
    """One program of the cluster. Its states: stopped, running, paused, restarting."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        surroundings: Surroundings,
        *,
        ready: Check,
        restart: bool = True,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.restarts = 0
        self.log = surroundings.logs / f"{name}.log"
        self._ready = ready
        self._restart = restart
        self._surroundings = surroundings
        self._environment = surroundings.environment
        self._wanted = False
        self._paused = False
        self._child: Child | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """stopped, running, paused or restarting."""
        if self._child is not None:
            return "paused" if self._paused else "running"
        return "restarting" if self._wanted else "stopped"

    def describe(self) -> dict[str, Any]:
        """Its line in a status: process id inside the namespace, resident memory in bytes."""
        pid = self._child.pid if self._child else None
        return {
            "name": self.name,
            "state": self.state,
            "pid": pid,
            "restarts": self.restarts,
            "memory_bytes": _resident_bytes(pid) if pid else 0,
        }

    def start(self) -> None:
        """Start it and keep it running. Raises PartError if it runs already."""
        if self._wanted:
            raise PartError(f"{self.name} is {self.state} already")
        self._wanted = True
        self._keeping = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def wait_ready(self, deadline: float) -> None:
        """Return when its check says ready; `deadline` in seconds.

        Raises PartError with the end of its log when it keeps dying or is not ready in time.
        """
        began, deaths = time.monotonic(), self.restarts
        while not await asyncio.to_thread(self._ready):
            if not self._wanted or self.restarts - deaths >= _DEATHS_ALLOWED:
                raise PartError(f"{self.name} does not stay up; {self._last_words()}")
            if time.monotonic() - began > deadline:
                raise PartError(
                    f"{self.name} is not ready after {duration(deadline)}; {self._last_words()}"
                )
            await asyncio.sleep(_LOOK_EVERY)

    async def stop(self, *, by: signal.Signals = signal.SIGTERM) -> None:
        """End it and leave it down; SIGKILL if it does not end within ten seconds."""
        self._wanted = False
        child, keeping = self._child, self._keeping
        if child is not None:
            self.resume()
            child.signal(by)
            done, _ = await asyncio.wait([child.ended], timeout=_STOP_DEADLINE)
            if not done:
                child.signal(signal.SIGKILL)
                await child.ended
        if keeping is not None:
            keeping.cancel()
            await asyncio.wait([keeping])
        self._child = None

    def pause(self) -> None:
        """Hang it (SIGSTOP): it keeps its connections and answers nothing."""
        if self._child is None:
            raise PartError(f"{self.name} is {self.state}: it cannot be paused")
        self._child.signal(signal.SIGSTOP)
        self._paused = True

    def reload(self) -> None:
        """Let it read its configuration again (SIGHUP)."""
        if self._child is None:
            raise PartError(f"{self.name} is {self.state}: it cannot reload")
        self._child.signal(signal.SIGHUP)

    def resume(self) -> None:
        """Continue it after a pause."""
        if self._child is not None and self._paused:
            self._child.signal(signal.SIGCONT)
        self._paused = False

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        around = self._surroundings
        while self._wanted:
            began = time.monotonic()
            self._child = around.table.spawn(
                self.argv, environment=self._environment, log=self.log, folder=around.folder
            )
            status = await asyncio.shield(self._child.ended)
            self._child, self._paused = None, False
            if not self._wanted:
                return
            if not self._restart:
                around.say(f"{self.name} ended with status {status}")
                self._wanted = False
                return
            self.restarts += 1
            pause = _FIRST_PAUSE if time.monotonic() - began > _LONG_ENOUGH else pause
            around.say(f"{self.name} ended with status {status}; again in {duration(pause)}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _last_words(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-5:]
        except FileNotFoundError:
            lines = []
        return f"{self.log} ends: " + (" | ".join(lines) or "(empty)")


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
