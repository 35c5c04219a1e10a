"""Starts the supervisor as process 1 of new namespaces, and holds the two pipes to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

from tarsrelease.rehearsal.state import StateFolder

_END_DEADLINE = 20.0


class Launch:
    """The supervisor's process and its pipes.

    The lifeline is a pipe that only this process can write to: when it closes, or this process
    dies, the supervisor ends the cluster, unless it was detached or a control connection holds
    it.
    """

    # Children of this process, so that `down` in the same process leaves no zombie.
    _started: ClassVar[dict[str, subprocess.Popen[bytes]]] = {}

    def __init__(self, folder: StateFolder) -> None:
        self.user_namespace = os.geteuid() != 0
        lifeline, self._lifeline = os.pipe()
        self._report, report = os.pipe()
        argv = ["unshare", "--net", "--pid", "--ipc", "--mount", "--fork", "--kill-child=KILL"]
        argv += ["--mount-proc"]
        if self.user_namespace:
            argv += ["--user", "--map-root-user"]
        argv += [sys.executable, "-m", "tarsrelease.rehearsal.supervisor"]
        argv += [str(folder.root), str(lifeline), str(report)]
        try:
            with (folder.logs / "supervisor.log").open("ab") as log:
                self._process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd="/",  # keep no folder of the caller busy
                    pass_fds=(lifeline, report),
                    start_new_session=True,  # only the caller gets Ctrl-C
                )
        finally:
            os.close(lifeline)
            os.close(report)
        self._started[folder.name] = self._process

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the supervisor reports, until it ends or the caller stops reading."""
        with os.fdopen(self._report, "rb") as lines:
            for line in lines:
                yield json.loads(line)

    def hand_over(self) -> None:
        """Close the lifeline of a supervisor that is detached or held otherwise."""
        os.close(self._lifeline)

    def let_go(self) -> None:
        """Close the lifeline and wait until the cluster has ended."""
        os.close(self._lifeline)
        try:
            self._process.wait(_END_DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()  # unshare takes process 1 with it
            self._process.wait()

    @classmethod
    def collect(cls, name: str) -> None:
        """Take the exit status of a cluster that this process started and that has ended."""
        process = cls._started.pop(name, None)
        if process is not None:
            process.wait()
