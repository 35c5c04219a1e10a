"""SHA-256 of many files at once, in threads, with memory that does not depend on their size."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

_PIECE = 256 * 2**10
"""Bytes read at once: fits a core's second-level cache, so that hashing finds them there."""
_SMALL = 2**20
_BATCH = 64
"""Small files handed to a thread together: handing over costs as much as hashing one."""

Hashed = Callable[[int], None]
"""Called with the size in bytes of every hashed piece, from several threads."""


class Watching(Protocol):
    """Receives the progress of hashing."""

    def expect(self, count: int) -> None:
        """`count` more bytes will be hashed."""

    def hashed(self, count: int) -> None:
        """`count` more bytes are hashed; called from several threads."""


_local = threading.local()


def processors() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def hash_files(files: Sequence[tuple[Path, int]], hashed: Hashed | None = None) -> list[str | None]:
    """The SHA-256 (hex) of each (path, size in bytes), None where it is no readable regular file.

    The largest are begun first, so that no thread is left alone with one at the end. `hashlib`
    lets go of the interpreter's lock while it works.
    """
    order = sorted(range(len(files)), key=lambda number: -files[number][1])
    large = [number for number in order if files[number][1] >= _SMALL]
    small = order[len(large) :]
    batches = [[number] for number in large]
    batches += [small[start : start + _BATCH] for start in range(0, len(small), _BATCH)]
    digests: list[str | None] = [None] * len(files)

    def work(batch: Iterable[int]) -> None:
        for number in batch:
            digests[number] = _digest(files[number][0], hashed)

    threads = min(processors(), len(batches))
    if threads <= 1:
        for batch in batches:
            work(batch)
        return digests
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for done in [pool.submit(work, batch) for batch in batches]:
            done.result()
    return digests


def _digest(path: Path, hashed: Hashed | None) -> str | None:
    """As `_digest`; None also if the file has become a link or a pipe meanwhile."""
    piece = getattr(_local, "piece", None)
    if piece is None:
        piece = _local.piece = memoryview(bytearray(_PIECE))
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with open(os.open(path, flags), "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            state = hashlib.sha256()
            while count := file.readinto(piece):
                state.update(piece[:count])
                if hashed is not None:
                    hashed(count)
    except OSError:
        return None
    return state.hexdigest()
