"""Progress of many targets in few lines: what they have in common is said once."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from tarsrelease.model.format import duration
from tarsrelease.model.outcome import Check, Status, deciding
from tarsrelease.ports.people import Progress
from tarsrelease.report.results import show_observed, show_weight
from tarsrelease.rollout.fleet import some

_TOGETHER = 2.0
"""Seconds in which lines are collected before they are printed."""
_CALM = 10.0
"""Seconds between two summaries of the evaluations, if no result turned bad."""
_MOST = 20
"""Lines that are printed at once; the others are counted."""
_DIFFERS = re.compile(
    r"\b\d\d:\d\d:\d\d\b"
    r"|\b(?:\d+(?:\.\d+)?(?:ms|[dhms]))+\b"
    r"|\b\d+ of \d+ requests"
    r"|\b\d+ requests"
    r"|\([\d.e-]+ %\)"
)
"""What differs between the same lines of two targets: times, durations and numbers of requests."""
_BAD = (Status.FAIL, Status.ERROR)
_WORDS = {
    Status.FAIL: "failing",
    Status.ERROR: "could not be measured",
    Status.INCONCLUSIVE: "inconclusive",
    Status.PASS: "pass",
}


class _Evaluation(NamedTuple):
    stage: str
    weight: int | None
    elapsed: float
    planned: float
    checks: tuple[Check, ...]


_Bad = tuple[str, Status, str, str | None]
"""Stage, result, check and service."""


def _in_background(seconds: float, act: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


class SummedProgress:
    """What all targets say, as lines of `inner`.

    The same line of several targets is one line with their names; its times and numbers of requests
    are those of the first. Evaluations are summed up by stage. `later` calls a function
    after so many seconds.
    """

    def __init__(
        self,
        inner: Progress,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], None] = _in_background,
    ) -> None:
        self._inner, self._monotonic, self._later = inner, monotonic, later
        self._lock = threading.Lock()
        self._waiting = self._closed = False
        self._lines: dict[str, tuple[str, dict[str, None]]] = {}
        self._evaluations: dict[str, _Evaluation] = {}
        self._bad: dict[_Bad, frozenset[str]] = {}
        self._summed_at = float("-inf")

    def at(self, target: str) -> AtTarget:
        """The progress of one target."""
        return AtTarget(self, target)

    def say(self, target: str, line: str) -> None:
        """Keep a line, to be printed together with those of other targets."""
        with self._lock:
            _, names = self._lines.setdefault(_DIFFERS.sub("0", line), (line, {}))
            names[target] = None
            self._print_soon()

    def evaluated(self, target: str, evaluation: _Evaluation) -> None:
        """Keep the newest evaluation of a target."""
        with self._lock:
            self._evaluations[target] = evaluation
            self._print_soon()

    def close(self) -> None:
        """Print what was kept; then nothing more is printed."""
        with self._lock:
            self._print()
            self._closed = True

    def _print_soon(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._later(_TOGETHER, self._print_kept)

    def _print_kept(self) -> None:
        with self._lock:
            self._waiting = False
            if self._closed:
                return
            self._print()
            if self._evaluations:
                self._print_soon()

    def _print(self) -> None:
        lines, self._lines = self._lines, {}
        for line, sayers in list(lines.values())[:_MOST]:
            self._inner.say(f"{some(list(sayers))}: {line}")
        if len(lines) > _MOST:
            self._inner.say(f"and {len(lines) - _MOST} more lines, see --verbose")
        bad = _bad(self._evaluations)
        news = {which: names for which, names in bad.items() if names - self._named(which)}
        if not news and self._monotonic() - self._summed_at < _CALM:
            return
        evaluations, self._evaluations = self._evaluations, {}
        if not evaluations:
            return
        self._summed_at = self._monotonic()
        for line in _summary(evaluations):
            self._inner.say(line)
        for which, names in news.items():
            self._inner.say(f"  {_bad_line(which, sorted(names), evaluations)}")
            self._bad[which] = self._named(which) | names

    def _named(self, which: _Bad) -> frozenset[str]:
        return self._bad.get(which, frozenset())


class AtTarget:
    """The port `Progress` at one of many targets."""

    def __init__(self, together: SummedProgress, target: str) -> None:
        self._together, self._target = together, target

    def say(self, line: str) -> None:
        """See `SummedProgress.say`."""
        self._together.say(self._target, line)

    def evaluated(
        self,
        stage: str,
        weight: int | None,
        elapsed: float,
        planned: float,
        *,
        checks: Iterable[Check],
    ) -> None:
        """See `SummedProgress.evaluated`."""
        found = _Evaluation(stage, weight, elapsed, planned, tuple(checks))
        self._together.evaluated(self._target, found)

    def paused(self) -> AbstractContextManager[None]:
        """Lines need no pause: nothing is redrawn."""
        return nullcontext()

    def close(self) -> None:
        """The others go on."""


def _summary(evaluations: dict[str, _Evaluation]) -> list[str]:
    """One line for each stage: how many targets are in it, and how they do."""
    stages: dict[tuple[str, int | None], dict[str, _Evaluation]] = {}
    for name, found in evaluations.items():
        stages.setdefault((found.stage, found.weight), {})[name] = found
    lines = []
    for (stage, weight), by_name in stages.items():
        alike = list(by_name.values())
        least, most = (duration(round(f(one.elapsed for one in alike))) for f in (min, max))
        span = least if least == most else f"{least} to {most}"
        worst = [_worst(one.checks) for one in alike]
        counts = [(worst.count(status), word) for status, word in _WORDS.items()]
        told = ", ".join(f"{count} {word}" for count, word in counts if count)
        targets = next(iter(by_name)) if len(alike) == 1 else f"{len(alike)} targets"
        lines.append(
            f"{stage}: {show_weight(weight)} at {targets}, "
            f"{span} of {duration(max(one.planned for one in alike))}: {told}"
        )
    return lines


def _worst(checks: Sequence[Check]) -> Status:
    found = {check.status for check in deciding(checks)}
    return next((status for status in _WORDS if status in found), Status.PASS)


def _bad(evaluations: dict[str, _Evaluation]) -> dict[_Bad, frozenset[str]]:
    """The results that are bad or were not measured, with their targets."""
    found: dict[_Bad, set[str]] = {}
    for target, evaluation in evaluations.items():
        for check in deciding(evaluation.checks):
            if check.status in _BAD:
                which = (evaluation.stage, check.status, check.id, check.service)
                found.setdefault(which, set()).add(target)
    return {which: frozenset(names) for which, names in found.items()}


def _bad_line(which: _Bad, names: list[str], evaluations: dict[str, _Evaluation]) -> str:
    stage, status, check_id, service = which
    check = next(
        each
        for each in evaluations[names[0]].checks
        if (each.status, each.id, each.service) == (status, check_id, service)
    )
    whose = f" of {service}" if service else ""
    return (
        f"{check.label.upper()} {check_id}{whose} at {some(names)} ({stage}): "
        f"{show_observed(check.observed)}, limit {check.expected}"
    )
