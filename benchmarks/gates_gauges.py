"""How many bad gauges `like_stable` finds, and how often it fails a healthy canary.

    python benchmarks/gates_gauges.py

Prints the table of docs/detection.md. The series are synthetic, in the style of public recorded
ones (NAB's cloud metrics, the Server Machine Dataset, JVM heaps): levels, ramps, saw teeth, bursts
and heavy tails, with three pods a side, ten minutes at one reading in five seconds and five minutes
of stable before them. Each family has PAIRS normal pairs; each anomaly has as many
pairs, spread over the families that it can occur in. Fixed seeds. The check is judged after every
fourth reading, as a gate would; the last columns are those of the method before, which compared
all readings of the whole stage at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import median

import numpy as np
from numpy.typing import NDArray

from tarsrelease.gates.checks import JUDGES, Inputs, Patience, Subject
from tarsrelease.gates.checks.like_stable import DOMINANCE, dominance
from tarsrelease.model.checks import LikeStableCheck
from tarsrelease.model.measurement import Gauges, Sample, Track, Unmeasured
from tarsrelease.model.outcome import Status

Array = NDArray[np.float64]
Rng = np.random.Generator
Family = Callable[[Rng, int], Array]
"""From a number of pods to their readings, stable's and the canary's alike: pods x TICKS."""

PAIRS = 40
PODS, BEFORE, STAGE, TICK = 3, 60, 120, 5.0
TICKS = BEFORE + STAGE
SUBJECT = Subject("s", Track.CANARY, "canary", "stable")
PATIENCE = Patience(alpha=1e-4, confidence=0.95, stale_after=15.0)


def noise(rng: Rng, pods: int, spread: float, keeps: float = 0.7) -> Array:
    """Autoregressive noise with that standard deviation."""
    found = np.zeros((pods, TICKS))
    fresh = rng.normal(0, spread * np.sqrt(1 - keeps**2), (pods, TICKS))
    found[:, 0] = rng.normal(0, spread, pods)
    for tick in range(1, TICKS):
        found[:, tick] = keeps * found[:, tick - 1] + fresh[:, tick]
    return found


def flat(rng: Rng, pods: int) -> Array:
    """Resident memory."""
    return 1e9 * (1 + noise(rng, pods, 0.02, 0.95))


def saw_teeth(rng: Rng, pods: int) -> Array:
    """A garbage-collected heap: each pod rises from 40 to 100 % and falls, at its own pace."""
    period = rng.integers(20, 90, (pods, 1))
    phase = (np.arange(TICKS) + rng.integers(0, 90, (pods, 1))) % period / period
    return 1e9 * (0.4 + 0.6 * phase) * (1 + noise(rng, pods, 0.02))


def busy(rng: Rng, pods: int) -> Array:
    """CPU time of a busy service."""
    return np.maximum(0.4 * (1 + noise(rng, pods, 0.25)), 0.01)


def bursts(rng: Rng, pods: int) -> Array:
    """CPU time with bursts of 15 s to 75 s to two to four times the level, about every 5 min."""
    found = 0.3 * (1 + noise(rng, pods, 0.15))
    for pod in range(pods):
        for begin in np.flatnonzero(rng.random(TICKS) < 1 / 60):
            found[pod, begin : begin + rng.integers(3, 16)] *= rng.uniform(2, 4)
    return np.maximum(found, 0.01)


def together(rng: Rng, pods: int) -> Array:
    """Load that ramps up on all pods."""
    ramp = np.linspace(1, rng.uniform(0.5, 3), TICKS)
    return np.maximum(ramp * (1 + noise(rng, pods, 0.15)), 0.01)


def batch(rng: Rng, pods: int) -> Array:
    """A job on all pods at the same time, for one to three minutes."""
    found = 0.3 * (1 + noise(rng, pods, 0.15))
    begin = rng.integers(0, TICKS - 12)
    found[:, begin : begin + rng.integers(12, 36)] *= 5
    return np.maximum(found, 0.01)


def latency(rng: Rng, pods: int) -> Array:
    """A heavy-tailed percentile of latency."""
    return 0.1 * np.exp(noise(rng, pods, 0.5, 0.3))


def queue(rng: Rng, pods: int) -> Array:
    """The length of a short queue."""
    return rng.poisson(3.0, (pods, TICKS)).astype(float)


def connections(rng: Rng, pods: int) -> Array:
    """Open connections, which drift slowly."""
    return np.maximum(200 * (1 + noise(rng, pods, 0.15, 0.98)), 0)


def uneven(rng: Rng, pods: int) -> Array:
    """Memory of pods with shards of different sizes."""
    return flat(rng, pods) * np.exp(rng.normal(0, 0.1, (pods, 1)))


def warming(rng: Rng, pods: int) -> Array:
    """A process that takes half of the CPU time more in its first minute of traffic."""
    found = 0.3 * (1 + noise(rng, pods, 0.1))
    found[:, BEFORE : BEFORE + 12] *= 1.5
    return np.maximum(found, 0.01)


def throughput(rng: Rng, pods: int) -> Array:
    """Requests a second."""
    return np.maximum(50 * (1 + noise(rng, pods, 0.15)), 0)


def hits(rng: Rng, pods: int) -> Array:
    """A cache's hit ratio."""
    return np.clip(0.92 + noise(rng, pods, 0.02), 0, 1)


def negative(rng: Rng, pods: int) -> Array:
    """A clock's offset, or a balance that is below 0."""
    return -50 * (1 + noise(rng, pods, 0.1))


RISING: Mapping[str, Family] = {
    "memory": flat,
    "heap with garbage collection": saw_teeth,
    "CPU": busy,
    "CPU with bursts": bursts,
    "load that ramps on both sides": together,
    "a job on both sides": batch,
    "heavy-tailed latency": latency,
    "queue of three": queue,
    "connections": connections,
    "memory of uneven pods": uneven,
    "CPU of a canary that warms up": warming,
    "negative readings": negative,
}
FALLING: Mapping[str, Family] = {"throughput": throughput, "hit ratio": hits}
FAMILIES: Mapping[str, Family] = {**RISING, **FALLING}
STEADY = (flat, busy, latency, connections, together, saw_teeth)


def scaled(factor: float, *, pods: int = PODS, at: float = 0.0) -> Callable[[Array], Array]:
    """So many times the level in some pods, from that part of the stage on."""

    def change(canary: Array) -> Array:
        canary[:pods, BEFORE + round(at * STAGE) :] *= factor
        return canary

    return change


def leaks(until: float, *, pods: int = PODS) -> Callable[[Array], Array]:
    """Rises to so many times the level at the end of the stage."""

    def change(canary: Array) -> Array:
        canary[:pods, BEFORE:] *= np.linspace(1, until, STAGE)
        return canary

    return change


ANOMALIES: Mapping[str, tuple[tuple[Family, ...], Callable[[Array], Array]]] = {
    "all pods at 3 times": (STEADY, scaled(3.0)),
    "all pods at 2 times": (STEADY, scaled(2.0)),
    "a leak from 100 to 192 %": ((flat, uneven), leaks(1.92)),
    "a leak from 100 to 300 %": (STEADY, leaks(3.0)),
    "one pod of three at 100 times": (STEADY, scaled(100.0, pods=1)),
    "one pod of three at 3 times": (STEADY, scaled(3.0, pods=1)),
    "one pod leaks to 300 %": ((flat, uneven), leaks(3.0, pods=1)),
    "3 times in the last quarter": (STEADY, scaled(3.0, at=0.75)),
    "one pod at 3 times in the last quarter": (STEADY, scaled(3.0, pods=1, at=0.75)),
    "throughput at 40 % (decrease)": ((throughput,), scaled(0.4)),
    "hit ratio at 50 % (decrease)": ((hits,), scaled(0.5)),
    "hit ratio at 50 % in one pod (decrease)": ((hits,), scaled(0.5, pods=1)),
}


def gauges(readings: Array, until: int, name: str) -> Gauges:
    """What a gate has read after so many readings of the stage."""

    def pods(first: int, last: int) -> dict[str, tuple[Sample, ...]]:
        return {
            f"{name}-{pod}": tuple(
                Sample(TICK * tick, float(values[tick])) for tick in range(first, last)
            )
            for pod, values in enumerate(readings)
        }

    return Gauges(pods(BEFORE, BEFORE + until), pods(0, BEFORE))


def judged(rule: LikeStableCheck, canary: Array, stable: Array) -> Status:
    """How the stage ends: failed at the first proof, else by its last evaluation."""
    status = Status.INCONCLUSIVE
    for until in range(4, STAGE + 1, 4):
        now = TICK * (BEFORE + until - 1)
        seen = {"g": {"canary": gauges(canary, until, "c"), "stable": gauges(stable, until, "s")}}
        inputs = Inputs({}, seen, Unmeasured(""), {}, now, TICK * until)
        status = JUDGES["like_stable"](rule, SUBJECT, inputs, PATIENCE).status
        if status is Status.FAIL:
            break
    return status


def before(rule: LikeStableCheck, canary: Array, stable: Array) -> Status:
    """The same by the method before: all readings of the stage at once, increases only."""
    factor, status = 1 + rule.worse_by, Status.INCONCLUSIVE
    for until in range(4, STAGE + 1, 4):
        ours, theirs = (
            side[:, BEFORE : BEFORE + until].ravel().tolist() for side in (canary, stable)
        )
        won = dominance([abs(v) for v in ours], [abs(v) for v in theirs], factor)
        if median(theirs) < 0:  # it multiplied negative readings, too
            won = 1.0 if median(ours) > factor * median(theirs) else 0.0
        if won >= DOMINANCE:
            return Status.FAIL
        within = median(ours) <= factor * median(theirs)
        status = Status.PASS if within else Status.INCONCLUSIVE
    return status


def row(name: str, ends: list[tuple[Status, Status]]) -> str:
    """A row of the table: failed, held and passed, now and before."""
    cells = [
        f"{100 * sum(end[which] is status for end in ends) / len(ends):.1f} %"
        for which in (0, 1)
        for status in (Status.FAIL, Status.INCONCLUSIVE, Status.PASS)
    ]
    return f"| {name} | {len(ends)} | " + " | ".join(cells) + " |"


def rule_of(direction: str) -> LikeStableCheck:
    """The default margin and number of readings."""
    values = {"kind": "like_stable", "id": "a.g", "sli": "g", "direction": direction}
    return LikeStableCheck.model_validate(values)


def healthy(name: str) -> list[tuple[Status, Status]]:
    """How the normal pairs of a family end, by the check and by the method before."""
    family, ends = FAMILIES[name], []
    rule = rule_of("decrease" if name in FALLING else "increase")
    rng = np.random.default_rng([41, list(FAMILIES).index(name)])
    for _ in range(PAIRS):
        both = family(rng, 2 * PODS)
        if family is warming:
            both[PODS:, BEFORE : BEFORE + 12] /= 1.5
        canary, stable = both[:PODS], both[PODS:]
        ends.append((judged(rule, canary, stable), before(rule, canary, stable)))
    return ends


def bad(name: str) -> list[tuple[Status, Status]]:
    """The same for an anomaly of the canary."""
    (families, change), ends = ANOMALIES[name], []
    rule = rule_of("decrease" if "decrease" in name else "increase")
    rng = np.random.default_rng([42, list(ANOMALIES).index(name)])
    for number in range(PAIRS):
        both = families[number % len(families)](rng, 2 * PODS)
        canary = change(both[:PODS])
        ends.append((judged(rule, canary, both[PODS:]), before(rule, canary, both[PODS:])))
    return ends


def table(run: Callable[..., Iterator[list[tuple[Status, Status]]]]) -> Iterator[str]:
    """The table of docs/detection.md; `run` maps a function over names."""
    header = "| canary | pairs | failed | held | passed | before: failed | held | passed |"
    yield header
    yield "|---" * (header.count("|") - 1) + "|"
    for word, function, names in (
        ("healthy", healthy, list(FAMILIES)),
        ("bad", bad, list(ANOMALIES)),
    ):
        everything = []
        for name, ends in zip(names, run(function, names), strict=True):
            everything += ends
            yield row(f"{word}: {name}", ends)
        yield row(f"**{word}, all**", everything)


if __name__ == "__main__":
    for line in table(map):
        print(line, flush=True)
