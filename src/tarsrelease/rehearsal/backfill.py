"""Writes 25 hours of history before the rehearsal into Prometheus' data folder.

Whole periods of two hours never change, so their blocks are cached; only the last, unfinished
one is written again for each cluster. Run by the supervisor as
``python -m tarsrelease.rehearsal.backfill PROMTOOL CACHE TARGET``.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tarsrelease.rehearsal import history
from tarsrelease.rehearsal.paths import locked

# Prometheus' own length of a block, seconds.
_PERIOD: Final = 7200
# A window of 24 hours must be complete even an hour into the rehearsal.
_LENGTH: Final = 25 * 3600
# Prometheus looks back five minutes for the current value of a series. The pods of the history must
# be older than that when the rehearsal begins.
_GAP: Final = 330
_KEEP: Final = 2 * _LENGTH


def fill_cache(promtool: str, cache: Path, now: float) -> list[Path]:
    """The blocks of all whole periods before `now`; missing ones are written."""
    folder = _folder(cache)
    with locked(folder / ".lock"):
        for old in folder.iterdir():
            unfinished = old.name.startswith(".writing-")  # left by a killed process
            if unfinished or (old.name.isdigit() and int(old.name) < now - _KEEP):
                shutil.rmtree(old)
        blocks: list[Path] = []
        for begin in _periods(now):
            kept = folder / str(begin)
            if not kept.exists():
                with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as scratch:
                    written = _write(promtool, begin, begin + _PERIOD, Path(scratch))
                    written.rename(kept)
            blocks += kept.iterdir()
    return blocks


def backfill(promtool: str, cache: Path, target: Path, now: float) -> None:
    """Write the history up to shortly before `now` into `target`, which is created if missing."""
    target.mkdir(parents=True, exist_ok=True)
    for block in fill_cache(promtool, cache, now):
        shutil.copytree(block, target / block.name)
    begin, end = _tail(now)
    if end - begin >= history.STEP:
        with tempfile.TemporaryDirectory() as scratch:
            for block in _write(promtool, begin, end, Path(scratch)).iterdir():
                shutil.move(block, target / block.name)


def _tail(now: float) -> tuple[int, int]:
    end = int(now) - _GAP
    return end // _PERIOD * _PERIOD, end


def _periods(now: float) -> range:
    first = (int(now) - _LENGTH) // _PERIOD * _PERIOD
    return range(first, _tail(now)[0], _PERIOD)


def _folder(cache: Path) -> Path:
    # A changed generator writes other samples, so it gets another folder.
    source = Path(history.__file__).read_bytes()
    return cache / "history" / hashlib.sha256(source).hexdigest()[:12]


def _write(promtool: str, begin: int, end: int, scratch: Path) -> Path:
    """Write the samples of one period as blocks. Returns their folder."""
    text = scratch / "samples.txt"
    with text.open("w") as file:
        file.writelines(history.lines(begin, end))
    blocks = scratch / "blocks"
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", "-q", str(text), str(blocks)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return blocks


if __name__ == "__main__":
    backfill(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), time.time())
