"""The evaluations of stable while traffic moves back to it."""

from __future__ import annotations

from dataclasses import dataclass

from tarsrelease.model.details import StageRow
from tarsrelease.model.measurement import Track
from tarsrelease.model.rollout import Stage
from tarsrelease.operations.observation import Observation


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

    def row(self) -> StageRow:
        """The step as a row of the table of stages."""
        stage, found = self.stage, self.observation
        return StageRow.made(stage.name, stage.weight, found.verdict, self.seconds, found.checks)
