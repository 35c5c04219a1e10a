"""Answers of external checks, queried in background threads so that no evaluation waits.

Numbers and staging's requests are polled at their rule's interval; a suite runs once per shift; a
person's answers are given beforehand. Threads are daemons: a verdict does not wait for a test.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import datetime
from time import monotonic, time

from tarsrelease.model.checks import (
    CheckRule,
    ExternalCheck,
    ManualCheck,
    Rule,
    StagingDriftCheck,
    SuiteCheck,
)
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.format import duration
from tarsrelease.model.measurement import ExternalAnswer, Number, Requests, Track, Unmeasured
from tarsrelease.ports.metrics import Suites

_PATIENCE = 10.0
"""Seconds that an answer may take beyond the time when the next one was due."""

ReadNumber = Callable[[ExternalCheck], float]
AskStaging = Callable[[StagingDriftCheck, datetime], Requests]


def _nobody(_rule: StagingDriftCheck, _since: datetime) -> Requests:
    return Requests(None)


class Background:
    """The port `ExternalAnswers`. `answers` are a person's, by check id."""

    def __init__(
        self,
        read_number: ReadNumber,
        suites: Suites | None = None,
        answers: Mapping[str, bool] | None = None,
        ask_staging: AskStaging = _nobody,
    ) -> None:
        self._read_number = read_number
        self._ask_staging = ask_staging
        self._suites = suites
        self._answers = dict(answers or {})
        self._running: dict[object, Future[tuple[ExternalAnswer, float]]] = {}
        self._last: dict[object, ExternalAnswer] = {}
        self._numbers: dict[object, Number] = {}
        self._asked_at: dict[object, float] = {}
        self._answered_at: dict[object, float] = {}

    def answer(self, rule: CheckRule, track: Track, since: datetime) -> ExternalAnswer | None:
        """The newest answer; starts a query if one is due, and returns at once."""
        key = (rule.id, track, since)
        if isinstance(rule, ManualCheck):
            return self._answers.get(rule.id)
        if isinstance(rule, SuiteCheck):
            suites = self._suites
            if suites is None:
                return Unmeasured("this release has no test suite")
            return self._once(key, rule, lambda: suites.run(rule.marks, track))
        if isinstance(rule, ExternalCheck):
            return self._again(key, rule, rule.every, lambda: self._number(key, rule))
        if isinstance(rule, StagingDriftCheck):
            return self._again(key, rule, rule.every, lambda: self._ask_staging(rule, since))
        return Unmeasured(f"checks of kind {rule.kind} have no source")

    def answered(self, check: str, yes: bool) -> None:
        """Record a person's answer to a manual check."""
        self._answers[check] = yes

    def _number(self, key: object, rule: ExternalCheck) -> Number:
        """The number; an answer that could not be read in between ends no row."""
        value, before = self._read_number(rule), self._numbers.get(key)
        same = before is not None and rule.accepts(before.value) is rule.accepts(value)
        found = Number(value, time(), before.in_a_row + 1 if before and same else 1)
        self._numbers[key] = found
        return found

    def _once(
        self, key: object, rule: Rule, work: Callable[[], ExternalAnswer]
    ) -> ExternalAnswer | None:
        if key not in self._asked_at:
            self._start(key, rule, work)
        return self._newest(key)

    def _again(
        self, key: object, rule: Rule, every: float, work: Callable[[], ExternalAnswer]
    ) -> ExternalAnswer | None:
        due = key not in self._asked_at or monotonic() >= self._asked_at[key] + every
        if due and key not in self._running:
            self._start(key, rule, work)
        newest, now = self._newest(key), monotonic()
        age = now - self._answered_at.get(key, now)
        if age > 2 * every + _PATIENCE:
            return Unmeasured(f"no new answer for {duration(age)}")
        return newest

    def _start(self, key: object, rule: Rule, work: Callable[[], ExternalAnswer]) -> None:
        future: Future[tuple[ExternalAnswer, float]] = Future()
        self._asked_at[key] = monotonic()
        self._running[key] = future

        def run() -> None:
            found: ExternalAnswer
            try:
                found = work()
            except ReleaseError as error:
                found = Unmeasured(str(error))
            except Exception as error:  # noqa: BLE001 - a thread's death must not look like waiting
                found = Unmeasured(f"{type(error).__name__}: {error}")
            # Its age counts from here, not from when somebody next looks.
            future.set_result((found, monotonic()))

        threading.Thread(target=run, name=f"asking {rule.id}", daemon=True).start()

    def _newest(self, key: object) -> ExternalAnswer | None:
        """The newest answer; during a query the previous one stays valid."""
        running = self._running.get(key)
        if running is not None and running.done():
            self._last[key], self._answered_at[key] = running.result()
            del self._running[key]
        return self._last.get(key)
