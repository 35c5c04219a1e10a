"""Carry out one command on several targets of an environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING

from tarsrelease.adapters.clock import InterruptibleClock
from tarsrelease.adapters.terminal.person import AssumedYes, Nobody
from tarsrelease.cli.session import Recording, Session, Work
from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import ExitCode, Outcome
from tarsrelease.operations.wave_evidence import WaveEvidence
from tarsrelease.ports.people import Person
from tarsrelease.rollout.fleet import after_changes, changed, fleet_outcome, targets_of

if TYPE_CHECKING:
    from tarsrelease.steps.run_waves import Choice

Act = Callable[[Session], Outcome]
Running = Mapping[Future[tuple[Outcome, str | None]], str]

PARALLEL = 32
"""Targets that a command works on at once, unless a wave says otherwise."""


def everywhere(session: Session, work: Work) -> Outcome:
    """Do the work on the chosen targets at the same time; the worst outcome decides.

    Raises `UsageError` if --wave names no wave.
    """
    started_at, wave = datetime.now(UTC), session.settings.wave
    try:
        names = targets_of(session.environment, wave)
    except ValueError as error:
        raise UsageError(
            doing="choosing the targets",
            found=f"--wave {wave}: {error}",
            expected="a wave of the environment, counted from 1",
            next_step="choose another wave, or leave --wave out",
        ) from error
    fleet = Fleet(session, AssumedYes() if session.settings.yes else Nobody())
    found = fleet.each(names, work, PARALLEL)
    outcome = fleet_outcome(session.environment.name, found, started_at, datetime.now(UTC))
    return after_changes(outcome) if session.changes and changed(found) else outcome


def run_in_waves(session: Session, release: Act, choice: Choice) -> Outcome:
    """Release to all targets, wave by wave. `release` releases to the target of a session."""
    from tarsrelease.steps.run_waves import run_waves

    # The approval of a wave covers the stages in its targets.
    return run_waves(
        session.assignment, FleetRelease(Fleet(session, AssumedYes()), release), choice
    )


@dataclass(frozen=True, slots=True)
class Fleet:
    """The targets of a session's environment, and who answers the questions there."""

    session: Session
    person: Person

    def each(self, names: Sequence[str], work: Work, parallel: int) -> dict[str, Outcome]:
        """Each target's outcome by its name, in the order of `names`, recorded in its own segment.

        Ctrl-C, or a target that was rolled back, interrupts the others: each moves its own traffic
        to safety, as if Ctrl-C had been pressed there.
        """
        interrupted = Event()
        environment = self.session.environment
        together = WaveEvidence(len(environment.targets), len(environment.waves))

        def at(name: str) -> Session:
            clock = InterruptibleClock(interrupted)
            return self.session.at(name, clock, self.person, together.at(name))

        with ThreadPoolExecutor(min(parallel, len(names)), "target") as workers:
            started = {workers.submit(work.done, at(name)): name for name in names}
            found = _collected(started, interrupted)
        return {name: found[name] for name in names}


@dataclass(frozen=True, slots=True)
class FleetRelease:
    """The targets of a release in waves: see `steps.run_waves.Targets`."""

    fleet: Fleet
    release: Act

    def status(self, names: Sequence[str]) -> dict[str, Outcome]:
        """See `Targets.status`."""
        from tarsrelease.steps.status import status

        def act(there: Session) -> Outcome:
            return status(there.context)

        return self.fleet.each(names, Work("status", act, Recording.ALWAYS), PARALLEL)

    def run(self, names: Sequence[str], parallel: int) -> dict[str, Outcome]:
        """See `Targets.run`."""
        return self.fleet.each(names, Work("run", self.release, Recording.BY_STEP), parallel)

    def roll_back(self, names: Sequence[str], reason: str) -> dict[str, Outcome]:
        """See `Targets.roll_back`."""
        from tarsrelease.steps.rollback import rollback

        def act(there: Session) -> Outcome:
            return rollback(there.context, reason)

        return self.fleet.each(names, Work("rollback", act, Recording.IF_POSSIBLE), PARALLEL)

    def watch(self, names: Sequence[str], window: float) -> dict[str, Outcome]:
        """See `Targets.watch`."""
        from tarsrelease.steps.watch import watch

        def act(there: Session) -> Outcome:
            return watch(there.context, window)

        return self.fleet.each(names, Work("watch", act, Recording.ALWAYS), PARALLEL)


def _collected(running: Running, interrupted: Event) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    while len(found) < len(running):
        try:
            for future in as_completed(running):
                found[running[future]] = outcome = future.result()[0]
                if outcome.exit_code is ExitCode.ROLLBACK:
                    interrupted.set()
        except KeyboardInterrupt:
            interrupted.set()
    return found
