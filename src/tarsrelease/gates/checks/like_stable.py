"""Readings of the canary's pods against those of stable's: memory, CPU, throughput, hit ratios.

Ranks only. The dominance is the chance that a reading of the canary is beyond the margin of one of
stable, over all pairs, ties counted half (Mann and Whitney 1947; Vargha and Delaney's A, 2000). So
an outlier moves nothing and the unit does not matter. The margin of a reading v is `worse_by` times
its absolute value, so that negative readings have one, too.

All pods together and each pod alone are judged, over the whole stage and over its end: its last
quarter, or one and a half times the readings that the rule requires if that is longer (a part alone
takes so many to fail, as a burst may fill fewer). It fails if one of these is
beyond the margin in 0.95 of all pairs and has a median beyond the margin of everything that stable
had over as long a time: what stable's own bursts or large pods show is no failure. It passes while
the median of all readings is within the margin, and no part's is beyond all that stable had.

Readings of a pod follow each other closely, so they allow no exact p-value: this is a test of
practical effect, and spends nothing of the budget for false alarms. The margin is the protection;
docs/detection.md says how often it is needless.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median

from tarsrelease.gates.checks.comparison import silent_pods
from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.model.checks import LikeStableCheck
from tarsrelease.model.format import duration, names, percent
from tarsrelease.model.measurement import Gauges, Sample, Unmeasured
from tarsrelease.model.outcome import Check, Observed, Status

DOMINANCE = 0.95
"""Share of pairs in which the canary is beyond the margin that is called worse."""

_SAME = 1e-9
"""Relative difference below which two readings are the same: rounding is no difference."""
_FEWEST = 4
"""Readings from which on a pod, or the end of a stage, is judged on its own."""

Readings = Mapping[str, Sequence[Sample]]


def dominance(ours: Sequence[float], theirs: Sequence[float], factor: float) -> float:
    """The share of pairs with ours beyond factor x theirs, ties half; neither side is empty."""
    bounds = sorted(_bound(value, factor) for value in theirs)
    won = 0.0
    for value in ours:
        slack = _SAME * abs(value)
        below = bisect_left(bounds, value - slack)
        won += below + (bisect_right(bounds, value + slack) - below) / 2
    return won / (len(ours) * len(bounds))


def _bound(value: float, factor: float) -> float:
    return value + (factor - 1.0) * abs(value)


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the canary's readings beside stable's of the same time, and their name.

    `past` are stable's medians over all times as long as that; with fewer readings than `enough`
    the part proves nothing.
    """

    name: str
    ours: Sequence[float]
    theirs: Sequence[float]
    past: Sequence[float]
    enough: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """A part that is beyond the margin, in the direction `word`; `proven`: nearly everywhere."""

    part: Part
    word: str
    beyond: float
    proven: bool


def judge(rule: LikeStableCheck, subject: Subject, inputs: Inputs, patience: Patience) -> Check:
    """Fails when the canary dominates the margin, passes when its medians are within it."""
    ours = inputs.read(rule.sli, subject.deployment)
    theirs = inputs.read(rule.sli, subject.beside)
    mine, others = _finite(ours), _finite(theirs)
    some, other = _values(mine), _values(others)
    factor = 1.0 + rule.worse_by

    def check(status: Status, reason: str, part: Part | None = None) -> Check:
        shown = part or Part("", some, other, ())
        ratio = None
        if shown.ours and shown.theirs and median(shown.theirs) != 0:
            ratio = median(shown.ours) / median(shown.theirs)
        return Check(
            id=rule.id,
            status=status,
            service=subject.name,
            observed=None if ratio is None else Observed(value=ratio, unit="share"),
            expected=f"{_range(rule)} of {subject.other}'s median, in every pod and at the end",
            reason=reason,
            source=inputs.sources.get(rule.sli, ""),
            window=inputs.elapsed,
            samples=len(some),
            needed=rule.readings,
        )

    if isinstance(ours, Unmeasured):
        return check(Status.ERROR, f"not measured: {ours.reason}")
    if isinstance(theirs, Unmeasured):
        return check(Status.ERROR, f"{subject.other} is not measured: {theirs.reason}")
    if min(len(some), len(other)) < rule.readings:
        return check(
            Status.INCONCLUSIVE,
            f"{len(some)} readings, {subject.other} {len(other)}; "
            f"{rule.readings} a side are needed to tell",
        )
    past = _finite(Gauges(theirs.before))
    found = [
        finding
        for part in _parts(mine, others, past, rule.readings)
        for finding in _findings(part, rule, factor)
    ]
    if found:
        worst = max(found, key=lambda each: (each.proven, each.beyond))
        said = _said(worst, subject.other)
        if worst.proven:
            return check(Status.FAIL, f"{said}: worse", worst.part)
    newest = max(samples[-1].time for samples in ours.by_pod.values() if samples)
    if inputs.now - newest > patience.stale_after:
        return check(Status.ERROR, f"the newest reading is {duration(inputs.now - newest)} old")
    if silent := silent_pods(ours.by_pod, subject.deployment, inputs, patience):
        return check(Status.ERROR, f"no reading of {names(silent)}")
    if found:
        return check(
            Status.INCONCLUSIVE, f"{said}: {worst.word}, but not in nearly all", worst.part
        )
    whole = Part("", some, other, ())
    beyond = max(share for _, share in _beyond(whole, rule, factor))
    return check(Status.PASS, _said(Finding(whole, "", beyond, False), subject.other))


def _range(rule: LikeStableCheck) -> str:
    low, high = f"≥ {percent(1 / (1 + rule.worse_by))}", f"≤ {percent(1 + rule.worse_by)}"
    return {"increase": high, "decrease": low}.get(rule.direction, f"{low} and {high}")


def _beyond(part: Part, rule: LikeStableCheck, factor: float) -> Iterator[tuple[str, float]]:
    """In each direction that the rule judges, the share of pairs beyond the margin."""
    if rule.direction != "decrease":
        yield "higher", dominance(part.ours, part.theirs, factor)
    if rule.direction != "increase":
        yield "lower", dominance(part.theirs, part.ours, factor)


def _findings(part: Part, rule: LikeStableCheck, factor: float) -> Iterator[Finding]:
    middle, other = median(part.ours), median(part.theirs)
    for word, beyond in _beyond(part, rule, factor):
        if word == "higher":
            now, ever = (middle, other), (middle, max(part.past, default=other))
        else:
            now, ever = (other, middle), (min(part.past, default=other), middle)
        if not _exceeds(*now, factor):
            continue
        unusual = _exceeds(*ever, factor)
        if part.name and not unusual:
            continue
        enough = len(part.ours) >= part.enough
        yield Finding(part, word, beyond, unusual and enough and beyond >= DOMINANCE)


def _exceeds(upper: float, lower: float, factor: float) -> bool:
    bound = _bound(lower, factor)
    return upper > bound + _SAME * abs(bound)


def _said(finding: Finding, other: str) -> str:
    part, ratio = finding.part, ""
    if median(part.theirs) != 0:
        ratio = f"median {percent(median(part.ours) / median(part.theirs))} of {other}'s; "
    return f"{part.name}{ratio}beyond the margin in {percent(finding.beyond)} of all pairs"


def _parts(mine: Readings, others: Readings, past: Readings, readings: int) -> Iterator[Part]:
    """All pods and each of several, over the whole stage and over its end."""
    times = sorted({sample.time for samples in mine.values() for sample in samples})
    longest = max(len(samples) for samples in mine.values())
    enough = readings + readings // 2
    last = max(enough, longest // 4)
    begins = [times[0]]
    if last < len(times):
        begins.append(times[-last])
    history = {pod: (*past.get(pod, ()), *others.get(pod, ())) for pod in {**past, **others}}
    for begin in begins:
        ours = {pod: _since(samples, begin) for pod, samples in mine.items()}
        theirs = _values({pod: _since(samples, begin) for pod, samples in others.items()})
        if not theirs:
            continue
        span = times[-1] - begin
        when = "" if begin == times[0] else f"in the last {duration(span)}, "
        everything = _values(ours)
        if len(everything) >= _FEWEST:
            least = enough if when else readings
            yield Part(when, everything, theirs, _medians({"": _merged(history)}, span), least)
        if len(mine) > 1:
            of_pods = _medians(history, span)
            for pod, samples in ours.items():
                if len(samples) >= _FEWEST:
                    values = [sample.value for sample in samples]
                    yield Part(f"{when}pod {pod}: ", values, theirs, of_pods, enough)


def _medians(history: Readings, span: float) -> list[float]:
    """Each pod's medians over times of `span` seconds that overlap by half."""
    found = []
    for samples in history.values():
        begin = samples[0].time if samples else 0.0
        while samples:
            here = [s.value for s in samples if begin <= s.time <= begin + span]
            if here:
                found.append(median(here))
            if begin + span >= samples[-1].time or span <= 0:
                break
            begin += span / 2
    return found


def _merged(history: Readings) -> list[Sample]:
    return sorted(sample for samples in history.values() for sample in samples)


def _since(samples: Sequence[Sample], begin: float) -> Sequence[Sample]:
    return samples[bisect_left(samples, begin, key=lambda sample: sample.time) :]


def _finite(measured: Gauges | Unmeasured) -> dict[str, list[Sample]]:
    if isinstance(measured, Unmeasured):
        return {}
    found = {
        pod: [sample for sample in samples if isfinite(sample.value)]
        for pod, samples in measured.by_pod.items()
    }
    return {pod: samples for pod, samples in found.items() if samples}


def _values(readings: Readings) -> list[float]:
    return [sample.value for samples in readings.values() for sample in samples]
