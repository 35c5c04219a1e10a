"""What an environment changes in rollout.yaml, for rehearsals."""

from __future__ import annotations

from pydantic import Field

from tarsrelease.model.base import Amount, AnyAmount, Seconds, Share, Value
from tarsrelease.model.checks import CheckId, CheckRule
from tarsrelease.model.format import amount, duration
from tarsrelease.model.rollout import Rollout, Stage


class Overrides(Value):
    """Differences from rollout.yaml, for rehearsals; every report prints them.

    `budget_share` is the part of false_rollback_budget that may be spent here. `any_time` ignores
    the deployment window, and with `no_votes` go or no-go needs no votes. `criteria_over` replaces
    the periods of its criteria. `answers` answer the manual checks.
    """

    stage_duration: Seconds | None = None
    max_extension: Seconds | None = None
    confidence: Share | None = None
    false_pass: Share | None = None
    budget_share: float = Field(default=1.0, gt=0, le=1)
    promotion_look: Seconds | None = None
    promotion_bake: Seconds | None = None
    any_time: bool = False
    no_votes: bool = False
    criteria_over: Seconds | None = None
    gauge_limits: dict[CheckId, AnyAmount] = {}
    bad_share_limits: dict[CheckId, Share] = {}
    answers: dict[CheckId, bool] = {}

    def limits(self, table: str | None) -> dict[CheckId, Amount]:
        """The limits of `gauge_limits` or `bad_share_limits` by check id."""
        shares = {
            check: Amount(value=share, unit="share")
            for check, share in self.bad_share_limits.items()
        }
        known = {"gauge_limits": self.gauge_limits, "bad_share_limits": shares}
        return known.get(table or "", {})


def _overridden(check: CheckRule, overrides: Overrides) -> CheckRule:
    limits = overrides.limits(check.limits)
    return check.limited_to(limits[check.id]) if check.id in limits else check


def _overridden_stage(stage: Stage, overrides: Overrides) -> Stage:
    checks = tuple(_overridden(check, overrides) for check in stage.checks)
    update: dict[str, object] = {"checks": checks}
    if overrides.stage_duration is not None:
        update["duration"] = overrides.stage_duration
    if overrides.max_extension is not None:
        update["max_extension"] = overrides.max_extension
    return stage.model_copy(update=update)


def apply_overrides(rollout: Rollout, overrides: Overrides) -> Rollout:
    """The rollout as this environment plays it."""
    sure = {"confidence": overrides.confidence, "false_pass": overrides.false_pass}
    statistics = rollout.statistics.model_copy(
        update={
            "false_rollback_budget": rollout.statistics.false_rollback_budget
            * overrides.budget_share,
            **{name: share for name, share in sure.items() if share is not None},
        }
    )
    promotion = rollout.promotion
    if overrides.promotion_look is not None:
        promotion = promotion.model_copy(update={"look": overrides.promotion_look})
    if overrides.promotion_bake is not None:
        promotion = promotion.model_copy(update={"bake": overrides.promotion_bake})
    roles = {
        name: role.model_copy(update={"votes": False})
        for name, role in rollout.readiness.roles.items()
    }
    without_votes = rollout.readiness.model_copy(update={"roles": roles})
    return rollout.model_copy(
        update={
            "stages": tuple(_overridden_stage(stage, overrides) for stage in rollout.stages),
            "statistics": statistics,
            "promotion": promotion,
            "window": None if overrides.any_time else rollout.window,
            "readiness": without_votes if overrides.no_votes else rollout.readiness,
            "criteria": {
                name: each.model_copy(update={"over": overrides.criteria_over or each.over})
                for name, each in rollout.criteria.items()
            },
        }
    )


def describe_overrides(overrides: Overrides) -> tuple[str, ...]:
    """One line an override, for reports; empty if there is none."""
    seconds = {
        "stage duration": overrides.stage_duration,
        "longest extension": overrides.max_extension,
        "look at each step of the promotion": overrides.promotion_look,
        "bake after the promotion": overrides.promotion_bake,
        "period of go/no-go's criteria": overrides.criteria_over,
    }
    said = [f"{what}: {duration(value)}" for what, value in seconds.items() if value is not None]
    if overrides.any_time:
        said.append("deployment window: any time")
    if overrides.no_votes:
        said.append("votes: none needed")
    if overrides.confidence is not None:
        said.append(f"confidence: {overrides.confidence * 100:g} %")
    if overrides.budget_share != 1.0:
        said.append(f"part of the false rollback budget: {overrides.budget_share * 100:.3g} %")
    if overrides.false_pass is not None:
        said.append(f"chance that twice a limit passes: {overrides.false_pass * 100:g} %")
    said += [
        f"limit of {name}: {amount(limit.value, limit.unit)}"
        for name, limit in overrides.gauge_limits.items()
    ]
    said += [
        f"limit of {name}: {limit * 100:g} %" for name, limit in overrides.bad_share_limits.items()
    ]
    said += [
        f"answer to {name}: {'yes' if yes else 'no'}" for name, yes in overrides.answers.items()
    ]
    return tuple(said)
