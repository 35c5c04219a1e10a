"""Answers to the release's questions: a person at the terminal, --yes, or nobody."""

from __future__ import annotations

import sys
from typing import TextIO


class AtTerminal:
    """Asks on the terminal; ``y`` and ``yes`` approve, anything else and end of input do not."""

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
    """``--yes``: gives every approval in advance, but never lifts a hold."""

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
