"""What the targets of a wave find together, from the traffic of each. Pure.

The product of the targets' likelihood ratios for one alternative is the likelihood ratio of their
added counts, because they have the same limit. So the targets together are like one target with
all their requests, which has the wave's chance of a false alarm (see `gates.checks.pooled`).
"""

from __future__ import annotations

from collections.abc import Mapping

from tarsrelease.gates.checks.pooled import pooled_alpha
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.gates.stats.power import time_to
from tarsrelease.gates.study.stage_lengths import regression_found
from tarsrelease.model.checks import CompareCheck, ProportionCheck
from tarsrelease.model.environment import Environment
from tarsrelease.model.planning import PlannedCheck, PooledCheck
from tarsrelease.model.rollout import Rollout


def plan_waves(
    rollout: Rollout, environment: Environment, planned: Mapping[str, tuple[PlannedCheck, ...]]
) -> tuple[PooledCheck, ...]:
    """Every check that the targets of a wave judge together, wave by wave.

    `rollout` has the overrides of one target, `environment` all targets; `planned` is by target.
    Those that are not in it could not be planned.
    """
    alpha = pooled_alpha(alpha_per_check(rollout), len(environment.targets), len(environment.waves))
    rules = {
        (stage.name, rule.id): (stage, rule) for stage in rollout.stages for rule in stage.checks
    }
    found = []
    for number, wave in enumerate(environment.waves, 1):
        there: dict[tuple[str, str, str], list[PlannedCheck]] = {}
        for name in wave.targets:
            for each in planned.get(name, ()):
                there.setdefault((each.stage, each.service, each.check), []).append(each)
        for (stage_name, service, check), alike in there.items():
            stage, rule = rules[stage_name, check]
            if not isinstance(rule, ProportionCheck | CompareCheck) or rule.advisory:
                continue
            usual, limit = sum(each.usual for each in alike), alike[0].limit
            alone = max(alike, key=lambda each: each.found)
            interval = environment.prometheus.scrape_interval
            curve = regression_found(usual, limit, alpha, stage, interval)
            several = len(alike) > 1
            together, within = curve[-1][1], time_to(curve, 0.95)
            times = [t for t in (alone.found_in, within if several else None) if t is not None]
            found.append(
                PooledCheck(
                    wave=number,
                    stage=stage_name,
                    service=service,
                    check=check,
                    limit=limit,
                    targets=len(alike),
                    usual=usual,
                    alone=alone.found,
                    found=max(alone.found, together) if several else alone.found,
                    found_in=min(times, default=None),
                )
            )
    return tuple(found)
