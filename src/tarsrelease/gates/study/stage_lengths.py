"""How long the stages must last to be able to decide, from the traffic that stable really has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median, quantiles

from tarsrelease.gates.stats import pass_comparison, pass_side
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.gates.stats.pass_comparison import allows_drift, allows_worse_by
from tarsrelease.gates.stats.power import detection, time_to
from tarsrelease.gates.stats.sequential_test import required_requests
from tarsrelease.model.checks import (
    CompareCheck,
    DriftCheck,
    ProportionCheck,
    StagingDriftCheck,
)
from tarsrelease.model.format import duration
from tarsrelease.model.planning import PlannedCheck
from tarsrelease.model.rollout import Rollout, Stage, Statistics

Slots = Sequence[tuple[float, float]]
"""Bad requests and all requests of a service, one entry a slot of the recording."""

OnRequests = ProportionCheck | CompareCheck | DriftCheck | StagingDriftCheck
"""The rules that a service's requests decide."""

REGRESSION = 2.0
"""The regression whose detection is planned for: twice the limit."""


def plan_stages(
    rollout: Rollout,
    recorded: Mapping[tuple[str, str], Slots],
    *,
    slot: float,
    scrape_interval: float,
) -> tuple[PlannedCheck, ...]:
    """Every check on requests, of every stage and service.

    `recorded` is by (SLI, service), in slots of `slot` seconds; what is missing there had no
    traffic.
    """
    alpha = alpha_per_check(rollout)
    found = []
    for stage in rollout.stages:
        for rule in stage.checks:
            if not isinstance(rule, OnRequests):
                continue
            for service in rollout.services:
                if rule.services and service.name not in rule.services:
                    continue
                slots = recorded.get((rule.sli, service.name), ())
                traffic = _Traffic(slots, slot, scrape_interval)
                found.append(
                    _planned(
                        stage,
                        rule,
                        service.name,
                        traffic,
                        alpha=alpha,
                        statistics=rollout.statistics,
                    )
                )
    return tuple(found)


def regression_found(
    usual: float, limit: float, alpha: float, stage: Stage, interval: float
) -> tuple[tuple[float, float], ...]:
    """(seconds, chance that a canary at `REGRESSION` times the limit is found by then), rising.

    `usual` is in requests a second; `interval` seconds lie between the stage's evaluations.
    """
    share = min(0.99, REGRESSION * limit)
    return detection(usual, share, limit, alpha, seconds=stage.duration, interval=interval)


def not_planned(rollout: Rollout) -> tuple[str, ...]:
    """Ids of the checks that a service's requests do not decide."""
    ids = {
        rule.id
        for stage in rollout.stages
        for rule in stage.checks
        if not isinstance(rule, OnRequests)
    }
    return tuple(sorted(ids))


@dataclass(frozen=True, slots=True)
class _Traffic:
    """A service's recorded requests, and how often they are scraped. Times in seconds."""

    slots: Slots
    slot: float
    scrape_interval: float


def _planned(
    stage: Stage,
    rule: OnRequests,
    service: str,
    traffic: _Traffic,
    *,
    alpha: float,
    statistics: Statistics,
) -> PlannedCheck:
    slots = traffic.slots
    usual, quiet = (
        rate * stage.weight / 100 for rate in rates(slots, traffic.slot, stage.duration)
    )
    bad, total = sum(b for b, _ in slots), sum(n for _, n in slots)
    stable = bad / total if total else 0.0
    limit, told_by = _limit(rule, stable)
    needed = required_requests(told_by, statistics.confidence)
    allowed = stage.duration + stage.max_extension
    # A comparison needs as many requests on stable, too, which has the rest of the traffic.
    slower = usual
    if rule.beside:
        slower = min(usual, usual * (100 - stage.weight) / stage.weight)
    seconds = needed / slower if slower > 0 else None
    quiet_seconds = None
    if quiet > 0 and slower > 0:
        quiet_seconds = needed / (quiet * slower / usual)
    curve = regression_found(usual, limit, alpha, stage, traffic.scrape_interval)
    trouble = None
    if total <= 0:
        trouble = "stable had no requests"
    elif isinstance(rule, ProportionCheck) and stable >= limit:
        trouble = "stable itself breaks the limit: no canary like it can pass"
    elif seconds is None:
        trouble = "stable has no traffic at this weight: nothing to compare with"
    elif seconds > allowed:
        trouble = f"too few requests within {duration(allowed)}"
    return PlannedCheck(
        stage=stage.name,
        service=service,
        check=rule.id,
        limit=limit,
        needed=needed,
        usual=usual,
        quiet=quiet,
        seconds=seconds,
        quiet_seconds=quiet_seconds,
        allowed=allowed,
        found=curve[-1][1],
        found_in=time_to(curve, 0.95),
        stable=stable,
        trouble=trouble,
        advisory=rule.advisory,
        like_stable=_like_stable(rule, stage.weight, stable, needed, statistics.false_pass),
    )


def _like_stable(
    rule: OnRequests, weight: int, stable: float, needed: int, false_pass: float
) -> float | None:
    # Staging is taken to have as many requests as the canary.
    others = (100 - weight) / weight if rule.beside else 1.0
    match rule:
        case ProportionCheck():
            found = max(needed, pass_side.required_at(stable, rule.bad_limit, false_pass))
        case CompareCheck() if others > 0:
            found = pass_comparison.required_at(
                stable,
                others,
                lambda ours, theirs: allows_worse_by(
                    ours, theirs, rule.worse_by, rule.tolerated, false_pass
                ),
                needed,
            )
        case DriftCheck() | StagingDriftCheck() if others > 0:
            found = pass_comparison.required_at(
                stable,
                others,
                lambda ours, theirs: allows_drift(ours, theirs, rule.within, false_pass),
                needed,
            )
        case _:
            return None
    return found if found < inf else None


def _limit(rule: OnRequests, stable: float) -> tuple[float, float]:
    """The share of bad requests that is too much, and the one that sets how many are needed.

    Both are the limit, but for a drift: that is a distance from the other's good share, for which
    stable's stands here (staging, too, is expected to be like it).
    """
    match rule:
        case ProportionCheck():
            return rule.bad_limit, rule.bad_limit
        case CompareCheck():
            return rule.tolerated, rule.tolerated
        case DriftCheck() | StagingDriftCheck():
            return min(stable + rule.within * (1 - stable), 1 - 1e-9), rule.within


def rates(slots: Slots, slot: float, seconds: float) -> tuple[float, float]:
    """Requests a second, usual and quiet, over blocks of about `seconds`. Without any: 0, 0."""
    length = max(1, min(len(slots), round(seconds / slot)))
    blocks = [
        sum(total for _, total in slots[at : at + length]) / (length * slot)
        for at in range(0, len(slots) - length + 1, length)
    ]
    if not blocks:
        return 0.0, 0.0
    quiet = quantiles(blocks, n=10, method="inclusive")[0] if len(blocks) > 1 else blocks[0]
    return median(blocks), quiet
