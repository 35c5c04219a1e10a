"""Tables of docs/detection.md on what gates meet in the field, printed as Markdown.

    python benchmarks/gates_field.py

The pass side, late changes and the information bound, with fixed seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from math import log
from pathlib import Path
from statistics import median

import numpy as np

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

from tarsrelease.gates.checks import JUDGES
from tarsrelease.gates.stats.late_change import STARTS
from tarsrelease.gates.stats.pass_side import passes, requests_to_pass, required_at
from tarsrelease.gates.stats.sequential_test import required_requests
from tarsrelease.model.checks import ProportionCheck
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


def late_changes(stages: int) -> Iterator[str]:
    """Stages of ten minutes at 20 requests a second whose canary begins to fail late."""
    rule = ProportionCheck(kind="proportion", id="a.errors", sli="e", below=0.015)
    yield "| errors | begin at | passed | failed | passed on the average alone |"
    yield "|---|---|---|---|---|"
    for share, late, begins in (
        (0.001, 0.1, 0.9),
        (0.001, 0.1, 0.95),
        (0.001, 0.05, 0.9),
        (0.001, 1.0, 0.98),
        (0.0075, 0.0075, 1.0),
    ):
        rng, ends = np.random.default_rng(32), []
        for _ in range(stages):
            total = rng.poisson(20 * TICK, 120)
            chance = np.full(120, share)
            chance[round(begins * 120) :] = late
            bad = rng.binomial(total, chance)
            sums = list(zip(bad.cumsum().tolist(), total.cumsum().tolist(), strict=True))
            canary = Side(bad[None, :].astype(float), total[None, :].astype(float))
            seen = seen_at_the_end(canary)
            starts = {("e", "s", SUBJECT.track): sums[:-1][:: 240 // STARTS + 1]}
            found = JUDGES["proportion"](rule, SUBJECT, replace(seen, starts=starts), PATIENCE)
            alone = JUDGES["proportion"](rule, SUBJECT, seen, PATIENCE)
            ends.append((found.status, alone.status))
        now = [status for status, _ in ends]
        passed, failed = (now.count(each) / stages for each in (Status.PASS, Status.FAIL))
        before = sum(status is Status.PASS for _, status in ends) / stages
        when = "never (healthy)" if begins == 1.0 else f"{100 * begins:g} % of the stage"
        yield (
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


def information_bound(runs: int) -> Iterator[str]:
    """Requests until a broken limit is proven, beside Wald's bound log(1/alpha) / divergence."""
    yield "| the canary errs at | Wald's bound | requests (median) | ratio |"
    yield "|---|---|---|---|"
    rng = np.random.default_rng(34)
    for times in (1.5, 2.0, 4.0, 10.0, 100.0):
        share = min(1.0, times * LIMIT)
        divergence = share * log(share / LIMIT)
        if share < 1:
            divergence += (1 - share) * log((1 - share) / (1 - LIMIT))
        bound = -log(ALPHA) / divergence
        step = max(1, round(bound / 100))
        found = []
        for _ in range(runs):
            bad = rng.binomial(step, share, 600).cumsum().astype(float)
            total = step * np.arange(1, 601, dtype=float)
            over = np.flatnonzero(naive(bad, total, LIMIT) >= -np.log(ALPHA))
            found.append(total[over[0]] if len(over) else float("inf"))
        middle = median(found)
        yield f"| {times:g} times the limit | {bound:.0f} | {middle:.0f} | {middle / bound:.2f} |"


SECTIONS = {
    "The pass side": """A stage passes on the estimate, and only if its counts are unlikely for a
canary at twice the limit (`statistics.false_pass`, 5 % over all evaluations of a stage and its
extension). So a stage with bad requests needs more of them than one without. Limit 1 %, from the
required sample on, asked again 239 times.""",
    "Errors that begin late": """Ten minutes at 20 requests a second, limit 1.5 %. The bet against
the limit is placed again at 64 moments, with a tenth of the capital.""",
    "The information bound": """Requests until a limit of 1 % is proven broken, evaluated about a
hundred times until then, beside the least that any method needs on average at this chance of a
false alarm (Wald).""",
}


def main() -> None:
    """Print the tables."""
    tables = (
        pass_side(),
        late_changes(2000),
        information_bound(2000),
    )
    for (title, said), table in zip(SECTIONS.items(), tables, strict=True):
        print(f"\n## {title}\n\n{said}\n", flush=True)
        for line in table:
            print(line, flush=True)


if __name__ == "__main__":
    main()
