"""The result of a check."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import Field

from tarsrelease.model.base import Value


class Status(StrEnum):
    """The status of a result. `fail` means bad; `error` means it could not be measured."""

    PASS = "pass"  # noqa: S105 - a status, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    SKIPPED = "skipped"


_SEVERITY = (Status.PASS, Status.SKIPPED, Status.INCONCLUSIVE, Status.ERROR, Status.FAIL)


def worst(statuses: Iterable[Status]) -> Status:
    """The most serious status; `error` if there is none, because nothing passes vacuously."""
    return max(statuses, key=_SEVERITY.index, default=Status.ERROR)


class Observed(Value):
    """A measured value and its unit (``share``, ``bytes``, ``seconds``, ``count``)."""

    value: float | str | None
    unit: str


class Check(Value):
    """One check's result. `id` is stable and documented; `service` names the service, if any.

    `samples` is how many requests (or readings) the result stands on, `needed` how many it takes
    to decide, `window` the seconds they were gathered in. An `advisory` result is shown and
    recorded, and decides nothing.
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
    advisory: bool = Field(default=False, exclude_if=lambda advisory: not advisory)

    @property
    def label(self) -> str:
        """The status as people read it."""
        return f"{self.status.value} (advisory)" if self.advisory else self.status.value


def deciding(checks: Iterable[Check]) -> tuple[Check, ...]:
    """The results that are not advisory."""
    return tuple(check for check in checks if not check.advisory)
