"""Whether PostgreSQL's parser survives a file: asked of a process of its own.

The parser is C and recurses, so that a chain of tens of thousands of operators ends the process.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import postgast

from tarsrelease.adapters.child_environment import minimal
from tarsrelease.adapters.child_process import run
from tarsrelease.bundle.files import BundleFile, BundleFiles
from tarsrelease.model.errors import UsageError

_HARMLESS = 8 * 2**10
"""Bytes of a statement that is too small to nest so deep."""
_SPLIT = 2**20
"""Bytes of the longest file that is split here: its statements take memory beside it."""
_LONGEST = 20.0
_PARSE = """
import sys, postgast
try:
    postgast.parse(sys.stdin.buffer.read().decode())
except postgast.PgQueryError:
    pass
"""


def refusal(path: str, content: bytes) -> UsageError | None:
    """Why the file cannot be parsed in this process; None where it can be tried."""
    if _longest_statement(content) <= _HARMLESS:
        return None
    try:
        ended = run(
            [sys.executable, "-I", "-c", _PARSE],
            variables=minimal(),
            seconds=_LONGEST,
            stdin=content,
        )
    except subprocess.TimeoutExpired:
        return _too_deep(path, f"PostgreSQL's parser did not end within {_LONGEST:g} s")
    if ended.code < 0:
        return _too_deep(path, f"PostgreSQL's parser was ended by signal {-ended.code}")
    return None


def _longest_statement(content: bytes) -> int:
    """Bytes of the longest statement, as the scanner splits them, which does not recurse."""
    if len(content) > _SPLIT:
        return len(content)
    try:
        return max(map(len, postgast.split(content.decode(), method="scanner")), default=0)
    except (UnicodeDecodeError, postgast.PgQueryError):
        return len(content)


def _too_deep(path: str, found: str) -> UsageError:
    return UsageError(
        doing="reading the migrations",
        found=f"{path}:1: {found}",
        expected="statements that are not nested thousands of levels deep",
        next_step="split the expression; nothing was applied",
    )


class ParsableSql:
    """The port `BundleFiles`, whose SQL files can be parsed. `read` raises UsageError."""

    def __init__(self, files: BundleFiles) -> None:
        self._files = files

    def listing(self) -> list[BundleFile]:
        """See `BundleFiles.listing`."""
        return self._files.listing()

    def read(self, path: str) -> bytes | None:
        """See `BundleFiles.read`."""
        content = self._files.read(path)
        problem = refusal(path, content) if content and path.endswith(".sql") else None
        if problem is not None:
            raise problem
        return content

    def digests(self, paths: Sequence[str]) -> dict[str, str | None]:
        """See `BundleFiles.digests`."""
        return self._files.digests(paths)
