"""Which kind of progress a stream gets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TextIO

from tarsrelease.model.outcome import Check
from tarsrelease.ports.people import Progress


class ClosingProgress(Progress, Protocol):
    """Progress that occupies the terminal, and must give it back."""

    def paused(self) -> AbstractContextManager[None]:
        """Leave the terminal to a question while another thread keeps evaluating."""

    def close(self) -> None:
        """The step is over."""


class NoProgress:
    """``--quiet``: nothing is said."""

    def say(self, line: str) -> None:
        """Nothing."""

    def evaluated(
        self,
        stage: str,
        weight: int | None,
        elapsed: float,
        planned: float,
        *,
        checks: Iterable[Check],
    ) -> None:
        """Nothing."""

    def paused(self) -> AbstractContextManager[None]:
        """Nothing is shown."""
        return nullcontext()

    def close(self) -> None:
        """Nothing was shown."""


def progress_on(
    stream: TextIO,
    *,
    quiet: bool = False,
    verbose: bool = False,
    live: bool = True,
    variables: Mapping[str, str] = os.environ,
) -> ClosingProgress:
    """A live view on a terminal, plain lines elsewhere, in CI, or if it may not be `live`."""
    if quiet:
        return NoProgress()
    in_ci = bool(variables.get("GITHUB_ACTIONS") or variables.get("CI"))
    if verbose or in_ci or not live or not stream.isatty() or variables.get("TERM") == "dumb":
        from tarsrelease.adapters.terminal.plain import PlainProgress

        return PlainProgress(stream, verbose=verbose)
    from tarsrelease.adapters.terminal.live import LiveProgress

    return LiveProgress(stream)
