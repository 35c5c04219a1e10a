"""Progress of many targets in few lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tarsrelease.adapters.terminal.summed import SummedProgress
from tarsrelease.model.outcome import Check, Observed, Status

TARGETS = [f"t{number}" for number in range(300)]


@dataclass
class Said:
    """The lines that were printed, and a clock whose timers ring when time passes."""

    lines: list[str] = field(default_factory=list)
    now: float = 100.0
    timers: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def progress(self) -> SummedProgress:
        return SummedProgress(
            _Lines(self.lines),
            monotonic=lambda: self.now,
            later=lambda seconds, act: self.timers.append((self.now + seconds, act)),
        )

    def passes(self, seconds: float) -> list[str]:
        """Let time pass; the lines that were printed in it."""
        before, end = len(self.lines), self.now + seconds
        while self.timers and min(at for at, _ in self.timers) <= end:
            due = min(self.timers, key=lambda timer: timer[0])
            self.timers.remove(due)
            self.now = due[0]
            due[1]()
        self.now = end
        return self.lines[before:]


@dataclass
class _Lines:
    lines: list[str]

    def say(self, line: str) -> None:
        self.lines.append(line)

    def evaluated(self, *_: object, **__: object) -> None:
        raise AssertionError("evaluations are summed up")


def _check(status: Status, value: float = 0.5) -> Check:
    return Check(
        id="canary.errors",
        status=status,
        service="web",
        observed=Observed(value=value, unit="share"),
        expected="< 1 %",
        reason="",
        source="",
    )


def _evaluated(
    progress: SummedProgress, target: str, elapsed: float, status: Status, stage: int = 25
) -> None:
    progress.at(target).evaluated(f"canary-{stage}", stage, elapsed, 120.0, checks=[_check(status)])


def test_the_same_line_of_many_targets_is_one_line_with_their_names() -> None:
    said = Said()
    progress = said.progress()
    for number, name in enumerate(TARGETS):
        progress.at(name).say(f"canary-25: at 25 % since 12:00:{number % 60:02} UTC; evaluating")
        progress.at(name).say(f"extended by up to {number}s; {number} of {2 * number} requests bad")
    progress.at("t7").say("traffic: 50 % to the canary")
    progress.at("t8").say("traffic: 100 % to the canary")
    assert said.passes(2.0) == [
        "t0, t1, t2, t3, t4 and 295 more: canary-25: at 25 % since 12:00:00 UTC; evaluating",
        "t0, t1, t2, t3, t4 and 295 more: extended by up to 0s; 0 of 0 requests bad",
        "t7: traffic: 50 % to the canary",
        "t8: traffic: 100 % to the canary",
    ]
    assert said.passes(600.0) == []


def test_evaluations_are_one_line_for_each_stage_every_ten_seconds() -> None:
    said = Said()
    progress = said.progress()
    lines = []
    for second in range(0, 60, 5):
        for name in TARGETS[:299]:
            _evaluated(progress, name, second, Status.PASS)
        _evaluated(progress, "t299", second, Status.INCONCLUSIVE, stage=50)
        lines += said.passes(5.0)
    assert lines[:2] == [
        "canary-25: 25 % of traffic at 299 targets, 0s of 2m: 299 pass",
        "canary-50: 50 % of traffic at t299, 0s of 2m: 1 inconclusive",
    ]
    assert 5 <= len(lines) / 2 <= 7


def test_a_result_that_turns_bad_is_shown_at_once_with_its_targets() -> None:
    said = Said()
    progress = said.progress()
    for name in TARGETS:
        _evaluated(progress, name, 3.0, Status.PASS)
    said.passes(2.0)
    for name in TARGETS[10:]:
        _evaluated(progress, name, 5.0, Status.FAIL)
    _evaluated(progress, "t0", 6.0, Status.ERROR)
    assert said.passes(2.0) == [
        "canary-25: 25 % of traffic at 291 targets, 5s to 6s of 2m: "
        "290 failing, 1 could not be measured",
        "  FAIL canary.errors of web at t10, t100, t101, t102, t103 and 285 more (canary-25): "
        "50 %, limit < 1 %",
        "  ERROR canary.errors of web at t0 (canary-25): 50 %, limit < 1 %",
    ]
    for name in TARGETS[10:]:
        _evaluated(progress, name, 8.0, Status.FAIL)
    assert said.passes(2.0) == [], "it was shown"


def test_lines_that_differ_are_counted_if_there_are_too_many() -> None:
    said = Said()
    progress = said.progress()
    for name in TARGETS:
        progress.at(name).say(f"https://{name}.example does not answer")
    lines = said.passes(2.0)
    assert len(lines) == 21
    assert lines[-1] == "and 280 more lines, see --verbose"


def test_what_was_said_last_is_printed_at_the_end() -> None:
    said = Said()
    progress = said.progress()
    progress.at("t1").say("removing the canary")
    _evaluated(progress, "t2", 3.0, Status.PASS)
    said.passes(2.0)
    _evaluated(progress, "t2", 5.0, Status.PASS)
    progress.at("t2").say("removing the canary")
    progress.close()
    assert said.lines == [
        "t1: removing the canary",
        "canary-25: 25 % of traffic at t2, 3s of 2m: 1 pass",
        "t2: removing the canary",
    ]
    assert said.passes(60.0) == [], "nothing comes after the end"
