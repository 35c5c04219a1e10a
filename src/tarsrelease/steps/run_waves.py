"""run, for an environment with targets: one wave of targets after the other.

Each target is released by `run` itself, with its own journal, lock and gates. This module asks for
approval of each wave, and decides from the outcomes whether the next one starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from tarsrelease.context import Assignment
from tarsrelease.model.environment import Wave
from tarsrelease.model.errors import RefusedError, UsageError
from tarsrelease.model.format import duration
from tarsrelease.model.outcome import ExitCode, Outcome, Verdict
from tarsrelease.model.step_details import StatusDetails
from tarsrelease.rollout.fleet import (
    after_changes,
    changed,
    first_users,
    fleet_outcome,
    mentioning,
    overtaken,
    some,
    targets_of,
    to_roll_back,
    without,
)

STEP = "run"
_EVALUATED_EVERY = 60.0
_LONGEST_WINDOW = 3600.0


class Targets(Protocol):
    """The targets of an environment, by name. Each method returns their outcomes by name."""

    def status(self, names: Sequence[str]) -> dict[str, Outcome]:
        """Where the release is at these targets, as `status` says."""

    def migrate(self, names: Sequence[str]) -> dict[str, Outcome]:
        """Migrate the databases of these targets, which others use, too."""

    def run(self, names: Sequence[str], parallel: int, began: datetime) -> dict[str, Outcome]:
        """Release to these targets, so many at once; one that is rolled back stops the others.

        `began` is when the release to all targets began: see `run_release`.
        """

    def roll_back(self, names: Sequence[str], reason: str) -> dict[str, Outcome]:
        """Roll these targets back, all at once."""

    def watch(self, names: Sequence[str], window: float) -> dict[str, Outcome]:
        """Evaluate the promoted release over the last `window` seconds."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which part of the waves to release to.

    `left_out`: targets that are not released to, with the reason for each. `wave`: only this one,
    counted from 1; every target of the waves before it must have been promoted.
    """

    left_out: Mapping[str, str] = field(default_factory=dict)
    wave: int | None = None


ALL = Choice()


def run_waves(assignment: Assignment, targets: Targets, choice: Choice = ALL) -> Outcome:
    """Release wave by wave; the outcome has a row for each target that was reached.

    The outcome names the targets that are left out. Raises UsageError if they may not be, or if
    there is no such wave, and RefusedError if it is not the chosen wave's turn.

    A wave starts only when every target of the waves before is promoted and the checks passed at
    the end of their bakes. A database that several targets use is migrated before the first wave
    that uses it. A target that is rolled back stops its wave, and `on_failure` of the wave says
    which other targets are rolled back. Anything else, such as a cluster that does not answer,
    holds: nothing else is rolled back, and the command can be run again.
    """
    environment, clock = assignment.environment, assignment.clock
    started_at = clock.now()
    waves = _chosen(assignment, targets, choice)
    found: dict[str, Outcome] = {}
    begun = False

    def outcome() -> Outcome:
        now = clock.now()
        result = fleet_outcome(environment.name, found, started_at, now, environment.waves)
        result = result.model_copy(update={"step": STEP})
        return mentioning(after_changes(result) if begun else result, choice.left_out)

    for number, wave in enumerate(waves, 1):
        if choice.wave not in (None, number):
            continue
        title = f"wave {number} of {len(waves)} ({some(wave.targets)})"
        if not assignment.people.person.approves(f"Release to {title}?"):
            return _not_approved(assignment, title, found)
        before = [name for each in waves[: number - 1] for name in each.targets]
        if before and (ended := overtaken(targets.status(before))):
            found |= ended
            return outcome()
        assignment.say(f"{title}: starts")
        if migrating := _databases(assignment, waves, number):
            assignment.say(f"{title}: migrating the database of {some(migrating)}")
            migrated = targets.migrate(migrating)
            begun = begun or changed(migrated)
            if _codes(migrated) != {ExitCode.DONE}:
                found |= migrated
                return outcome()
        ended, failing = targets.run(wave.targets, wave.parallel, started_at), ExitCode.ROLLBACK
        found |= ended
        begun = begun or changed(ended)
        if wave.bake and number < len(waves) and _codes(ended) == {ExitCode.DONE}:
            ended, failing = _bake(assignment, targets, wave), ExitCode.NO
        if failing in _codes(ended):
            failed = [name for name, one in ended.items() if one.exit_code is failing]
            why = f"{some(failed)}: {ended[failed[0]].summary}"
            undone = to_roll_back(waves, number, found)
            assignment.say(f"{title}: {why}; rolling back {some(undone) or 'nothing else'}")
            if undone:
                found |= _rolled_back(targets.roll_back(undone, f"{title}: {why}"))
            return outcome()
        if _codes(ended) != {ExitCode.DONE}:
            found |= ended
            return outcome()
    return outcome()


def _chosen(assignment: Assignment, targets: Targets, choice: Choice) -> list[Wave]:
    """The waves without what is left out, after a check that it is the chosen wave's turn."""
    environment = assignment.environment
    try:
        waves = without(environment.waves, choice.left_out)
        targets_of(environment, choice.wave)
    except ValueError as error:
        raise UsageError(
            doing="choosing the targets",
            found=str(error),
            expected="a wave of the environment; --leave-out with a target and a reason, as often "
            "per wave as max_unavailable allows",
            next_step="choose others, or change the waves of the environment file",
        ) from error
    for name, reason in choice.left_out.items():
        assignment.say(f"{name} is left out: {reason}")
    before = [name for wave in waves[: (choice.wave or 1) - 1] for name in wave.targets]
    for name, outcome in (targets.status(before) if before else {}).items():
        details = StatusDetails.of(outcome.details)
        if details is None or details.position.at != "promoted":
            raise RefusedError(
                doing=f"starting wave {choice.wave}",
                found=f"{name} of a wave before it: {outcome.summary}",
                expected=f"{assignment.release.version} promoted in all the waves before",
                next_step="release to the waves before, or leave the target out with a reason",
            )
    return waves


def _databases(assignment: Assignment, waves: Sequence[Wave], number: int) -> list[str]:
    """The targets whose shared databases are migrated before this wave."""
    migrations = assignment.release.manifest.migrations
    if not any(each.phase == "expand" for each in migrations):
        return []
    return first_users(assignment.environment, waves, number)


def _codes(outcomes: Mapping[str, Outcome]) -> set[ExitCode]:
    return {outcome.exit_code for outcome in outcomes.values()}


def _bake(assignment: Assignment, targets: Targets, wave: Wave) -> dict[str, Outcome]:
    """Evaluate the wave's targets until its bake is over, or a check fails: the last outcomes."""
    clock, begun = assignment.clock, assignment.clock.now()
    assignment.say(f"baking for {duration(wave.bake)}")
    while True:
        elapsed = (clock.now() - begun).total_seconds()
        clock.sleep(min(_EVALUATED_EVERY, wave.bake - elapsed))
        elapsed = (clock.now() - begun).total_seconds()
        watched = targets.watch(wave.targets, min(max(elapsed, 1.0), _LONGEST_WINDOW))
        if elapsed >= wave.bake or ExitCode.NO in _codes(watched):
            return watched


def _rolled_back(found: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Rollbacks that succeeded, as the end of a release that was rolled back."""
    ended = {"verdict": Verdict.ROLLBACK, "exit_code": ExitCode.ROLLBACK, "step": STEP}
    return {
        name: one.model_copy(update=ended) if one.exit_code is ExitCode.DONE else one
        for name, one in found.items()
    }


def _not_approved(assignment: Assignment, title: str, found: Mapping[str, Outcome]) -> Outcome:
    now = assignment.clock.now()
    held = Outcome(
        step=STEP,
        release=assignment.release.version,
        environment=assignment.environment.name,
        verdict=Verdict.HOLD if found else Verdict.NO_GO,
        exit_code=ExitCode.HOLD if found else ExitCode.NO,
        summary=f"{title} was not approved",
        started_at=now,
        finished_at=now,
        next="run `tarsrelease run` at a terminal or with --yes to go on",
    )
    if not found:
        return held
    environment = assignment.environment
    so_far = fleet_outcome(environment.name, found, now, now, environment.waves)
    return held.model_copy(update={"details": so_far.details})
