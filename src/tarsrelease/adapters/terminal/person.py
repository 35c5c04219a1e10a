"""Who answers where the day waits: somebody at a terminal, an assumed yes, or nobody."""

from __future__ import annotations

import sys
from typing import TextIO


class AtTerminal:
    """Asks on the terminal; only ``y`` and ``yes`` are a yes, an ended input is a no."""

    attended = True

    def __init__(self, answers: TextIO | None = None, questions: TextIO | None = None) -> None:
        self._answers = answers
        self._questions = questions

    def approves(self, question: str) -> bool:
        """Ask once and wait for a line."""
        questions = self._questions or sys.stderr
        questions.write(f"{question} [y/N] ")
        questions.flush()
        line = (self._answers or sys.stdin).readline()
        return line.strip().lower() in {"y", "yes"}


class AssumedYes:
    """``--yes``: every approval is given in advance; a hold is never lifted by it."""

    attended = False

    def approves(self, question: str) -> bool:  # noqa: ARG002 - the answer does not depend on it
        """Yes."""
        return True


class Nobody:
    """No terminal and no ``--yes``: nothing is approved."""

    attended = False

    def approves(self, question: str) -> bool:  # noqa: ARG002 - the answer does not depend on it
        """No."""
        return False
