"""Tables of docs/detection.md on what gates meet in the field, printed as Markdown.

    python benchmarks/gates_field.py

The pass side, late changes, gauges and the information bound, with fixed seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import log
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import binom

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "simulation"))

from law_world import (
    ALPHA,
    PATIENCE,
    SUBJECT,
    TICK,
    Side,
    inputs,
    naive,
)

import gates_gauges
from tarsrelease.gates.checks import JUDGES
from tarsrelease.gates.stats import pass_comparison
from tarsrelease.gates.stats.pass_comparison import allows_drift, allows_worse_by
from tarsrelease.gates.stats.pass_side import passes, requests_to_pass, required_at
from tarsrelease.gates.stats.sequential_test import required_requests
from tarsrelease.model.checks import ProportionCheck
from tarsrelease.model.measurement import Counts
from tarsrelease.model.outcome import Status

NEEDLESS = 0.05
FALSE_PASS = 0.05
LIMIT = 0.01
RATES = (0.0001, 0.001, 0.005, 0.05)
TRAFFIC = (1, 20, 300, 5000)


def pass_side() -> Iterator[str]:
    """How often a canary passes at any evaluation, and what it takes."""
    needed = required_requests(LIMIT, 0.95)
    rng, stages, evaluations = np.random.default_rng(31), 2000, 240
    requests = np.full(evaluations, needed // 10)
    requests[0] = needed
    totals = requests.cumsum()
    allowed, most = [], -1
    for total in totals:
        while requests_to_pass(most + 1, LIMIT, FALSE_PASS) <= total:
            most += 1
        allowed.append(most)
    yield "| the canary errs at | passes (computed) | passes (simulated) | on the estimate alone |"
    yield "|---|---|---|---|"
    for times in (0.25, 0.5, 0.75, 1.25, 1.5, 2.0, 3.0):
        bad = rng.binomial(requests, times * LIMIT, (stages, evaluations)).cumsum(axis=1)
        passed = (bad <= np.array(allowed)).any(axis=1).mean()
        alone = (bad < LIMIT * totals).any(axis=1).mean()
        exact = passes(times, FALSE_PASS)
        yield (
            f"| {times:g} times the limit | {100 * exact:.1f} % | {100 * passed:.1f} % "
            f"| {100 * alone:.1f} % |"
        )
    yield ""
    yield "| stable errs at | requests until nine of ten canaries like it pass |"
    yield "|---|---|"
    for share in (0.0, 0.1, 0.25, 0.5, 0.75):
        least = max(needed, required_at(share * LIMIT, LIMIT, FALSE_PASS))
        yield f"| {share:g} times the limit | {least / needed:.1f} times {needed} |"


def comparisons(run: Run) -> Iterator[str]:
    """How often a canary at twice the margin passes, and what one like stable needs."""
    yield (
        "| check | stable errs at | weight | passes at twice the margin | before "
        "| like stable, nine of ten pass after |"
    )
    yield "|---|---|---|---|---|---|"
    yield from run(
        comparison,
        [
            (kind, share, weight)
            for kind, shares in (("compare", (0.0, 0.0005, 0.001, 0.005)), ("drift", DRIFTS))
            for share in shares
            for weight in (0.1, 0.5)
        ],
    )


DRIFTS = (0.0, 0.01, 0.1)
WORSE_BY, TOLERATED, WITHIN = 0.2, 0.001, 0.05


def comparison(row: tuple[str, float, float]) -> str:
    """A row: 500 stages of 240 evaluations, from the required sample on."""
    (kind, share, weight), stages, evaluations = row, 500, 240
    rng = np.random.default_rng(33)
    drifts, others = kind == "drift", (1 - weight) / weight
    needed = required_requests(WITHIN if drifts else TOLERATED, 0.95)
    twice = share + 2 * WITHIN * (1 - share) if drifts else 2 * max(1.2 * share, TOLERATED)
    requests = np.full(evaluations, needed // 10)
    requests[0] = needed
    beside = (others * requests).astype(int)
    ours, theirs = requests.cumsum(), beside.cumsum()
    bad = rng.binomial(requests, twice, (stages, evaluations)).cumsum(axis=1)
    other = rng.binomial(beside, share, (stages, evaluations)).cumsum(axis=1)

    def allowed(mine: Counts, baseline: Counts) -> bool:
        if drifts:
            return allows_drift(mine, baseline, WITHIN, FALSE_PASS)
        return allows_worse_by(mine, baseline, WORSE_BY, TOLERATED, FALSE_PASS)

    if drifts:
        good = 1 - other / theirs
        able = 1 - bad / ours >= (1 - WITHIN) * good
    else:
        exposed = 1.2 * ours / (1.2 * ours + theirs)
        inside = (bad <= exposed * (bad + other)) | (bad <= TOLERATED * ours)
        luck = np.maximum(
            binom.sf(bad - 1, bad + other, exposed), binom.sf(bad - 1, ours, TOLERATED)
        )
        able = inside | (luck >= 0.05)
    passed = sum(
        any(
            allowed(
                Counts(float(bad[stage, at]), float(ours[at]), None),
                Counts(float(other[stage, at]), float(theirs[at]), None),
            )
            for at in np.flatnonzero(able[stage])
        )
        for stage in range(stages)
    )
    like = pass_comparison.required_at(share, others, allowed, needed)
    return (
        f"| {kind} | {100 * share:g} % | {100 * weight:g} % | {100 * passed / stages:.1f} % "
        f"| {100 * able.any(axis=1).mean():.1f} % | {like:.0f} requests |"
    )


def late_changes(run: Run) -> Iterator[str]:
    """Stages of ten minutes at 20 requests a second whose canary begins to fail late."""
    yield "| errors | begin at | passed | failed | passed on the average alone |"
    yield "|---|---|---|---|---|"
    yield from run(
        late_change,
        [
            (0.001, 0.1, 0.9),
            (0.001, 0.1, 0.95),
            (0.001, 0.05, 0.9),
            (0.001, 1.0, 0.98),
            (0.0075, 0.0075, 1.0),
        ],
    )


def late_change(row: tuple[float, float, float]) -> str:
    """A row: 2 000 stages with an error share, another one later, and from when on."""
    rule = ProportionCheck(kind="proportion", id="a.errors", sli="e", below=0.015)
    (share, late, begins), stages = row, 2000
    rng, ends = np.random.default_rng(32), []
    for _ in range(stages):
        total = rng.poisson(20 * TICK, 120)
        chance = np.full(120, share)
        chance[round(begins * 120) :] = late
        bad = rng.binomial(total, chance)
        canary = Side(bad[None, :].astype(float), total[None, :].astype(float))
        seen = seen_at_the_end(canary)
        found = JUDGES["proportion"](rule, SUBJECT, seen, PATIENCE)
        alone = JUDGES["proportion"](rule, SUBJECT, replace(seen, starts={}), PATIENCE)
        ends.append((found.status, alone.status))
    now = [status for status, _ in ends]
    passed, failed = (now.count(each) / stages for each in (Status.PASS, Status.FAIL))
    before = sum(status is Status.PASS for _, status in ends) / stages
    when = "never (healthy)" if begins == 1.0 else f"{100 * begins:g} % of the stage"
    return (
        f"| {100 * share:g} %, then {100 * late:g} % | {when} | {100 * passed:.1f} % "
        f"| {100 * failed:.1f} % | {100 * before:.1f} % |"
    )


def seen_at_the_end(canary: Side):  # type: ignore[no-untyped-def]
    """What the gate sees of these ticks, all of them after the shift."""
    from law_world import HISTORY, PAST

    before = np.zeros((1, PAST + HISTORY))
    whole = Side(np.hstack([before, canary.bad]), np.hstack([before, canary.total]))
    nobody = Side(np.zeros_like(whole.bad), np.zeros_like(whole.total))
    return inputs(whole, nobody, canary.bad.shape[1] - 1, tempered=False)


def information_bound(run: Run) -> Iterator[str]:
    """Requests until a check fails, beside Wald's bound log(1/alpha) / divergence."""
    limits = [
        (limit, times)
        for limit in (0.001, 0.01, 0.05)
        for times in (1.5, 2.0, 4.0, 10.0, 100.0)
        if times * limit < 1 or times == 100.0
    ]
    weights = [(weight, times) for weight in (0.1, 0.5) for times in (2.0, 4.0, 10.0, 100.0)]
    yield "| check | the canary errs at | Wald's bound | requests (median) | ratio |"
    yield "|---|---|---|---|---|"
    ratios = []
    for settings, measure in ((limits, bound), (weights, bound_of_comparison)):
        for (_, times), (text, ratio) in zip(settings, run(measure, settings), strict=True):
            yield text
            if times >= 2:
                ratios.append(ratio)
    yield ""
    yield f"The highest ratio from twice the limit or stable's share on is {max(ratios):.2f}."


def divergence(share: float, other: float) -> float:
    """Of two shares of bad requests, in nats per request (Kullback and Leibler)."""
    found = share * log(share / other)
    return found + (1 - share) * log((1 - share) / (1 - other)) if share < 1 else found


def bound(row: tuple[float, float]) -> tuple[str, float]:
    """A row and its ratio: 2 000 canaries that break a limit so many times."""
    limit, times = row
    rng, share = np.random.default_rng(34), min(1.0, times * limit)
    least = -log(ALPHA) / divergence(share, limit)
    step = max(1, round(least / 100))
    total = step * np.arange(1, 601, dtype=float)
    # The bets that are placed late have a tenth of the capital; without them it is a little less.
    needs = -np.log(ALPHA) - np.log(0.9)
    found = []
    for _ in range(2000):
        bad = rng.binomial(step, share, 600).cumsum().astype(float)
        found.append(_first(total, naive(bad, total, limit) >= needs))
    return _bounded(f"limit {100 * limit:g} %", f"{times:g} times the limit", least, found)


def bound_of_comparison(row: tuple[float, float]) -> tuple[str, float]:
    """A row and its ratio: 2 000 canaries so many times as bad as stable, which errs at 0.5 %."""
    weight, times = row
    rng, rate, others = np.random.default_rng(35), 0.005, (1 - weight) / weight
    share, exposed = min(1.0, times * rate), (1 + WORSE_BY) / (1 + WORSE_BY + others)
    all_bad = share + others * rate
    worse = all_bad * divergence(share / all_bad, exposed)
    least = -log(ALPHA) / min(worse, divergence(share, TOLERATED))
    step = max(1, round(least / 100))
    total = step * np.arange(1, 601, dtype=float)
    found = []
    for _ in range(2000):
        bad = rng.binomial(step, share, 600).cumsum().astype(float)
        other = rng.binomial(round(others * step), rate, 600).cumsum()
        evidence = np.minimum(naive(bad, bad + other, exposed), naive(bad, total, TOLERATED))
        found.append(_first(total, evidence >= -np.log(ALPHA)))
    name = f"compare at {100 * weight:g} %"
    return _bounded(name, f"{times:g} times stable's share", least, found)


def _first(total: np.ndarray[Any, Any], proven: np.ndarray[Any, Any]) -> float:
    return float(total[proven.argmax()]) if proven.any() else float("inf")


def _bounded(check: str, errs: str, least: float, found: list[float]) -> tuple[str, float]:
    middle = median(found)
    ratio = middle / least
    return f"| {check} | {errs} | {least:.0f} | {middle:.0f} | {ratio:.2f} |", ratio


SECTIONS = {
    "The pass side": """A stage passes on the estimate, and only if its counts are unlikely for a
canary at twice the limit (`statistics.false_pass`, 5 % over all evaluations of a stage and its
extension). So a stage with bad requests needs more of them than one without. Limit 1 %, from the
required sample on, asked again 239 times.""",
    "The pass side of comparisons": """A comparison passes only if its counts rule out a canary at
twice the margin: for `compare` (`worse_by` 20 %, `tolerated` 0.1 %) at twice the larger of both,
for `drift` (`within` 5 %) at twice the distance. 500 stages a row, from the required sample on,
asked again 239 times. "Before": on the estimate and without suspicion.""",
    "Errors that begin late": """Ten minutes at 20 requests a second, limit 1.5 %. The bet against
the limit is placed again at 64 moments, with a tenth of the capital.""",
    "Gauges": """`like_stable` with its defaults (margin 50 %, 12 readings) on labelled synthetic
series in the style of public recorded ones (benchmarks/gates_gauges.py): three pods a side, ten
minutes at one reading in five seconds, five minutes of stable before them. "Held" is what a stage
ends with before its extension. "Before" is the method that compared all readings of a stage at once
and knew increases only.""",
    "The information bound": """The canary's requests until a check fails, evaluated about a
hundred times until then, beside the least that any method needs on average at this chance of a
false alarm (Wald: log(1/alpha) over the divergence per request). `compare` has its defaults, and
stable errs at 0.5 %; its bound is that of a method which, too, learns stable's share from stable's
requests.""",
}


Run = Callable[..., Iterator[Any]]
"""Maps a function over rows: `map`, or that of a pool of processes."""


def sections(run: Run) -> list[tuple[str, str, Iterator[str]]]:
    """Titles, texts and tables of the page."""
    tables = (
        pass_side(),
        comparisons(run),
        late_changes(run),
        gates_gauges.table(run),
        information_bound(run),
    )
    return [(*section, table) for section, table in zip(SECTIONS.items(), tables, strict=True)]


def main() -> None:
    """Print the tables."""
    for title, said, table in sections(map):
        print(f"\n## {title}\n\n{said}\n", flush=True)
        for line in table:
            print(line, flush=True)


if __name__ == "__main__":
    main()
