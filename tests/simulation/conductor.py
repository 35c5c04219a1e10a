"""Processes that share a simulated world take turns on its virtual clock.

Every process is a thread, and one of them runs at a time: it hands over when it sleeps or calls a
port, to whichever process or event is due next. So the real code of several processes runs
interleaved, and a seed repeats it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from world import World

from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.outcome import Outcome

_DULL = 120.0


class Killed(BaseException):
    """SIGKILL: nothing of the process runs any more, no `finally` either."""


@dataclass
class Process:
    """One process of a release, from its start to its end.

    `kill_at` and `interrupt_at` are numbers of port calls. `after` says whether the call that is
    hit still takes effect.
    """

    name: str
    run: str
    body: Callable[[Process], Outcome]
    kill_at: int | None = None
    interrupt_at: int | None = None
    after: bool = False
    calls: int = 0
    doomed: bool = False
    over: bool = False
    killed: bool = False
    interrupted: bool = False
    outcome: Outcome | None = None
    error: BaseException | None = None
    started_at: float = 0.0
    ended_at: float | None = None
    then: Callable[[Process], None] = lambda process: None
    """Called at its end, however it ends."""
    baton: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def alive(self) -> bool:
        """Whether it still runs (or has not started)."""
        return not self.over and not self.doomed

    @property
    def code(self) -> int | None:
        """Its exit code; None if it was killed."""
        if self.outcome is not None:
            return int(self.outcome.exit_code)
        if isinstance(self.error, ReleaseError):
            return int(self.error.exit_code)
        return 130 if isinstance(self.error, KeyboardInterrupt) else None


class Conductor:
    """Whose turn it is."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.processes: list[Process] = []
        self.current: Process | None = None
        self.problem: BaseException | None = None
        self.started: Callable[[], None] = lambda: None
        """Called when a process starts."""
        self._due: list[tuple[float, int, Process | Callable[[], None]]] = []
        self._number = 0
        self._finished = threading.Semaphore(0)
        self._horizon = float("inf")
        world.pause = self.sleep

    def at(self, seconds: float, event: Callable[[], None]) -> None:
        """Let an event happen that many seconds from now; it must not sleep."""
        self._push(self.world.now + seconds, event)

    def start(self, process: Process, after: float = 0.0) -> Process:
        """Start a process that many seconds from now."""

        def begin() -> None:
            self.processes.append(process)
            process.started_at = self.world.now
            self.started()
            threading.Thread(target=self._run, args=(process,), daemon=True).start()
            self._push(self.world.now, process)

        self.at(after, begin)
        return process

    def kill(self, process: Process) -> None:
        """Kill a process wherever it is."""
        if process.alive:
            process.doomed = True

    def sleep(self, seconds: float) -> None:
        """Let the current process sleep, and the others go on."""
        me = self.current
        if me is None:
            self.world.advance(seconds)
            return
        self._check(me)
        self._push(self.world.now + seconds, me)
        self._hand_over(me)
        self._check(me)

    def play(self, seconds: float) -> None:
        """Go on until every process has ended and nothing is due, for that long at most."""
        self._horizon = self.world.now + seconds
        self._hand_over(None)
        self._finished.acquire()
        self.current = None
        if self.problem is not None:
            raise self.problem

    def _check(self, me: Process) -> None:
        if me.doomed:
            me.killed = True
            raise Killed

    def _push(self, when: float, what: Process | Callable[[], None]) -> None:
        self._number += 1
        heappush(self._due, (when, self._number, what))

    def _hand_over(self, me: Process | None) -> None:
        """Go on with what is due next; returns when it is this process's turn again."""
        while self._due:
            when, _, what = heappop(self._due)
            if when > self._horizon:
                # Everything that still runs is ended, so that no thread stays behind.
                for process in self.processes:
                    process.doomed = process.doomed or not process.over
                if not isinstance(what, Process):
                    continue
            else:
                self._pass(when)
            if not isinstance(what, Process):
                what()
                continue
            if what is me:
                return
            self.current = what
            what.baton.release()
            if me is not None and not me.over:
                me.baton.acquire()
            return
        self._finished.release()

    def _pass(self, when: float) -> None:
        """Let time pass. Days on which no process runs pass at once."""
        world = self.world
        if when > world.now + _DULL and not any(each.alive for each in self.processes):
            world.skip(when - world.now - _DULL)
        if when > world.now:
            world.advance(when - world.now)

    def _run(self, process: Process) -> None:
        process.baton.acquire()
        try:
            process.outcome = process.body(process)
        except BaseException as error:  # noqa: BLE001 - whatever ends a process is judged later
            process.error = error
        process.over = True
        process.ended_at = self.world.now
        try:
            process.then(process)
            self._hand_over(None)
        except BaseException as error:  # noqa: BLE001 - a defect of the simulation itself
            self.problem = error
            self._finished.release()


@dataclass(frozen=True)
class Call:
    """One call of a port, or another event of the timeline.

    `effect` is False if it was not delivered, `answered` False if the caller saw an error.
    """

    at: float
    process: str
    port: str
    name: str
    what: tuple[Any, ...] = ()
    effect: bool = True
    answered: bool = True
