"""How every step ends: one `Outcome`, its checks, and the exit code that goes with it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Self

from pydantic import model_validator

from tarsrelease.model.base import Value


class ExitCode(IntEnum):
    """The one table of exit codes (docs/exit-codes.md)."""

    DONE = 0
    NO = 1
    USAGE = 2
    HOLD = 10
    ROLLBACK = 11
    STOPPED = 12
    UNREACHABLE = 69
    BUG = 70
    LOCKED = 75
    INTERRUPTED = 130


class Verdict(StrEnum):
    """What a step decided."""

    PROCEED = "proceed"
    HOLD = "hold"
    ROLLBACK = "rollback"
    NO_GO = "no-go"
    POSTPONE = "postpone"


class Status(StrEnum):
    """What one check found. `fail` means bad; `error` means it could not be measured."""

    PASS = "pass"  # noqa: S105 - a status, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    SKIPPED = "skipped"


_SEVERITY = (Status.PASS, Status.SKIPPED, Status.INCONCLUSIVE, Status.ERROR, Status.FAIL)


def worst(statuses: Iterable[Status]) -> Status:
    """The gravest of the statuses; none at all is `error`, as nothing passes vacuously."""
    return max(statuses, key=_SEVERITY.index, default=Status.ERROR)


class Observed(Value):
    """A measured value and its unit (``share``, ``bytes``, ``seconds``, ``count``)."""

    value: float | str | None
    unit: str


class Check(Value):
    """One check's result. `id` is stable and documented; `service` says whose it is, if anyone's.

    `samples` is how many requests (or readings) the result stands on, `needed` how many it takes
    to decide, `window` the seconds they were gathered in.
    """

    id: str
    status: Status
    service: str | None = None
    observed: Observed | None = None
    expected: str
    reason: str
    source: str = ""
    window: float | None = None
    samples: int | None = None
    needed: int | None = None


class ErrorDetail(Value):
    """An error that tells its remedy."""

    doing: str
    found: str
    expected: str
    next: str


_EXIT_OF_VERDICT = {
    Verdict.PROCEED: ExitCode.DONE,
    Verdict.NO_GO: ExitCode.NO,
    Verdict.POSTPONE: ExitCode.NO,
    Verdict.HOLD: ExitCode.HOLD,
    Verdict.ROLLBACK: ExitCode.ROLLBACK,
}


class Outcome(Value):
    """The JSON in which every step ends (schemas/outcome.schema.json).

    Either `verdict` or `error` is set. `exit_code` follows from the verdict, or is the error's
    own. `details` holds facts of the step that are no checks (phases with their seconds, counts).
    """

    step: str
    release: str | None
    environment: str | None
    verdict: Verdict | None
    exit_code: ExitCode
    summary: str
    checks: tuple[Check, ...] = ()
    error: ErrorDetail | None = None
    details: dict[str, object] = {}
    started_at: datetime
    finished_at: datetime
    next: str = ""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if (self.verdict is None) != (self.error is not None):
            raise ValueError("an outcome has either a verdict or an error")
        expected = None if self.verdict is None else _EXIT_OF_VERDICT[self.verdict]
        if expected is not None and self.exit_code != expected:
            raise ValueError(f"verdict {self.verdict} goes with exit code {expected:d}")
        return self


def exit_code_of(verdict: Verdict) -> ExitCode:
    """The exit code that goes with a verdict (design: exit codes)."""
    return _EXIT_OF_VERDICT[verdict]
