"""Runs the load generator as a process and reads its counts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx
import stamina


@dataclass(frozen=True, slots=True)
class Aim:
    """Requests that the load generator sends: to `path` of `host`, `rate` a second."""

    host: str
    path: str
    rate: float


@dataclass(frozen=True, slots=True)
class Sockets:
    """`number` WebSocket sessions at ``/ws`` of `host`."""

    number: int
    host: str


class Load:
    """A running load generator. Leaving the context ends it.

    `target` is the gateway's address, `report` the host:port that it answers on. It also
    keeps `sockets` open and reopens dropped ones.
    """

    def __init__(
        self,
        program: Sequence[str],
        target: str,
        aims: Sequence[Aim],
        report: str,
        sockets: Sockets | None = None,
    ) -> None:
        self._aims = aims
        self._command = [*program, "--target", target, "--report", report]
        if sockets is not None and sockets.number and sockets.host:
            self._command += ["--websockets", str(sockets.number)]
            self._command += ["--websocket-host", sockets.host]
        self._url = f"http://{report}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Load:
        plan = [{"host": aim.host, "path": aim.path, "rate": aim.rate} for aim in self._aims]
        self._process = subprocess.Popen(
            [*self._command, "--plan", json.dumps(plan)], stdout=subprocess.DEVNULL
        )
        self.report()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @stamina.retry(on=httpx.TransportError, timeout=10, wait_initial=0.05, wait_max=0.3)
    def _ask(self, method: str, path: str, body: object = None) -> Any:
        answer = httpx.request(method, f"{self._url}{path}", json=body, timeout=5)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def report(self) -> dict[str, Any]:
        """The generator's own counts since the start or the last reset."""
        found: dict[str, Any] = self._ask("GET", "/report")
        return found

    def reset(self) -> None:
        """Reset the counts."""
        self._ask("POST", "/reset")

    def rate(self, rate: float) -> None:
        """Change the total rate to `rate` requests a second."""
        self._ask("POST", "/rate", {"rate": rate})
