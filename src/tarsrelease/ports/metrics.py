"""What was measured: samples, and answers that no metrics server has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tarsrelease.model.checks import CheckRule
from tarsrelease.model.measurement import ExternalAnswer, Series, Track, Unmeasured
from tarsrelease.model.suite import SuiteResult


class History(Protocol):
    """Samples of the past, thinned to a grid. `selectors` have no placeholders left."""

    def server_time(self) -> float:
        """The metrics server's present (Unix time), to tell clock skew from scrape lag."""

    def recorded(
        self, selectors: Sequence[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        """Per selector, each series' value at every `step` seconds from `start` to `end`."""


class Metrics(History, Protocol):
    """Raw samples, too."""

    def series(self, selectors: Sequence[str], seconds: float) -> list[list[Series]]:
        """Per selector, the raw samples of the last `seconds` before the server's present."""


class ExternalAnswers(Protocol):
    """Answers that neither the metrics server nor the cluster has: numbers, tests, people."""

    def answer(self, rule: CheckRule, track: Track, since: datetime) -> ExternalAnswer | None:
        """The answer for a rule and one side, for the time since the shift.

        Returns at once; None while there is no answer yet, `Unmeasured` where nobody can be asked.
        """

    def answered(self, check: str, yes: bool) -> None:
        """A person has answered a manual check."""


class NoExternalAnswers:
    """For steps without external sources: a check that needs one is an error, never a pass."""

    def answer(self, rule: CheckRule, track: Track, since: datetime) -> ExternalAnswer | None:
        """Why there is no answer."""
        del rule, track, since
        return Unmeasured("nobody can be asked here")

    def answered(self, check: str, yes: bool) -> None:
        """Nobody listens."""


class Suites(Protocol):
    """The release's own tests, run against one side of what is running."""

    def run(self, marks: Sequence[str], target: Track) -> SuiteResult:
        """The tests that have one of the marks (all of them without any), sent to `target`."""
