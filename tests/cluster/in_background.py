"""A command of the release that runs while a test breaks something."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from types import TracebackType
from typing import Any, Self

from tars_day import Day

_LONGEST = 400.0


class Running:
    """`tarsrelease` with these arguments, in the background; killed with the block."""

    def __init__(self, day: Day, *step: str, argv: list[str] | None = None) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            day.cluster.enter_argv([*(argv or day.command(*step)), "--format", "json"]),
            env=day.cluster.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()

    def wait_for(self, text: str) -> None:
        """Until it has said this."""
        end = time.monotonic() + _LONGEST
        while not any(text in line for line in list(self.lines)):
            assert self._process.poll() is None, f"ended without {text!r}: {self.said}"
            assert time.monotonic() < end, f"never said {text!r}: {self.said}"
            time.sleep(0.05)

    def outcome(self, *codes: int) -> dict[str, Any]:
        """Its Outcome, when it has ended with one of these codes."""
        assert self._process.stdout is not None
        printed = self._process.stdout.read()
        code = self._process.wait(_LONGEST)
        self._reading.join(10)
        assert code in codes, f"{code}: {self.said}\n{printed[-3000:]}"
        found: dict[str, Any] = json.loads(printed)
        return found

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    @property
    def said(self) -> str:
        """What it has said so far."""
        return "".join(self.lines)

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)
