"""Readings of the canary's pods against those of stable's: memory, CPU, anything per pod.

Ranks only. The dominance is the chance that a reading of the canary is above (1 + worse_by) times
one of stable, over all pairs, ties counted half (Mann and Whitney 1947; Vargha and Delaney's A,
2000). It fails at 0.95 and passes while the canary's median is within the margin of stable's
median. So an outlier moves nothing, the unit does not matter, and neither does the order.

Readings of a pod follow each other closely, so there is no honest p-value in them: this is a law of
practical effect, and spends nothing of the budget for false alarms. The margin is the protection.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import isfinite
from statistics import median

from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.model.checks import LikeStableCheck
from tarsrelease.model.format import duration, percent
from tarsrelease.model.measurement import Gauges, Unmeasured
from tarsrelease.model.outcome import Check, Observed, Status

DOMINANCE = 0.95
"""Share of pairs in which the canary is beyond the margin that is called worse."""

_SAME = 1e-9
"""Relative difference below which two readings are the same: rounding is no difference."""


def dominance(ours: Sequence[float], theirs: Sequence[float], factor: float) -> float:
    """The share of pairs with ours > factor x theirs, ties half; neither side is empty."""
    bounds = sorted(factor * value for value in theirs)
    won = 0.0
    for value in ours:
        slack = _SAME * abs(value)
        below = bisect_left(bounds, value - slack)
        won += below + (bisect_right(bounds, value + slack) - below) / 2
    return won / (len(ours) * len(bounds))


def judge(rule: LikeStableCheck, subject: Subject, inputs: Inputs, patience: Patience) -> Check:
    """Fails when the canary dominates the margin, passes when its median is within it."""
    ours = inputs.read(rule.sli, subject.deployment)
    theirs = inputs.read(rule.sli, subject.beside)
    mine, others = _values(ours), _values(theirs)
    ratio = None
    if mine and others and median(others) != 0:
        ratio = median(mine) / median(others)

    def check(status: Status, reason: str) -> Check:
        return Check(
            id=rule.id,
            status=status,
            service=subject.name,
            observed=None if ratio is None else Observed(value=ratio, unit="share"),
            expected=f"≤ {percent(1 + rule.worse_by)} of {subject.other}'s median",
            reason=reason,
            source=inputs.sources.get(rule.sli, ""),
            window=inputs.elapsed,
            samples=len(mine),
            needed=rule.readings,
        )

    if isinstance(ours, Unmeasured):
        return check(Status.ERROR, f"not measured: {ours.reason}")
    if isinstance(theirs, Unmeasured):
        return check(Status.ERROR, f"{subject.other} is not measured: {theirs.reason}")
    if min(len(mine), len(others)) < rule.readings:
        return check(
            Status.INCONCLUSIVE,
            f"{len(mine)} readings, {subject.other} {len(others)}; "
            f"{rule.readings} a side are needed to tell",
        )
    factor = 1.0 + rule.worse_by
    beyond = dominance(mine, others, factor)
    middle = "" if ratio is None else f"median {percent(ratio)} of {subject.other}'s; "
    said = f"{middle}beyond the margin in {percent(beyond)} of all pairs of readings"
    if beyond >= DOMINANCE:
        return check(Status.FAIL, f"{said}: worse")
    newest = max(samples[-1].time for samples in ours.by_pod.values() if samples)
    if inputs.now - newest > patience.stale_after:
        return check(Status.ERROR, f"{said}, but the newest is {duration(inputs.now - newest)} old")
    bound = factor * median(others)
    if median(mine) <= bound + _SAME * abs(bound):
        return check(Status.PASS, said)
    return check(Status.INCONCLUSIVE, f"{said}: higher, but not in nearly all")


def _values(measured: Gauges | Unmeasured) -> list[float]:
    if isinstance(measured, Unmeasured):
        return []
    return [
        sample.value
        for samples in measured.by_pod.values()
        for sample in samples
        if isfinite(sample.value)
    ]
