"""Divides the chance of a false rollback over all checks that could cause one."""

from __future__ import annotations

from tarsrelease.gates.checks.evaluate import subjects
from tarsrelease.model.measurement import Track
from tarsrelease.model.rollout import Rollout


def alpha_per_check(rollout: Rollout) -> float:
    """The chance of a false alarm that one check of one service may have.

    The release's budget divided evenly over stages x services x their checks that spend it (those
    which decide by chance; advisory ones do not); the evaluations of the promotion, which judge by
    the last stage's checks, count as stages (union bound). A rollout without such checks spends
    nothing: the whole budget is returned.
    """
    stages = [*rollout.stages, *(rollout.stages[-1] for _ in rollout.promotion.weights)]
    tests = sum(
        len(subjects(rule, rollout, Track.CANARY))
        for stage in stages
        for rule in stage.checks
        if rule.spends and not rule.advisory
    )
    return rollout.statistics.false_rollback_budget / max(1, tests)
