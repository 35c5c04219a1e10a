"""Carry out one command on several targets of an environment."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from signal import SIGINT, SIGTERM, signal
from threading import Event, current_thread, main_thread
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from tarsrelease.adapters.clock import InterruptibleClock, SystemClock
from tarsrelease.adapters.terminal.person import AssumedYes, Nobody
from tarsrelease.cli.session import Recording, Session, Work
from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import ExitCode, Outcome
from tarsrelease.operations.wave_evidence import WaveEvidence
from tarsrelease.ports.people import Person
from tarsrelease.rollout.fleet import (
    after_changes,
    changed,
    fleet_outcome,
    not_started,
    one_per_database,
    stops_others,
    targets_of,
)

if TYPE_CHECKING:
    from tarsrelease.adapters.terminal.summed import SummedProgress
    from tarsrelease.context import Context
    from tarsrelease.steps.run_waves import Choice

Running = Mapping[Future[Outcome], str]

PARALLEL = 32
"""Targets that a command works on at once, unless a wave says otherwise."""
ALL = 1024
"""Targets of the commands of `_TO_ALL` at once: all of any usual fleet, so that no cluster that
does not answer delays another. A thread takes less than 100 kB."""
_TO_ALL = frozenset({"status", "rollback", "abort", "hold", "resume"})
_FILES_PER_TARGET = 32
_POLL = 0.2
"""Seconds between two looks at what has arrived: signals, and targets that have ended."""
_COLLECTED_EVERY = 60.0
"""Seconds between two collections of what ended targets leave behind: the samples of a whole
release, some 50 MB each, are in cycles that Python's own collector would find too late."""
_APART = 10
"""Targets that report their progress one by one; that of more is summed up."""


def everywhere(session: Session, work: Work, wave: int | None = None) -> Outcome:
    """Do the work on the chosen targets at the same time; the worst outcome decides.

    `wave` is that of the settings by default. Raises `UsageError` if there is no such wave.
    """
    started_at, wave = datetime.now(UTC), wave or session.settings.wave
    try:
        names = targets_of(session.environment, wave)
        if session.settings.by_database:
            names = one_per_database(session.environment, names)
    except ValueError as error:
        raise UsageError(
            doing="choosing the targets",
            found=f"--wave {wave}: {error}",
            expected="a wave of the environment, counted from 1",
            next_step="choose another wave, or leave --wave out",
        ) from error
    fleet = Fleet(session, AssumedYes() if session.settings.yes else Nobody())
    found = fleet.each(names, work, ALL if work.step in _TO_ALL else PARALLEL)
    environment, now = session.environment, datetime.now(UTC)
    outcome = fleet_outcome(environment.name, found, started_at, now, environment.waves)
    if work.together is not None:
        outcome = work.together(session, found, outcome)
    return after_changes(outcome) if session.changes and changed(found) else outcome


def refuse_at_any(session: Session, refuse: Callable[[Context], None]) -> None:
    """Call `refuse` for every target that uses the database of the session's target.

    Raises what it raises at one of them, with the target's name.
    """
    from tarsrelease.model.errors import ReleaseError

    target = session.settings.target
    if target is None:
        refuse(session.context)
        return
    names = session.whole_environment.sharing(target)
    together = WaveEvidence(len(names), 1)

    def ask(name: str) -> ReleaseError | None:
        there = session.at(name, SystemClock(), session.person, together.at(name))
        try:
            refuse(there.context)
        except ReleaseError as error:
            return error
        return None

    with ThreadPoolExecutor(min(PARALLEL, len(names)), "target") as workers:
        answers = dict(zip(names, workers.map(ask, names), strict=True))
    for name, error in answers.items():
        if error is not None:
            detail = error.detail
            raise type(error)(
                doing=f"{detail.doing} ({name})",
                found=detail.found,
                expected=detail.expected,
                next_step=detail.next,
            ) from error


def reader(session: Session) -> Callable[[], Outcome]:
    """A function that reads where the release is at all targets, over connections that are kept.

    It records nothing; a target that cannot be read is an outcome, too.
    """
    from tarsrelease.cli.outcomes import failed
    from tarsrelease.steps.status import status

    environment = session.environment
    names = targets_of(environment, None)
    together = WaveEvidence(len(names), len(environment.waves))
    sessions = {
        name: session.at(name, SystemClock(), session.person, together.at(name)) for name in names
    }
    _allow_files(_FILES_PER_TARGET * len(names))
    workers = ThreadPoolExecutor(min(ALL, len(names)), "target")

    def one(name: str) -> Outcome:
        there, started_at = sessions[name], datetime.now(UTC)
        try:
            return status(there.context)
        except Exception as problem:  # noqa: BLE001 - the others are shown in any case
            return failed(
                "status", problem, started_at=started_at, environment=f"{environment.name}/{name}"
            )

    def read() -> Outcome:
        started_at = datetime.now(UTC)
        found = dict(zip(names, workers.map(one, names), strict=True))
        now = datetime.now(UTC)
        return fleet_outcome(environment.name, found, started_at, now, environment.waves)

    return read


class Acts(NamedTuple):
    """What a release does at the target of a session.

    `release` gets the time at which the release to all targets began. `migrate` migrates a database
    that other targets use, too.
    """

    release: Callable[[Session, datetime], Outcome]
    migrate: Callable[[Session], Outcome]


def run_in_waves(session: Session, acts: Acts, choice: Choice) -> Outcome:
    """Release to all targets, wave by wave."""
    from tarsrelease.steps.run_waves import run_waves

    # The approval of a wave covers the stages in its targets.
    return run_waves(session.assignment, FleetRelease(Fleet(session, AssumedYes()), acts), choice)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The targets of a session's environment, and who answers the questions there."""

    session: Session
    person: Person

    def each(self, names: Sequence[str], work: Work, parallel: int) -> dict[str, Outcome]:
        """Each target's outcome by its name, in the order of `names`, recorded in its own segment.

        Ctrl-C, or a target at which a failure is proven, interrupts the others: each moves its own
        traffic to safety, as if Ctrl-C had been pressed there. Raises KeyboardInterrupt if Ctrl-C
        was pressed and no target was interrupted by it.
        """
        interrupted = {name: Event() for name in names}
        environment = self.session.environment
        together = WaveEvidence(len(environment.targets), len(environment.waves))
        summed = self._summed(names)

        def at(name: str) -> Session:
            clock = InterruptibleClock(interrupted[name])
            there = self.session.at(name, clock, self.person, together.at(name))
            if summed is not None:
                there.progress = summed.at(name)
            return there

        def done(name: str) -> Outcome:
            if interrupted[name].is_set():
                why = "the step ended at another target"
                now = datetime.now(UTC)
                return not_started(work.step, f"{environment.name}/{name}", why, now)
            return work.done(at(name))[0]

        at_once = min(parallel, len(names))
        _allow_files(_FILES_PER_TARGET * at_once)
        with _signals() as signals, ThreadPoolExecutor(at_once, "target") as workers:
            started = {workers.submit(done, name): name for name in names}
            found = _collected(work.step, started, interrupted, together.failed, signals)
        if summed is not None:
            summed.close()
        if signals and ExitCode.INTERRUPTED not in {one.exit_code for one in found.values()}:
            raise KeyboardInterrupt  # it came too late for these targets, not for what follows
        return {name: found[name] for name in names}

    def _summed(self, names: Sequence[str]) -> SummedProgress | None:
        """The progress of many targets in few lines; None if each has its own lines."""
        settings = self.session.settings
        if len(names) <= _APART or settings.verbose or settings.debug or settings.quiet:
            return None
        from tarsrelease.adapters.terminal.summed import SummedProgress

        return SummedProgress(self.session.progress)


@dataclass(frozen=True, slots=True)
class FleetRelease:
    """The targets of a release in waves: see `steps.run_waves.Targets`."""

    fleet: Fleet
    acts: Acts

    def status(self, names: Sequence[str]) -> dict[str, Outcome]:
        """See `Targets.status`."""
        from tarsrelease.steps.status import status

        def act(there: Session) -> Outcome:
            return status(there.context)

        return self.fleet.each(names, Work("status", act, Recording.ALWAYS), ALL)

    def migrate(self, names: Sequence[str]) -> dict[str, Outcome]:
        """See `Targets.migrate`."""
        return self.fleet.each(names, Work("run", self.acts.migrate, Recording.BY_STEP), PARALLEL)

    def run(self, names: Sequence[str], parallel: int, began: datetime) -> dict[str, Outcome]:
        """See `Targets.run`."""

        def act(there: Session) -> Outcome:
            return self.acts.release(there, began)

        return self.fleet.each(names, Work("run", act, Recording.BY_STEP), parallel)

    def roll_back(self, names: Sequence[str], reason: str) -> dict[str, Outcome]:
        """See `Targets.roll_back`."""
        from tarsrelease.steps.rollback import rollback

        def act(there: Session) -> Outcome:
            return rollback(there.context, reason)

        return self.fleet.each(names, Work("rollback", act, Recording.IF_POSSIBLE), ALL)

    def watch(self, names: Sequence[str], window: float) -> dict[str, Outcome]:
        """See `Targets.watch`."""
        from tarsrelease.steps.watch import watch

        def act(there: Session) -> Outcome:
            return watch(there.context, window)

        return self.fleet.each(names, Work("watch", act, Recording.ALWAYS), PARALLEL)


def _allow_files(wanted: int) -> None:
    """Raise this process's limit of open files, as far as the system allows it."""
    now, most = getrlimit(RLIMIT_NOFILE)
    if now != RLIM_INFINITY and now < wanted:
        raised = wanted if most == RLIM_INFINITY else min(wanted, most)
        setrlimit(RLIMIT_NOFILE, (max(now, raised), most))


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The numbers of the signals that ask this process to end, as they arrive.

    They raise nothing here. CI sends a second one, and a KeyboardInterrupt that is raised while
    another is handled, or inside a lock, would leave the targets without their interrupt.
    """
    found: list[int] = []
    if current_thread() is not main_thread():
        yield found
        return
    numbers = (SIGINT, SIGTERM)
    before = [signal(number, lambda number, _frame: found.append(number)) for number in numbers]
    try:
        yield found
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal(number, handler)


def _collected(
    step: str,
    running: Running,
    interrupted: Mapping[str, Event],
    failed: Collection[str],
    signals: Sequence[int],
) -> dict[str, Outcome]:
    """The outcomes by target. `failed`: where a failure was proven; a rollback goes on there."""
    found: dict[str, Outcome] = {}
    left, freed, collected_at = set(running), 0, monotonic()
    while left:
        ended, left = wait(left, _POLL, FIRST_COMPLETED)
        if len(found) > freed and monotonic() - collected_at >= _COLLECTED_EVERY:
            freed = len(found)
            gc.collect()
            collected_at = monotonic()
        for future in ended:
            found[running[future]] = future.result()
        over = bool(failed) or any(stops_others(step, outcome) for outcome in found.values())
        for name, event in interrupted.items():
            if signals or (over and name not in failed):
                event.set()
    return found
