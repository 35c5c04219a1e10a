"""Processes named so that a reused process id is never taken for the one that was meant."""

from __future__ import annotations

import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this boot: `started` is its start time in clock ticks since the boot."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has `pid` now; None if there is none or only its zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The name, in parentheses, may hold spaces and parentheses itself: count from its end.
        fields = stat.rpartition(")")[2].split()
        if fields[0] in {"Z", "X"}:
            return None
        return cls(pid=pid, started=int(fields[19]), boot=_boot_id())

    def is_running(self) -> bool:
        """Whether this very process still runs."""
        return Process.of(self.pid) == self

    def kill(self, deadline: float) -> bool:
        """SIGKILL it and wait until it is gone, `deadline` seconds at most; True when gone.

        For process 1 of a namespace that means: everything in the namespace is gone, too.
        """
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.is_running():  # the id was reused, or it ended by itself
                return True
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            return bool(select.select([handle], [], [], deadline)[0])
        finally:
            os.close(handle)
