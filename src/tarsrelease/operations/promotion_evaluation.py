"""The evaluations of stable while traffic moves back to it."""

from __future__ import annotations

from dataclasses import dataclass

from tarsrelease.model.details import StageRow
from tarsrelease.model.rollout import Stage
from tarsrelease.operations.observation import Observation


class PromotionStage(Stage):
    """An evaluation of stable while the canary still has some of the traffic."""

    weight: int  # 0 belongs here, too

    @property
    def name(self) -> str:
        """The name in journals, annotations and reports."""
        return stage_name(self.weight)


def stage_name(weight: int) -> str:
    """The name of the promotion's stage at a canary weight."""
    return f"promote-{weight}"


def promotion_stage(last: Stage, weight: int, seconds: float) -> PromotionStage:
    """The last stage's checks, evaluated for `seconds` while the canary has `weight` percent.

    External checks were answered in that stage, and are not asked of stable again.
    """
    checks = tuple(check for check in last.checks if not check.elsewhere) or last.checks
    return PromotionStage(
        weight=weight,
        duration=seconds,
        max_extension=last.max_extension,
        checks=checks,
    )


@dataclass(frozen=True, slots=True)
class PromotionStep:
    """One step of the traffic's way back, for the report."""

    stage: Stage
    seconds: float
    seen: Observation

    def row(self) -> StageRow:
        """As a row of the table of stages."""
        stage, seen = self.stage, self.seen
        return StageRow.made(stage.name, stage.weight, seen.verdict, self.seconds, seen.checks)
