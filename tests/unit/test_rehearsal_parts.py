"""The parts' keeper and process 1's duties, with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tarsrelease.rehearsal.keeper import Check, Part, PartError, Surroundings
from tarsrelease.rehearsal.spawn import ProcessTable

MakePart = Callable[[list[str], Check], Part]


def _with_parts(folder: Path, use: Callable[[MakePart, list[str]], Awaitable[None]]) -> None:
    async def main() -> None:
        said: list[str] = []
        around = Surroundings(
            table=ProcessTable(),
            environment=dict(os.environ),
            logs=folder,
            folder=folder,
            say=said.append,
        )
        made: list[Part] = []

        def make(argv: list[str], ready: Check) -> Part:
            made.append(Part("part", argv, around, ready=ready))
            return made[-1]

        try:
            await use(make, said)
        finally:
            for part in made:
                await part.stop(by=signal.SIGKILL)

    asyncio.run(asyncio.wait_for(main(), 30))


async def _until(check: Callable[[], bool]) -> None:
    while not check():
        await asyncio.sleep(0.01)


def test_a_part_that_dies_is_started_again(tmp_path: Path) -> None:
    async def use(make: MakePart, said: list[str]) -> None:
        part = make(["sleep", "60"], lambda: True)
        part.start()
        await _until(lambda: part.state == "running")
        first = part.describe()["pid"]
        os.kill(first, signal.SIGKILL)
        await _until(lambda: part.state == "running" and part.describe()["pid"] != first)
        assert part.restarts == 1
        assert "status -9" in said[0]

    _with_parts(tmp_path, use)


def test_a_part_that_is_killed_on_request_stays_down_until_started(tmp_path: Path) -> None:
    async def use(make: MakePart, said: list[str]) -> None:
        part = make(["sleep", "60"], lambda: True)
        part.start()
        await _until(lambda: part.state == "running")
        await part.stop(by=signal.SIGKILL)
        assert part.state == "stopped"
        assert part.describe()["pid"] is None
        part.start()
        await _until(lambda: part.state == "running")
        assert (part.restarts, said) == (0, [])

    _with_parts(tmp_path, use)


def test_a_paused_part_hangs_and_goes_on(tmp_path: Path) -> None:
    async def use(make: MakePart, said: list[str]) -> None:
        part = make(["sleep", "60"], lambda: True)
        part.start()
        await _until(lambda: part.state == "running")
        stat = Path(f"/proc/{part.describe()['pid']}/stat")
        part.pause()
        await _until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
        assert part.state == "paused"
        part.resume()
        await _until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S")
        assert part.state == "running"

    _with_parts(tmp_path, use)


def test_a_part_that_will_not_come_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    async def use(make: MakePart, said: list[str]) -> None:
        part = make(["sh", "-c", "echo no such flag; exit 2"], lambda: False)
        part.start()
        with pytest.raises(PartError, match=r"does not stay up.*no such flag"):
            await part.wait_ready(deadline=20)

    _with_parts(tmp_path, use)


def test_a_part_that_runs_but_is_not_ready_in_time_is_said_so(tmp_path: Path) -> None:
    async def use(make: MakePart, said: list[str]) -> None:
        part = make(["sleep", "60"], lambda: False)
        part.start()
        with pytest.raises(PartError, match=r"not ready after 0\.2s"):
            await part.wait_ready(deadline=0.2)

    _with_parts(tmp_path, use)


def test_a_part_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarsrelease.rehearsal.keeper._STOP_DEADLINE", 0.2)

    async def use(make: MakePart, said: list[str]) -> None:
        part = make(
            ["sh", "-c", "trap '' TERM; touch trapped; sleep 60 & wait; wait"], lambda: True
        )
        part.start()
        await _until((tmp_path / "trapped").exists)
        await part.stop()
        assert part.state == "stopped"

    _with_parts(tmp_path, use)


def test_two_starts_are_one_too_many(tmp_path: Path) -> None:
    async def use(make: MakePart, said: list[str]) -> None:
        part = make(["sleep", "60"], lambda: True)
        part.start()
        with pytest.raises(PartError, match="already"):
            part.start()

    _with_parts(tmp_path, use)


def test_orphans_are_reaped_and_own_children_keep_their_status() -> None:
    # In a process of its own that adopts orphans, as process 1 does.
    code = textwrap.dedent(
        """
        import asyncio, ctypes, os, pathlib, tempfile
        from tarsrelease.rehearsal.spawn import ProcessTable

        PR_SET_CHILD_SUBREAPER = 36
        assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

        async def main():
            table = ProcessTable()
            folder = pathlib.Path(tempfile.mkdtemp())
            def start(script):
                return table.spawn(["sh", "-c", script], environment=os.environ,
                                   log=folder / "log", folder=folder)
            child = start("sh -c 'exit 5' & echo $! > orphan; exit 7")
            assert await child.ended == 7
            orphan = (folder / "orphan").read_text().strip()
            # Every end wakes the table; the orphan is gone once a later child has been reaped.
            assert await start("exit 3").ended == 3
            while os.path.exists(f"/proc/{orphan}"):
                await asyncio.sleep(0.01)

        asyncio.run(asyncio.wait_for(main(), 20))
        """
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
