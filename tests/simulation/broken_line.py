"""The line to the API server, which breaks at one call for a minute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from world import World

from tarsrelease.model.errors import LostError, UnreachableError

AWAY = 60.0
_HELM_CHANGES = ("upgrade", "rollback", "uninstall")


class Line:
    """The line to the API server, which breaks at a call; a write may be done nevertheless.

    `breaks` is called when it breaks.
    """

    def __init__(self, world: World, at: int | None = None, *, done: bool = False) -> None:
        self.world, self.at, self.done = world, at, done
        self.calls: list[str] = []
        self.back_at = 0.0
        self.breaks: Callable[[], None] = lambda: None

    def to(self, port: Any) -> Any:
        """The port at the other end."""
        return _End(self, port)

    def call(self, name: str, act: Any) -> Any:
        """One call."""
        self.calls.append(name)
        if len(self.calls) - 1 == self.at:
            if self.done:
                act()
            self.world.kubernetes_up = False
            self.back_at = self.world.now + AWAY
            self.world.at(AWAY, lambda: setattr(self.world, "kubernetes_up", True))
            self.breaks()
        elif self.world.kubernetes_up:
            return act()
        error = LostError if name in _HELM_CHANGES else UnreachableError
        raise error(doing=name, found="broken", expected="it", next_step="wait")


class _End:
    def __init__(self, line: Line, port: Any) -> None:
        self._line, self._port = line, port

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return lambda *args, **named: self._line.call(name, lambda: found(*args, **named))
