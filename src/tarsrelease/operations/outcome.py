"""Build the outcome of a step, and turn errors after the first change into StoppedError."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tarsrelease.context import Assignment
from tarsrelease.model.details import Details
from tarsrelease.model.errors import (
    LockedError,
    LostError,
    ReleaseError,
    StoppedError,
    UnreachableError,
)
from tarsrelease.model.outcome import Check, Outcome, Verdict, exit_code_of


class StepReport:
    """The start time, phase durations and outcome of a step.

    `seconds` maps each phase to its duration, in order; repeated phases are added up.
    """

    def __init__(self, assignment: Assignment, step: str) -> None:
        self._assignment, self._step = assignment, step
        self.started_at = assignment.clock.now()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block, also if it raises."""
        clock = self._assignment.clock
        began = clock.now()
        try:
            yield
        finally:
            took = (clock.now() - began).total_seconds()
            self.seconds[name] = round(self.seconds.get(name, 0.0) + took, 3)

    @property
    def elapsed(self) -> float:
        """Seconds since the step started."""
        return (self._assignment.clock.now() - self.started_at).total_seconds()

    def outcome(
        self,
        verdict: Verdict,
        summary: str,
        *,
        checks: Sequence[Check] = (),
        details: Details | None = None,
        next_step: str = "",
    ) -> Outcome:
        """The outcome of the step with this verdict."""
        return Outcome(
            step=self._step,
            release=self._assignment.release.version,
            environment=self._assignment.environment.name,
            verdict=verdict,
            exit_code=exit_code_of(verdict),
            summary=summary,
            checks=tuple(checks),
            details=details or Details(),
            started_at=self.started_at,
            finished_at=self._assignment.clock.now(),
            next=next_step,
        )


@contextmanager
def changing(next_step: str) -> Iterator[None]:
    """Turn any ReleaseError in the block into StoppedError (exit code 12).

    LockedError passes unchanged, because another run is now in charge.
    """
    try:
        yield
    except (StoppedError, LockedError):
        raise
    except ReleaseError as error:
        detail = error.detail
        stopped = LostError if isinstance(error, UnreachableError) else StoppedError
        raise stopped(
            doing=detail.doing,
            found=detail.found,
            expected=detail.expected,
            next_step=f"{detail.next}; then {next_step}",
        ) from error
