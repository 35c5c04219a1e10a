"""Waves of targets: each target is a simulated cluster, on which `run` plays a whole release."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import contexts
import pytest
from day_world import DayWorld, Unattended, says
from hypothesis import given
from hypothesis import strategies as st
from world import NEW, OLD

from tarsrelease.context import Assignment, People
from tarsrelease.model.environment import Environment, Kubernetes, Target
from tarsrelease.model.errors import RefusedError, UsageError
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import ErrorDetail, ExitCode, Outcome, Verdict, exit_code_of
from tarsrelease.model.position import Position
from tarsrelease.model.step_details import StatusDetails
from tarsrelease.steps.rollback import rollback
from tarsrelease.steps.run_waves import Choice, Targets, run_waves
from tarsrelease.steps.status import status

STABLE_OLD, STABLE_NEW = {(Track.STABLE, OLD)}, {(Track.STABLE, NEW)}
WAVES: list[dict[str, Any]] = [
    {"targets": ["one"], "bake": "10m"},
    {"targets": ["two", "three"], "bake": "10m", "on_failure": "wave"},
    {"targets": ["four"]},
]


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 27, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def in_waves(waves: Sequence[dict[str, Any]], clock: Clock, person: Any = None) -> Assignment:
    """The assignment of a release to the targets of these waves."""
    day = DayWorld()
    written = day.environment.model_dump(by_alias=True, include={"schema_", "name"})
    names = [name for wave in waves for name in wave["targets"]]
    environment = Environment.model_validate(
        {
            **written,
            "kubernetes": {"namespace": "tars"},
            "gateway": day.environment.gateway,
            "prometheus": day.environment.prometheus,
            "targets": [
                Target(name=name, kubernetes=Kubernetes(context=name, namespace="tars"))
                for name in names
            ],
            "waves": waves,
        }
    )
    people = People(person or Unattended(), contexts.people().progress)
    return Assignment(day.release, environment, contexts.RUN, people, clock)


class Worlds:
    """The targets as simulated clusters; `watched` is what watching one of them says."""

    def __init__(self, clock: Clock, names: Sequence[str]) -> None:
        self.clock = clock
        self.days = {name: DayWorld(seed=number) for number, name in enumerate(names)}
        self.started: list[str] = []
        self.watched: Callable[[str], Verdict] = lambda _name: Verdict.PROCEED

    def breaks(self, name: str) -> None:
        """Every canary pod of this cluster fails every request."""
        self.days[name].world.new_pods = lambda pod: setattr(pod, "error_share", 1.0)

    def status(self, names: Sequence[str]) -> dict[str, Outcome]:
        return {name: status(self.days[name].context()) for name in names}

    def migrate(self, names: Sequence[str]) -> dict[str, Outcome]:
        raise AssertionError("no target shares a database")

    def run(self, names: Sequence[str], parallel: int, began: datetime) -> dict[str, Outcome]:
        self.started += names
        return {name: self.days[name].play(Unattended()) for name in names}

    def roll_back(self, names: Sequence[str], reason: str) -> dict[str, Outcome]:
        return {name: rollback(self.days[name].context(), reason) for name in names}

    def watch(self, names: Sequence[str], window: float) -> dict[str, Outcome]:
        return {name: says(self.days[name].world, "watch", self.watched(name)) for name in names}

    def serving(self) -> list[set[tuple[Track, str]]]:
        return [day.serving() for day in self.days.values()]


def released(
    breaks: str | None = None, waves: Sequence[dict[str, Any]] = WAVES
) -> tuple[Worlds, Callable[[], Outcome]]:
    """The clusters, and the release to them in waves."""
    clock = Clock()
    assignment = in_waves(waves, clock)
    worlds = Worlds(clock, [target.name for target in assignment.environment.targets])
    if breaks is not None:
        worlds.breaks(breaks)
    return worlds, lambda: run_waves(assignment, worlds)


def test_a_good_release_reaches_every_target_after_the_bakes_before() -> None:
    worlds, run = released()
    outcome = run()
    assert outcome.exit_code is ExitCode.DONE
    assert worlds.serving() == [STABLE_NEW] * 4
    assert [row.target for row in outcome.details.targets] == ["one", "two", "three", "four"]
    assert (worlds.clock.at - datetime(2026, 11, 27, tzinfo=UTC)).total_seconds() == 1200
    # Run again, it changes nothing.
    assert run().exit_code is ExitCode.DONE


@pytest.mark.parametrize(
    ("policy", "serving"),
    [
        ("wave", [STABLE_NEW, STABLE_OLD, STABLE_OLD, STABLE_OLD]),
        ("all", [STABLE_OLD, STABLE_OLD, STABLE_OLD, STABLE_OLD]),
    ],
)
def test_a_bad_target_ends_its_wave_and_the_policy_says_who_else_is_rolled_back(
    policy: str, serving: list[Any]
) -> None:
    waves = [WAVES[0], {**WAVES[1], "on_failure": policy}, WAVES[2]]
    worlds, run = released("two", waves)
    outcome = run()
    assert outcome.exit_code is ExitCode.ROLLBACK
    assert worlds.serving() == serving
    assert "four" not in worlds.started


def test_the_reason_of_a_rollback_is_the_target_that_failed_not_those_it_interrupted() -> None:
    clock = Clock()
    assignment = in_waves([{"targets": ["one", "two", "three"]}], clock)
    reasons: list[str] = []

    class Ended(Worlds):
        def run(self, names: Sequence[str], parallel: int, began: datetime) -> dict[str, Outcome]:
            found = {name: ended(ExitCode.INTERRUPTED) for name in names}
            bad = {"summary": "canary-25: 28.6 % errors"}
            return {**found, "two": ended(ExitCode.ROLLBACK).model_copy(update=bad)}

        def roll_back(self, names: Sequence[str], reason: str) -> dict[str, Outcome]:
            reasons.append(reason)
            return {name: ended(ExitCode.DONE) for name in names}

    run_waves(assignment, Ended(clock, ["one", "two", "three"]))
    assert reasons == ["wave 1 of 1 (one, two, three): two: canary-25: 28.6 % errors"]


def test_a_check_that_fails_in_the_bake_rolls_the_wave_back() -> None:
    worlds, run = released()
    worlds.watched = lambda name: Verdict.NO_GO if name == "one" else Verdict.PROCEED
    outcome = run()
    assert outcome.exit_code is ExitCode.ROLLBACK
    assert worlds.serving() == [STABLE_OLD] * 4
    assert (worlds.clock.at - datetime(2026, 11, 27, tzinfo=UTC)).total_seconds() == 60


def test_a_bake_that_cannot_be_judged_holds_and_rolls_nothing_back() -> None:
    worlds, run = released()
    worlds.watched = lambda _name: Verdict.HOLD
    assert run().exit_code is ExitCode.HOLD
    assert worlds.serving() == [STABLE_NEW, STABLE_OLD, STABLE_OLD, STABLE_OLD]
    assert worlds.started == ["one"]


def test_a_wave_that_nobody_approves_does_not_start() -> None:
    clock = Clock()

    class No(Unattended):
        def approves(self, question: str) -> bool:
            return "wave 1" in question

    assignment = in_waves(WAVES, clock, No())
    worlds = Worlds(clock, [target.name for target in assignment.environment.targets])
    outcome = run_waves(assignment, worlds)
    assert outcome.exit_code is ExitCode.HOLD
    assert worlds.started == ["one"]
    assert [row.target for row in outcome.details.targets] == ["one"]


def test_a_target_that_is_left_out_with_a_reason_does_not_hold_its_wave() -> None:
    clock = Clock()
    waves = [WAVES[0], {**WAVES[1], "max_unavailable": 1}, WAVES[2]]
    assignment = in_waves(waves, clock)
    worlds = Worlds(clock, [target.name for target in assignment.environment.targets])
    outcome = run_waves(assignment, worlds, Choice({"three": "the region is being evacuated"}))
    assert outcome.exit_code is ExitCode.DONE
    assert worlds.started == ["one", "two", "four"]
    assert worlds.serving() == [STABLE_NEW, STABLE_NEW, STABLE_OLD, STABLE_NEW]
    assert outcome.summary.endswith("left out: three")
    assert outcome.details.targets[-1].summary == "left out: the region is being evacuated"


def test_a_wave_of_its_own_waits_for_its_turn() -> None:
    clock = Clock()
    assignment = in_waves(WAVES, clock)
    worlds = Worlds(clock, [target.name for target in assignment.environment.targets])
    with pytest.raises(RefusedError, match="one of a wave before it"):
        run_waves(assignment, worlds, Choice(wave=2))
    assert worlds.started == []
    for number in (1, 2, 3):
        assert run_waves(assignment, worlds, Choice(wave=number)).exit_code is ExitCode.DONE
    assert worlds.started == ["one", "two", "three", "four"]
    assert worlds.serving() == [STABLE_NEW] * 4
    with pytest.raises(UsageError, match="there are 3 waves, and no wave 4"):
        run_waves(assignment, worlds, Choice(wave=4))


@pytest.mark.parametrize(
    ("left_out", "found"),
    [
        ({"three": "away", "two": "away"}, "wave 2 may leave out 1"),
        ({"one": "away"}, "wave 1 may leave out 0"),
        ({"five": "away"}, "five is not one of the targets"),
        ({"three": " "}, "three has no reason"),
    ],
)
def test_targets_that_may_not_be_left_out_are_refused(left_out: dict[str, str], found: str) -> None:
    clock = Clock()
    waves = [WAVES[0], {**WAVES[1], "max_unavailable": 1}, WAVES[2]]
    assignment = in_waves(waves, clock)
    worlds = Worlds(clock, [target.name for target in assignment.environment.targets])
    with pytest.raises(UsageError, match=found):
        run_waves(assignment, worlds, Choice(left_out))
    assert worlds.started == []


CODES = st.sampled_from(
    [
        *(ExitCode.DONE,) * 6,
        *(ExitCode.NO, ExitCode.HOLD, ExitCode.ROLLBACK, ExitCode.STOPPED),
        *(ExitCode.UNREACHABLE, ExitCode.LOCKED, ExitCode.INTERRUPTED),
    ]
)
_VERDICTS = {exit_code_of(verdict): verdict for verdict in Verdict if verdict != "postpone"}


def ended(code: ExitCode) -> Outcome:
    """An outcome with this exit code."""
    now, verdict = datetime(2026, 11, 27, tzinfo=UTC), _VERDICTS.get(code)
    error = ErrorDetail(doing="run", found="an error", expected="none", next="run it again")
    return Outcome(
        step="run",
        release=NEW,
        environment="tars",
        summary=code.name,
        verdict=verdict,
        exit_code=code,
        error=None if verdict else error,
        started_at=now,
        finished_at=now,
    )


class Drawn:
    """Targets that end as Hypothesis wants; remembers what was asked of them."""

    def __init__(self, data: st.DataObject, log: list[tuple[str, Any]]) -> None:
        self.data, self.log = data, log

    def _draw(self, what: str, names: Sequence[str]) -> dict[str, Outcome]:
        codes = {name: self.data.draw(CODES, f"{what} {name}") for name in names}
        self.log.append((what, codes))
        return {name: ended(code) for name, code in codes.items()}

    def status(self, names: Sequence[str]) -> dict[str, Outcome]:
        position = Position(at="promoted", says="it is stable", next="")
        details = StatusDetails(
            position=position, lock=None, routes=(), deployments=(), helm={}, journal=()
        )
        done = ended(ExitCode.DONE)
        return {name: done.model_copy(update={"details": details}) for name in names}

    def migrate(self, names: Sequence[str]) -> dict[str, Outcome]:
        raise AssertionError("no target shares a database")

    def run(self, names: Sequence[str], parallel: int, began: datetime) -> dict[str, Outcome]:
        return self._draw("run", names)

    def roll_back(self, names: Sequence[str], reason: str) -> dict[str, Outcome]:
        return self._draw("rollback", names)

    def watch(self, names: Sequence[str], window: float) -> dict[str, Outcome]:
        return self._draw("watch", names)


@given(st.data())
def test_no_wave_starts_before_the_wave_before_passed_and_baked(data: st.DataObject) -> None:
    clock, log = Clock(), list[tuple[str, Any]]()
    targets: Targets = Drawn(data, log)
    outcome = run_waves(in_waves(WAVES, clock), targets)
    runs = [codes for what, codes in log if what == "run"]
    assert [set(codes) for codes in runs] == [set(w["targets"]) for w in WAVES[: len(runs)]]
    for number, before in enumerate(runs[:-1]):
        assert set(before.values()) == {ExitCode.DONE}
        bakes = [codes for what, codes in log if what == "watch" and set(codes) == set(before)]
        assert set(bakes[-1].values()) == {ExitCode.DONE}, number
        assert len(bakes) == 10
    rolled_back = [set(codes) for what, codes in log if what == "rollback"]
    last = {code for _, codes in log[-2:] for code in codes.values()}
    if rolled_back:
        assert log[-1][0] == "rollback", "nothing follows a rollback"
        assert last & {ExitCode.ROLLBACK, ExitCode.NO}
    if outcome.exit_code is ExitCode.DONE:
        assert len(runs) == len(WAVES)
        assert all(set(codes.values()) == {ExitCode.DONE} for codes in runs)
    if outcome.exit_code in (ExitCode.NO, ExitCode.UNREACHABLE, ExitCode.LOCKED):
        changed = {ExitCode.DONE, ExitCode.HOLD, ExitCode.STOPPED, ExitCode.INTERRUPTED}
        assert not {code for codes in runs for code in codes.values()} & changed
