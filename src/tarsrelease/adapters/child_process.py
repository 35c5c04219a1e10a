"""Programs that end: within a deadline, and with as much output as the caller reads."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO

LARGEST = 16 * 2**20
"""Bytes of either stream that are read where the caller does not say how many."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended. `code` is negative for a signal."""

    code: int
    out: bytes
    err: bytes


class OverflowedError(OSError):
    """The program printed more than is read; it was ended."""


def run(
    command: Sequence[str],
    *,
    variables: Mapping[str, str],
    seconds: float,
    stdin: bytes = b"",
    folder: Path | None = None,
    largest: int = LARGEST,
    terminal: bool = False,
) -> Ended:
    """Run `command` to its end. What it started ends with it.

    With `terminal` it may ask a person: its stdin and stderr are ours, so `err` is empty.

    Raises subprocess.TimeoutExpired, OverflowedError, and OSError where it cannot be started.
    """
    ends_at = monotonic() + seconds
    process = subprocess.Popen(
        list(command),
        cwd=folder,
        env=dict(variables),
        stdin=None if terminal else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if terminal else subprocess.PIPE,
        start_new_session=not terminal,
    )
    end = process.kill if terminal else lambda: _end(process)
    found: dict[str, bytes] = {}

    def read(name: str, stream: IO[bytes]) -> None:
        found[name] = stream.read(largest + 1)
        if len(found[name]) > largest:
            end()

    def write(stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError), stream:
            stream.write(stdin)

    assert process.stdout is not None  # noqa: S101
    threads = [threading.Thread(target=read, args=("out", process.stdout), daemon=True)]
    if process.stderr is not None:
        threads.append(threading.Thread(target=read, args=("err", process.stderr), daemon=True))
    if process.stdin is not None:
        threads.append(threading.Thread(target=write, args=(process.stdin,), daemon=True))
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join(max(0.0, ends_at - monotonic()))
        if any(thread.is_alive() for thread in threads):
            raise subprocess.TimeoutExpired(list(command), seconds)
        process.wait(max(0.001, ends_at - monotonic()))
    finally:
        end()
        process.wait()
        for thread in threads:
            thread.join(1.0)
        process.stdout.close()
        if process.stderr is not None:
            process.stderr.close()
    if any(len(text) > largest for text in found.values()):
        raise OverflowedError(f"{command[0]} printed more than {largest} bytes")
    return Ended(process.returncode, found["out"], found.get("err", b""))


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
