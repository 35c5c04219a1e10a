"""The outcome of a step: verdict, results and exit code."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Self

from pydantic import (
    GetJsonSchemaHandler,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tarsrelease.model.base import Value
from tarsrelease.model.details import Details
from tarsrelease.model.open_value import chosen_by
from tarsrelease.model.result import Check, Observed, Status, deciding, worst

__all__ = [
    "Check",
    "ErrorDetail",
    "ExitCode",
    "Observed",
    "Outcome",
    "Status",
    "Verdict",
    "deciding",
    "exit_code_of",
    "worst",
]


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
    """The decision of a step."""

    PROCEED = "proceed"
    HOLD = "hold"
    ROLLBACK = "rollback"
    NO_GO = "no-go"
    POSTPONE = "postpone"


class ErrorDetail(Value):
    """An error with its remedy."""

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
    """The result of every step, as JSON (schemas/outcome.schema.json).

    Either `verdict` or `error` is set. `exit_code` follows from the verdict, or is the error's
    own. `details` holds what is no check (phases with their seconds, counts): each step has its own
    kind (`step_details`), which is chosen by `step` when an outcome is read.
    """

    step: str
    release: str | None
    environment: str | None
    verdict: Verdict | None
    exit_code: ExitCode
    summary: str
    checks: tuple[Check, ...] = ()
    error: ErrorDetail | None = None
    details: SerializeAsAny[Details] = Details()
    started_at: datetime
    finished_at: datetime
    next: str = ""

    @field_validator("details", mode="before")
    @classmethod
    def _of_its_step(cls, given: Any, info: ValidationInfo) -> Details:
        if isinstance(given, Details):
            return given
        from tarsrelease.model.step_details import read_details

        return read_details(info.data.get("step", ""), given)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        from tarsrelease.model.step_details import DETAILS

        return chosen_by(handler, core_schema, "step", "details", DETAILS)

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
