"""Where things lie on this machine: one cache folder, and one folder for each running cluster."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Say = Callable[[str], None]


def cache_root() -> Path:
    """$TARSRELEASE_CACHE, else $XDG_CACHE_HOME/tarsrelease, else ~/.cache/tarsrelease."""
    named = os.environ.get("TARSRELEASE_CACHE")
    if named:
        return Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).absolute() / "tarsrelease"


def source_root() -> Path:
    """The checkout that this package runs from, where `examples/tars` lies.

    $TARSRELEASE_SOURCE names another one (for a package installed from a wheel).
    """
    named = os.environ.get("TARSRELEASE_SOURCE")
    return Path(named).absolute() if named else Path(__file__).resolve().parents[3]


def write_atomically(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write `path` whole or not at all; readers never see a half of it."""
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; it ends with the process, however that ends.

    `waiting` is called once when somebody else holds the lock and we have to wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
