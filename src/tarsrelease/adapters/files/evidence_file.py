"""evidence.jsonl: a chain of outcomes in a file; each line has the SHA-256 of the line before.

A process that is killed while writing leaves a torn last line, which is never rewritten: the next
record ends it with a newline and stores its SHA-256 like that of any line. The proof reports it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tarsrelease.model.errors import UsageError
from tarsrelease.model.evidence import Record
from tarsrelease.model.outcome import Outcome

FILE = "evidence.jsonl"
_BLOCK = 64 * 1024


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _as_it_is(outcome: Outcome) -> Outcome:
    return outcome


class EvidenceFile:
    """The port `Evidence` on a folder. Several processes may append at once: a lock orders them."""

    def __init__(
        self,
        folder: Path,
        run: str,
        segment: str,
        *,
        now: Callable[[], datetime] = _utc_now,
        redact: Callable[[Outcome], Outcome] = _as_it_is,
        identity: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`segment` names this job's part where the file is new; an old one keeps its name.

        `redact` gives the outcome as it may be kept, `identity` that of the bundle.
        """
        self.path = folder / FILE
        self._run = run
        self._segment = segment
        self._now = now
        self._redact = redact
        self._identity = identity

    def append(self, outcome: Outcome) -> Record:
        """Append `outcome`, and return when it is on the disk.

        Raises `UsageError` if the folder is not writable.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                return self._append(file.fileno(), outcome)
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def heads(self) -> tuple[str, ...]:
        """The SHA-256 of the newest record, or of those that the next one will follow."""
        try:
            own = self.head()
            return (own,) if own else self._heads_of_others()
        except OSError:
            return ()

    def head(self) -> str | None:
        """The SHA-256 of the newest record; None if there is none."""
        return head_of_file(self.path) if self.path.exists() else None

    def check_writable(self) -> None:
        """Raise `UsageError` if the folder is not writable; changes nothing."""
        place = self.path
        while not place.exists():
            place = place.parent
        if not os.access(place, os.W_OK) or (place != self.path and not place.is_dir()):
            raise self._unwritable(OSError(errno.EACCES, f"no right to write to {place}"))

    def _unwritable(self, problem: OSError) -> UsageError:
        return UsageError(
            doing="recording evidence",
            found=f"{self.path} cannot be written: {problem.strerror}",
            expected="a folder that this user may write to",
            next_step="choose another folder with --evidence DIR",
        )

    def _append(self, file: int, outcome: Outcome) -> Record:
        path = self.path.resolve()
        end = _ends.get(path)
        if end is None or end.size != os.fstat(file).st_size:
            end = self._read_end()
        record = Record(
            format="tarsrelease/evidence/v2",
            number=end.lines + 1,
            at=self._now(),
            run=self._run,
            segment=end.segment or self._segment,
            previous=head_of_file(self.path) if end.lines else None,
            follows=() if end.lines else self._heads_of_others(),
            identity=self._identity(),
            outcome=self._redact(outcome),
        )
        written = [b"\n" * end.torn, record.model_dump_json(by_alias=True).encode(), b"\n"]
        if os.writev(file, written) != sum(map(len, written)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)
        _ends[path] = _End(
            size=os.fstat(file).st_size,
            lines=record.number,
            segment=record.segment,
        )
        if not end.lines:
            folder = os.open(self.path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        return record

    def _read_end(self) -> _End:
        content = self.path.read_bytes()
        torn = bool(content) and not content.endswith(b"\n")
        lines = content.split(b"\n") if torn else content.split(b"\n")[:-1]
        return _End(
            size=len(content),
            lines=len(lines),
            segment=self._segment_of(lines) if lines else None,
            torn=torn,
        )

    def _segment_of(self, lines: list[bytes]) -> str:
        for line in lines:
            try:
                return Record.model_validate_json(line).segment
            except ValueError:
                continue  # torn or changed: the proof reports it
        return self._segment

    def _heads_of_others(self) -> tuple[str, ...]:
        """The hashes of the last lines of the earlier segments in this folder."""
        others = (path for path in self.path.parent.rglob(FILE) if path != self.path)
        return tuple(sorted(filter(None, map(head_of_file, others))))


@dataclass(frozen=True, slots=True)
class _End:
    """Where a file ends, by its size: the number of its lines, and its segment."""

    size: int
    lines: int
    segment: str | None
    torn: bool = False


_ends: dict[Path, _End] = {}
"""The ends of the files that this process wrote. A fleet appends to one file thousands of times,
and a file that still has the size that it left is not read again."""


def head_of_file(path: Path) -> str | None:
    """The SHA-256 of a file's last line; None if it is empty. Reads no more than the line."""
    with path.open("rb") as file:
        begin, content = file.seek(0, os.SEEK_END), b""
        while begin > 0 and b"\n" not in content.rstrip(b"\n"):
            size = min(begin, max(_BLOCK, len(content)))
            begin = file.seek(begin - size)
            content = file.read(size) + content
    return head_of(content)


def head_of(content: bytes) -> str | None:
    """The SHA-256 of a segment's last line; None if the segment is empty."""
    lines = content.rstrip(b"\n").split(b"\n")
    return hashlib.sha256(lines[-1]).hexdigest() if lines[-1] else None


def read_segments(folder: Path) -> dict[str, bytes]:
    """The content of every segment under `folder`, by relative path.

    Raises `UsageError` if there is none.
    """
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(FILE)}
    if not found:
        raise UsageError(
            doing="reading evidence",
            found=f"no {FILE} under {folder}",
            expected="the folder that a step recorded into (--evidence, ./evidence by default)",
            next_step="choose the right folder, or download the run's evidence artifacts into it",
        )
    return dict(sorted(found.items()))


def outcomes_in(folder: Path) -> list[Outcome]:
    """All outcomes under `folder`, segment by segment, without torn lines.

    Does not check the hashes; `report evidence` does.
    """
    found = []
    for path in sorted(folder.rglob(FILE)):
        for line in path.read_bytes().splitlines():
            try:
                found.append(Record.model_validate_json(line).outcome)
            except ValueError:
                continue
    return found
