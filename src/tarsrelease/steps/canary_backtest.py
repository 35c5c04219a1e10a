"""Replay the gates on recorded traffic: how often they are wrong, and how fast they are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from statistics import median

from tarsrelease.context import Assignment
from tarsrelease.gates.checks.inputs import Patience
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.gates.stats.power import detection
from tarsrelease.gates.study import recorded_requests, slower_canary
from tarsrelease.gates.study.replay import (
    Harm,
    Recorded,
    Slots,
    fewer_fast,
    interval,
    more_errors,
    not_replayed,
    play,
    replayed,
    unharmed,
)
from tarsrelease.gates.study.slower_canary import SLOWINGS
from tarsrelease.model.checks import ProportionCheck
from tarsrelease.model.details import Table
from tarsrelease.model.errors import UsageError
from tarsrelease.model.format import duration, percent
from tarsrelease.model.outcome import Check, Observed, Outcome, Status, Verdict, exit_code_of
from tarsrelease.model.rollout import Rollout, Stage
from tarsrelease.model.step_details import BacktestDetails, PlayedStage
from tarsrelease.operations.past_requests import RecordedTraffic, Selectors
from tarsrelease.ports.metrics import History

ERRORS = (1.5, 2.0, 4.0)
"""Factors on stable's bad requests, for SLIs that do not measure latency."""

ITSELF = "stable itself"

_RATES = tuple(10 ** (power / 4) for power in range(-2, 17))
"""Requests a second for the curves: from a third to ten thousand."""


def backtest(
    assignment: Assignment, history: History, start: float, end: float, *, windows: int
) -> Outcome:
    """Replay every stage on up to `windows` windows between `start` and `end` (Unix times).

    No-go if a healthy canary (stable itself) passes at most half of the windows, or is rolled
    back in more than a tenth. Raises UsageError if the recording is shorter than a stage.
    """
    release, environment = assignment.release, assignment.environment
    clock, progress = assignment.clock, assignment.people.progress
    started_at = clock.now()
    rollout = release.rollout
    slot = environment.prometheus.scrape_interval
    namespace = environment.kubernetes.namespace
    asked = recorded_requests.selectors_of(rollout, namespace)
    recording = RecordedTraffic(history, rollout, namespace, start, end, slot, progress)
    past = recording.read(asked)
    first, last = recording.slots
    slower = _slower(asked, past, recording)
    patience = Patience(alpha_per_check(rollout), rollout.statistics.confidence, 1e9)
    rows, checks, played = [], [], []
    for stage in rollout.stages:
        short = replayed(stage)
        if short is None:
            continue
        shifts = _shifts(short, slot, last - first, windows)
        for name, harm in _harms(short, asked, slower).items():
            progress.say(f"{stage.name}: replaying {len(shifts)} windows, {name}")
            random = Random(f"{stage.name}/{name}")  # noqa: S311 - a simulation, repeatable
            ends = [
                play(short, Recorded(rollout, past, slot), shift, patience, random, harm=harm)
                for shift in shifts
            ]
            back = [each.seconds for each in ends if each.verdict is Verdict.ROLLBACK]
            passed = sum(each.verdict is Verdict.PROCEED for each in ends)
            low, high = interval(len(back), len(ends))
            played.append(
                PlayedStage(
                    stage=stage.name,
                    canary=name,
                    stretches=len(ends),
                    rolled_back=len(back),
                    rolled_back_interval=(low, high),
                    proceeded=passed,
                    median_seconds=median(back) if back else None,
                )
            )
            rows.append(
                (
                    stage.name,
                    name,
                    f"{len(back)} of {len(ends)}",
                    f"{percent(low)} to {percent(high)}",
                    f"{passed} of {len(ends)}",
                    duration(median(back)) if back else "",
                )
            )
            if name == ITSELF:
                checks.append(_check(stage, len(back), passed, len(ends)))
    if not checks:
        raise UsageError(
            doing="replaying the stages",
            found="no stage has a check on requests",
            expected="a check of kind proportion, compare or drift in rollout.yaml",
            next_step="add one to a stage; checks on pods and gauges cannot be replayed",
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
        details=BacktestDetails(
            played=tuple(played),
            alpha_per_check=patience.alpha,
            table=Table(
                header=("stage", "canary", "rolled back", "95 % interval", "passed", "after"),
                rows=tuple(rows),
            ),
            power=power_curves(rollout, slot),
            not_replayed=(
                *not_replayed(rollout),
                *(() if slower else ("slower canaries, as no SLI is a bucket of a histogram",)),
            ),
        ),
        started_at=started_at,
        finished_at=clock.now(),
        next=""
        if verdict is Verdict.PROCEED
        else "run `tarsrelease canary plan` to see which stages need more time or traffic",
    )


def _harms(
    stage: Stage,
    asked: Mapping[str, Selectors],
    slower: Mapping[str, Mapping[tuple[str, str], Sequence[float]]],
) -> dict[str, Harm]:
    """By name, the simulated canaries whose fault the stage's checks can detect."""
    used = {sli for rule in stage.checks for sli in rule.named_slis()}
    timed = {sli for sli in used if _bound(asked[sli]) is not None}
    found: dict[str, Harm] = {ITSELF: unharmed}
    if used - timed:
        found |= {f"errors x {times:g}": more_errors(times, used - timed) for times in ERRORS}
    if timed:
        found |= {name: fewer_fast(kept) for name, kept in slower.items()}
    return found


def _slower(
    asked: Mapping[str, Selectors],
    past: Mapping[tuple[str, str], Slots],
    recording: RecordedTraffic,
) -> dict[str, dict[tuple[str, str], list[float]]]:
    """By slowing, the share of each slot's good requests that would stay good.

    Reads the histogram buckets around the slowings' bounds; empty if there is no histogram.
    """
    limits = {sli: limit for sli, each in asked.items() if (limit := _bound(each)) is not None}
    if not limits:
        return {}
    buckets: dict[str, Selectors] = {}
    wanted: dict[tuple[str, str], tuple[str, ...]] = {}
    for sli in limits:
        of, good, _ = asked[sli]
        bounds = recording.buckets(good)
        for slowing in SLOWINGS:
            at = slowing.before(limits[sli])
            wanted[slowing.name, sli] = slower_canary.around(bounds, at)
            for le in wanted[slowing.name, sli]:
                buckets[f"{sli} at {le}"] = (of, slower_canary.at_bound(good, le), True)
    found = recording.read(buckets) if buckets else {}
    return {
        slowing.name: {
            (sli, service.name): slower_canary.kept(
                past[sli, service.name],
                {
                    le: found[f"{sli} at {le}", service.name]
                    for le in wanted[slowing.name, sli]
                    if found
                },
                slowing.before(limits[sli]),
            )
            for sli in limits
            for service in recording.rollout.services
        }
        for slowing in SLOWINGS
    }


def _bound(asked: Selectors) -> float | None:
    """The longest duration of an SLI's good requests in seconds; None without a bucket."""
    _, part, is_good = asked
    return slower_canary.bound_of(part) if is_good else None


def _shifts(stage: Stage, slot: float, slots: int, windows: int) -> list[int]:
    """Slots at which windows begin: disjoint, evenly spread, `windows` at most."""
    length = round((stage.duration + stage.max_extension) / slot) + 1
    fitting = slots // length
    if fitting < 1:
        raise UsageError(
            doing=f"replaying {stage.name}",
            found=f"a recording of {duration(slots * slot)}",
            expected=f"the stage and its extension at least once ({duration(length * slot)})",
            next_step="choose a longer period with --from and --to",
        )
    every = max(1, fitting // windows)
    return [length * number for number in range(0, fitting, every)][:windows]


def _check(stage: Stage, back: int, passed: int, among: int) -> Check:
    said = f"stable as its own canary: {passed} of {among} windows pass, {back} rolled back"
    return Check(
        id="plan.backtest",
        status=Status.PASS if 2 * passed > among and 10 * back <= among else Status.FAIL,
        observed=Observed(value=passed / among, unit="share"),
        expected=f"{stage.name}: most windows pass, at most 10 % are rolled back",
        reason=said,
        window=stage.duration,
        samples=among,
    )


def power_curves(
    rollout: Rollout, scrape_interval: float
) -> dict[str, tuple[tuple[float, float], ...]]:
    """By stage: (requests per second of a service, probability to detect twice the limit)."""
    alpha = alpha_per_check(rollout)
    found = {}
    for stage in rollout.stages:
        limits = [rule.bad_limit for rule in stage.checks if isinstance(rule, ProportionCheck)]
        if not limits:
            continue
        limit = min(limits)
        found[stage.name] = tuple(
            (
                rate,
                detection(
                    rate * stage.weight / 100,
                    min(0.99, 2 * limit),
                    limit,
                    alpha,
                    seconds=stage.duration,
                    interval=scrape_interval,
                )[-1][1],
            )
            for rate in _RATES
        )
    return found
