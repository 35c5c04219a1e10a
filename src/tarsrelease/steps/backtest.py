"""The gates on recorded traffic: how often they would be wrong, and how soon right."""

from __future__ import annotations

from random import Random
from statistics import median

from tarsrelease.gates import recording
from tarsrelease.gates.budget import alpha_per_check
from tarsrelease.gates.checks.seeing import Patience
from tarsrelease.gates.power import detection
from tarsrelease.gates.replay import interval, play, replayed
from tarsrelease.gates.words import percent
from tarsrelease.model.checks import ProportionCheck
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import UsageError
from tarsrelease.model.outcome import Check, Observed, Outcome, Status, Verdict, exit_code_of
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import Rollout, Stage
from tarsrelease.ports import Clock, History, Progress
from tarsrelease.steps.plan_canary import minutes
from tarsrelease.steps.reading_past import read_past

REGRESSIONS = (1.5, 2.0, 4.0)
"""Times as many errors as stable had."""

_RATES = tuple(10 ** (power / 4) for power in range(-2, 17))
"""Requests a second for the curves: from a third to ten thousand."""


def backtest(
    release: Release,
    environment: Environment,
    start: float,
    end: float,
    *,
    windows: int,
    history: History,
    clock: Clock,
    progress: Progress,
) -> Outcome:
    """Every stage, played on up to `windows` stretches of the traffic from `start` to `end`.

    Unix times. The answer is no where a healthy canary (stable itself) would be taken back or
    held in most of the stretches. Raises UsageError where the recording is shorter than a stage.
    """
    started_at = clock.now()
    rollout = release.rollout
    slot = environment.prometheus.scrape_interval
    asked = recording.selectors_of(rollout, environment.kubernetes.namespace)
    found = read_past(
        asked,
        rollout.labels,
        start=start,
        end=end,
        slot=slot,
        history=history,
        progress=progress,
    )
    first, last = int(start // slot) + 1, int(end // slot) - 1
    past = {
        (sli, service.name): recording.whole(found, each, service.name, first, last)
        for sli, each in asked.items()
        for service in rollout.services
    }
    patience = Patience(alpha_per_check(rollout), rollout.statistics.confidence, 1e9)
    rows, checks, facts = [], [], []
    for stage in rollout.stages:
        short = replayed(stage)
        if short is None:
            continue
        shifts = _shifts(short, slot, last - first, windows)
        for worse in (1.0, *REGRESSIONS):
            progress.say(f"{stage.name}: {len(shifts)} stretches, errors x {worse:g}")
            random = Random(f"{stage.name}/{worse:g}")  # noqa: S311 - a simulation, repeatable
            ends = [
                play(short, rollout, past, shift, slot, patience, random, worse=worse)
                for shift in shifts
            ]
            back = [each.seconds for each in ends if each.verdict is Verdict.ROLLBACK]
            passed = sum(each.verdict is Verdict.PROCEED for each in ends)
            low, high = interval(len(back), len(ends))
            fact = {
                "stage": stage.name,
                "errors_times": worse,
                "stretches": len(ends),
                "rolled_back": len(back),
                "rolled_back_interval": [low, high],
                "proceeded": passed,
                "median_seconds": median(back) if back else None,
            }
            facts.append(fact)
            rows.append(
                [
                    stage.name,
                    "stable itself" if worse == 1 else f"errors x {worse:g}",
                    f"{len(back)} of {len(ends)}",
                    f"{percent(low)} to {percent(high)}",
                    f"{passed} of {len(ends)}",
                    minutes(median(back)) if back else "",
                ]
            )
            if worse == 1:
                checks.append(_check(stage, len(back), passed, len(ends)))
    if not checks:
        raise UsageError(
            doing="replaying the stages",
            found="no stage has a check on requests",
            expected="checks of kind proportion or compare in rollout.yaml",
            next_step="add one; pods and gauges cannot be replayed",
        )
    verdict = Verdict.PROCEED
    if any(check.status is not Status.PASS for check in checks):
        verdict = Verdict.NO_GO
    return Outcome(
        step="canary backtest",
        release=release.version,
        environment=environment.name,
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary="a canary like stable passes every stage"
        if verdict is Verdict.PROCEED
        else "a canary like stable does not pass every stage",
        checks=tuple(checks),
        details={
            "played": facts,
            "alpha_per_check": patience.alpha,
            "table": {
                "header": ["stage", "canary", "rolled back", "95 % interval", "passed", "after"],
                "rows": rows,
            },
            "power": power_curves(rollout, slot),
            "not_replayed": "checks of pods and gauges",
        },
        started_at=started_at,
        finished_at=clock.now(),
        next=""
        if verdict is Verdict.PROCEED
        else "tarsrelease canary plan says what each stage lacks",
    )


def _shifts(stage: Stage, slot: float, slots: int, windows: int) -> list[int]:
    """Slots at which stretches begin: disjoint, evenly spread, `windows` at most."""
    length = round((stage.duration + stage.max_extension) / slot) + 1
    room = slots // length
    if room < 1:
        raise UsageError(
            doing=f"replaying {stage.name}",
            found=f"a recording of {minutes(slots * slot)}",
            expected=f"the stage and its extension at least once ({minutes(length * slot)})",
            next_step="give a longer time by --from and --to",
        )
    every = max(1, room // windows)
    return [length * number for number in range(0, room, every)][:windows]


def _check(stage: Stage, back: int, passed: int, among: int) -> Check:
    said = f"stable as its own canary: {passed} of {among} stretches pass, {back} rolled back"
    return Check(
        id="plan.backtest",
        status=Status.PASS if 2 * passed > among and 10 * back <= among else Status.FAIL,
        observed=Observed(value=passed / among, unit="share"),
        expected=f"{stage.name}: most stretches pass, at most a tenth is rolled back",
        reason=said,
        window=stage.duration,
        samples=among,
    )


def power_curves(rollout: Rollout, scrape_interval: float) -> dict[str, list[list[float]]]:
    """By stage: (requests a second of a service, chance to find twice the strictest limit)."""
    alpha = alpha_per_check(rollout)
    found = {}
    for stage in rollout.stages:
        limits = [rule.bad_limit for rule in stage.checks if isinstance(rule, ProportionCheck)]
        if not limits:
            continue
        limit = min(limits)
        found[stage.name] = [
            [
                rate,
                detection(
                    rate * stage.weight / 100,
                    min(0.99, 2 * limit),
                    limit,
                    alpha,
                    seconds=stage.duration,
                    interval=scrape_interval,
                )[-1][1],
            ]
            for rate in _RATES
        ]
    return found
