"""Who answers the questions of a command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tarsrelease.cli.settings import Settings

if TYPE_CHECKING:
    from tarsrelease.adapters.terminal.progress import ClosingProgress
    from tarsrelease.ports.people import Person


class _Pausing:
    """Asks on the terminal while the live view is hidden."""

    def __init__(self, person: Person, progress: ClosingProgress) -> None:
        self._person = person
        self._progress = progress

    @property
    def attended(self) -> bool:
        return self._person.attended

    def approves(self, question: str) -> bool:
        with self._progress.paused():
            return self._person.approves(question)


def who_answers(settings: Settings, progress: ClosingProgress) -> Person:
    """Answers with --yes, by the person at the terminal, or not at all."""
    from tarsrelease.adapters.terminal.person import AssumedYes, AtTerminal, Nobody

    if settings.yes:
        return AssumedYes()
    return _Pausing(AtTerminal(), progress) if sys.stdin.isatty() else Nobody()
