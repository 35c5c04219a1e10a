"""The chance of a false rollback, divided over everything that could cause one."""

from __future__ import annotations

from tarsrelease.model.rollout import ProportionCheck, Rollout, Stage


def _proportions(stage: Stage) -> int:
    return sum(isinstance(check, ProportionCheck) for check in stage.checks)


def alpha_per_check(rollout: Rollout) -> float:
    """The chance of a false alarm that one proportion check of one service may have.

    The release's budget divided evenly over stages x services x their proportion checks; the
    looks of the promotion, which judge by the last stage's checks, count as stages (union
    bound). A rollout without proportion checks spends nothing: the whole budget is returned.
    """
    looks = [*rollout.stages, *(rollout.stages[-1] for _ in rollout.promotion.weights)]
    tests = len(rollout.services) * sum(_proportions(stage) for stage in looks)
    return rollout.statistics.false_rollback_budget / max(1, tests)
