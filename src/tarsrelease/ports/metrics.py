"""The ports for measurements: samples, and answers from other systems and people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from tarsrelease.model.checks import CheckRule
from tarsrelease.model.measurement import (
    ExternalAnswer,
    Question,
    Ratios,
    Series,
    Track,
    Unmeasured,
)
from tarsrelease.model.suite import SuiteResult


class History(Protocol):
    """Recorded samples. `selectors` have no placeholders."""

    def server_time(self) -> float:
        """The metrics server's time (Unix time), to tell clock skew from scrape lag."""

    def recorded(
        self, selectors: Sequence[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        """Per selector, each series' value at every `step` seconds from `start` to `end`."""

    def between(self, selectors: Sequence[str], start: float, end: float) -> list[list[Series]]:
        """Per selector, the raw samples after `start` and up to `end` (the server's Unix time)."""


class Metrics(History, Protocol):
    """Recorded and raw samples."""

    def series(self, selectors: Sequence[str], seconds: float) -> list[list[Series]]:
        """Per selector, the raw samples of the last `seconds` on the server's clock."""


class DirectMetrics(Metrics, Protocol):
    """Samples from the pods themselves, read `interval` seconds apart."""

    interval: float
    complete: bool
    """All pods are read, not a sample of them."""


class ExternalAnswers(Protocol):
    """Answers from other systems and people: numbers, test suites, yes or no."""

    def answer(self, rule: CheckRule, track: Track, since: datetime) -> ExternalAnswer | None:
        """The answer for a rule and a track, for the time since the shift.

        Returns at once; None if there is no answer yet, `Unmeasured` if there is no source.
        """

    def answered(self, check: str, yes: bool) -> None:
        """Record a person's answer to a manual check."""


class NoExternalAnswers:
    """For steps without external sources: a check that needs one is an error, never a pass."""

    def answer(self, rule: CheckRule, track: Track, since: datetime) -> ExternalAnswer | None:
        """The reason why there is no answer."""
        del rule, track, since
        return Unmeasured("this command has no external sources")

    def answered(self, check: str, yes: bool) -> None:
        """Do nothing."""


class OtherTargets(Protocol):
    """The other targets of a wave, which are evaluated at the same time."""

    @property
    def targets(self) -> int:
        """The targets of the release, this one included."""

    @property
    def waves(self) -> int:
        """The waves of the release."""

    def exchange(
        self, place: str, ours: Mapping[Question, Ratios]
    ) -> Mapping[Question, list[Ratios]]:
        """Hand in this target's evidence; what the others have handed in for the same place.

        `place` names the stage and the source of metrics.
        """

    def fails(self) -> None:
        """A failure is proven here, and a rollback begins: the release stops at the others."""


class NoOtherTargets:
    """For an environment without targets."""

    @property
    def targets(self) -> int:
        """1."""
        return 1

    @property
    def waves(self) -> int:
        """1."""
        return 1

    def exchange(
        self, place: str, ours: Mapping[Question, Ratios]
    ) -> Mapping[Question, list[Ratios]]:
        """Nothing."""
        del place, ours
        return {}

    def fails(self) -> None:
        """There are no others."""


class Suites(Protocol):
    """The release's test suite, run against stable or the canary."""

    def run(self, marks: Sequence[str], target: Track) -> SuiteResult:
        """Run the tests with one of the marks (without marks: all) against `target`."""
