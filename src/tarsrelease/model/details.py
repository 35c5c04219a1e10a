"""The details of an outcome besides its results: the part that reports show for any step."""

from __future__ import annotations

from typing import Self

from tarsrelease.model.base import Value
from tarsrelease.model.open_value import OpenValue
from tarsrelease.model.result import Check


class Point(Value):
    """One evaluation, for plots: observed values by ``check id/service``, requests by service.

    `elapsed`: seconds since the shift.
    """

    elapsed: float
    values: dict[str, float] = {}
    requests: dict[str, int] = {}

    @classmethod
    def of(cls, checks: tuple[Check, ...], elapsed: float) -> Self:
        """The numbers in these results."""
        return cls(
            elapsed=elapsed,
            values={
                f"{check.id}/{check.service}": check.observed.value
                for check in checks
                if check.observed is not None and isinstance(check.observed.value, (int, float))
            },
            requests={
                check.service: check.samples
                for check in checks
                if check.needed is not None and check.service and check.samples is not None
            },
        )


class Table(Value):
    """The step's own table."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class StageRow(OpenValue):
    """A stage, a promotion step or a migration as a row of a table; seconds are those it took.

    Migrations have neither `weight` nor `requests`, which are those of the service with the
    fewest. `shifted_at` is RFC 3339; the seconds after it are counted from the shift or from the
    verdict.
    """

    name: str
    weight: int | None = None
    verdict: str | None = None
    seconds: float | None = None
    requests: int | None = None
    checks: tuple[Check, ...] = ()
    shifted_at: str | None = None
    seconds_from_shift_to_verdict: float | None = None
    seconds_from_verdict_to_write: float | None = None
    seconds_from_shift_to_write: float | None = None
    extended_seconds: float | None = None

    @classmethod
    def made(
        cls,
        name: str,
        weight: int | None,
        verdict: str,
        seconds: float,
        checks: tuple[Check, ...],
        gate: OpenValue | None = None,
    ) -> StageRow:
        """A stage's row from its checks; the times are those that `gate`, its details, has."""
        requests = [
            check.samples
            for check in checks
            if check.needed is not None and check.samples is not None
        ]
        times = gate.given() if gate is not None else {}
        return cls(
            name=name,
            weight=weight,
            verdict=verdict,
            seconds=seconds,
            requests=min(requests, default=0),
            checks=checks,
            **{key: times[key] for key in _TIMES if key in times},
        )


_TIMES = (
    "shifted_at",
    "seconds_from_shift_to_verdict",
    "seconds_from_verdict_to_write",
    "seconds_from_shift_to_write",
    "extended_seconds",
)


class TargetRow(OpenValue):
    """The outcome at one target. `wave` is counted from 1.

    `weight` is the canary's percentage there, None if unknown; `at` is the word for where the
    release is, as in `Position`, empty if unknown.
    """

    target: str
    wave: int | None = None
    exit_code: int
    at: str = ""
    verdict: str | None = None
    weight: int | None = None
    summary: str
    next: str = ""


class Details(OpenValue):
    """What any step may give, and every report shows; a step's own kind has more.

    `phases`: seconds by phase. `outputs`: those of the action. `charts`: Mermaid blocks.
    `targets`: of a step on several targets, in the order of the waves.
    """

    warnings: tuple[str, ...] = ()
    plan: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    charts: tuple[str, ...] = ()
    table: Table | None = None
    phases: dict[str, float] = {}
    stages: tuple[StageRow, ...] = ()
    history: tuple[Point, ...] = ()
    outputs: dict[str, str] = {}
    targets: tuple[TargetRow, ...] = ()
