"""The evaluations of both sides while traffic moves back to stable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypeVar

from tarsrelease.context import Context
from tarsrelease.model.details import StageRow
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Verdict
from tarsrelease.model.rollout import Stage
from tarsrelease.operations.evaluation import StageEvaluation, evaluating
from tarsrelease.operations.observation import Observation
from tarsrelease.operations.tasks import first_of
from tarsrelease.ports.clock import Task

T = TypeVar("T")

SLOW = 5.0
"""Seconds after which both sides are evaluated although a shift or a reading is not done."""


class PromotionStage(Stage):
    """A stage of the promotion: stable is evaluated while traffic moves back to it."""

    weight: int  # unlike in a rollout stage, 0 is allowed

    @property
    def name(self) -> str:
        """The name in journals, annotations and reports."""
        return stage_name(self.weight)


def stage_name(weight: int) -> str:
    """The name of the promotion's stage at a canary weight."""
    return f"promote-{weight}"


def promotion_stage(last: Stage, weight: int, seconds: float) -> PromotionStage:
    """The last stage's checks, evaluated for `seconds` while the canary has `weight` percent.

    Leaves out external checks, which that stage has already evaluated.
    """
    return PromotionStage(
        weight=weight,
        duration=seconds,
        max_extension=last.max_extension,
        checks=last.measured_checks,
    )


@dataclass(frozen=True, slots=True)
class PromotionStep:
    """One step of moving traffic back to stable, for the report."""

    stage: Stage
    seconds: float
    observation: Observation
    failed: Track | None = None

    @classmethod
    def of(
        cls, stage: Stage, since: datetime, observation: Observation, failed: Track | None
    ) -> Self:
        """The step that `observation` has ended, in seconds since `since`."""
        seconds = (observation.decided_at - since).total_seconds()
        return cls(stage, round(seconds, 3), observation, failed)

    def row(self) -> StageRow:
        """The step as a row of the table of stages."""
        stage, found = self.stage, self.observation
        return StageRow.made(stage.name, stage.weight, found.verdict, self.seconds, found.checks)


@dataclass(frozen=True, slots=True)
class FailedSide:
    """The side that failed or lost its pods while something else was waited for."""

    track: Track
    observation: Observation


def evaluate_beside(
    context: Context, pending: Task[T], sides: Sequence[StageEvaluation], after: float = 0.0
) -> T | FailedSide:
    """The result of `pending`, or the side that fails or loses its pods before that.

    The evaluations begin after so many seconds; a side that cannot be evaluated does not end the
    wait.
    """

    def evaluates(side: StageEvaluation) -> Task[Observation]:
        if after:
            yield after
        return (yield from evaluating(context, side))

    tracks = {evaluates(side): side.track for side in sides}
    waiting: list[Task[Any]] = [pending, *tracks]
    while True:
        task, found = first_of(context.clock, *waiting)
        if task is pending:
            result: T = found
            return result
        waiting.remove(task)
        if found.verdict is Verdict.ROLLBACK or found.protection is not None:
            return FailedSide(tracks[task], found)


def sides_with_traffic(
    context: Context, weight: int, since: datetime, keep: Callable[[], None]
) -> list[StageEvaluation]:
    """The evaluations of the sides that have traffic while the canary has `weight` percent since
    `since`, and a shift or a reading is waited for: no share is expected."""
    limits = context.environment.limits
    stage = promotion_stage(context.rollout.stages[-1], weight, limits.wait + limits.deploy)
    shares = {Track.CANARY: weight, Track.STABLE: 100 - weight}
    return [
        StageEvaluation(stage=stage, since=since, weight=None, track=track, each_tick=keep)
        for track, share in shares.items()
        if share > 0
    ]
