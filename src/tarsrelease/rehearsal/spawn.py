"""Children of process 1: parts, short commands, and orphans that the kernel hands to us."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class Child:
    """A process that we started, in a session of its own; await `ended` for its exit status."""

    def __init__(self, popen: subprocess.Popen[bytes], ended: asyncio.Future[int]) -> None:
        self._popen = popen
        self.ended = ended
        self.pid = popen.pid

    def signal(self, number: signal.Signals) -> None:
        """Signal its whole process group; nothing happens where it has ended."""
        if not self.ended.done():
            os.killpg(self.pid, number)

    def reap(self) -> None:
        """Called by the table when the process has ended."""
        self.ended.set_result(self._popen.wait())


class ProcessTable:
    """Starts children and reaps everything that ends, as process 1 must.

    Nothing else in the process may start children: their exit status would be taken here.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._children: dict[int, Child] = {}
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        folder: Path,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start `argv` with its output appended to `log`. Raises OSError if it cannot."""
        with log.open("ab") as output:
            popen = subprocess.Popen(
                list(argv),
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        child = Child(popen, self._loop.create_future())
        self._children[popen.pid] = child
        return child

    def _reap(self) -> None:
        # Check which process ended before reaping it: a child of ours is reaped by its Popen.
        while True:
            try:
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if info is None:
                return
            child = self._children.pop(info.si_pid, None)
            if child is None:
                os.waitpid(info.si_pid, 0)
            else:
                child.reap()
