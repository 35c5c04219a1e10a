"""Generates docs/detection.md: how soon a bad canary is found, how often a good one rolled back.

    python benchmarks/gates_table.py > docs/detection.md

Takes about half an hour of CPU time on all cores (TARSRELEASE_WORKERS: so many processes).
TARSRELEASE_ROWS names a folder that keeps finished rows: a run that was stopped goes on there, as
long as the code is the same. Counts are drawn with numpy for many releases at once; the real checks
are evaluated only where their formula could fail (tests/simulation/law_world.py, gates_bursty.py).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "simulation"))

from law_world import (
    ALPHA,
    HISTORY,
    LOOKS,
    PAST,
    PATIENCE,
    PODS,
    SUBJECT,
    TICK,
    Array,
    Side,
    beyond_a_limit,
    inputs,
    suspicious,
)
from numpy.typing import NDArray

import gates_bursty
import gates_field
import gates_protect
from gates_bursty import Found
from gates_field import Run
from rows_kept import Rows
from tarsrelease.gates.checks import JUDGES
from tarsrelease.model.checks import CheckRule, CompareCheck, ProportionCheck
from tarsrelease.model.outcome import Status

RATE = 0.005
REGRESSIONS = {
    "1.5 times": 1.5,
    "2 times": 2.0,
    "4 times": 4.0,
    "10 times": 10.0,
    "every request": 200.0,
}
REQUESTS = (5, 50, 500)
WEIGHTS = (0.01, 0.1, 0.25, 0.5)
RULES: tuple[CheckRule, ...] = (
    ProportionCheck(kind="proportion", id="a.errors", sli="e", below=2 * RATE),
    CompareCheck(kind="compare", id="a.compare", sli="e"),
)
RUNS = 100
"""Canaries for each cell of the table of detection."""

INTRODUCTION = f"""# How soon a bad canary is found, and how often a good one is rolled back

`python benchmarks/gates_table.py > docs/detection.md` generates this page. It simulates requests
with fixed seeds and evaluates the real checks at every scrape (5 s). It takes about half an
hour of CPU time, most of it for the rows with bursts.
[checks.md](checks.md#kinds-of-check-in-a-stage) describes the methods.

## Detection

Stable fails {100 * RATE:g} % of its requests; the first column says how many times as often the
canary fails. Two checks run: a limit of {100 * 2 * RATE:g} %, and the comparison with stable, which
tolerates 20 % more errors. Each has a chance of a false alarm of {ALPHA:.1e}: the budget of 1 % per
release, divided over five checks, three services, five stages and two evaluations during promotion.
Each cell shows the share of canaries that were rolled back within a stage of ten minutes ("-":
none) and the median time to the rollback. Requests are those of one service, canary and stable
together; the columns are the canary's weight.

"Not rolled back" does not mean promoted. If the canary exceeds a limit without proof, looks worse
than stable, or has had too few requests, the gate extends the stage and then holds. A canary passes
if it is within the limit and not distinguishable from stable. A small regression with little
traffic can therefore pass.
"""

HEALTHY = """
## Healthy releases

The canary is exactly as good as stable, and the limits are twice its error rate. Each release has
three services, five checks (two error limits, one latency limit, comparison, drift) and five stages
of ten minutes with 120 evaluations each. A service has 1, 20, 300 or 5 000 requests per scrape
(bursts: 20, 300 or 5 000). Each row has 2 000 releases. A release counts as rolled back if a single
check fails once. The budget is 1 % if errors are independent.

The gates recognize bursts from stable's longer past (1 440 scrapes), from the five minutes before
the traffic shift, and from the time since. The budget holds for independent errors only; the rows
with bursts show the remaining rollbacks, of releases that share 12 pasts of stable for each amount
of traffic. Bad requests that all came between two scrapes decide only among the first scrapes of a
stage: later, the next scrape must have some, too. Beyond that, a burst larger than any that
stable has had counts against the canary. If no
past is available (a new service, or a metrics server with short retention), the gates far more
often blame the canary for incidents that did not occur in those five minutes and for bursts of very
different sizes. In that case, raise the limits or `tolerated`, or lower `false_rollback_budget`.
The last column shows the same method without the correction for bursts on stable.
"""


@dataclass
class Batch:
    """Many services in one stage: cumulative counts after the shift, services x LOOKS.

    `ours` and `theirs` are bad and all requests by pod and tick. What stable had before the shift
    is drawn only where a check could fail.
    """

    weight: float
    before: float
    per_tick: float
    rate: float
    ours: tuple[Array, Array]
    theirs: tuple[Array, Array]

    @classmethod
    def drawn(
        cls,
        rng: np.random.Generator,
        services: int,
        per_tick: float,
        weight: float,
        before: float,
        rate: float,
        worse: float = 1.0,
    ) -> Batch:
        """Independent errors; the canary has `worse` times as many."""

        def side(pods: int, requests: float, share: float) -> tuple[Array, Array]:
            total = rng.poisson(requests / pods, (services, pods, LOOKS))
            bad = rng.binomial(total, min(1.0, share))
            return bad.astype(float), total.astype(float)

        ours = side(1, per_tick * weight, rate * worse)
        theirs = side(PODS, per_tick * (1 - weight), rate)
        return cls(weight, before, per_tick, rate, ours, theirs)

    def suspects(self, rule: CheckRule) -> NDArray[np.bool_]:
        """The services and looks at which the rule could fail: services x LOOKS."""
        (bad, total), (other, others) = (
            tuple(part.sum(axis=1).cumsum(axis=1) for part in side)
            for side in (self.ours, self.theirs)
        )
        if isinstance(rule, ProportionCheck):
            return np.asarray(beyond_a_limit(bad, total, rule.bad_limit))
        looks = np.zeros(bad.shape, dtype=bool)
        flat = [part.ravel() for part in (bad, total, other, others)]
        looks.ravel()[suspicious(rule, (flat[0], flat[1]), (flat[2], flat[3]))] = True
        return looks

    def sides(self, service: int) -> tuple[Side, Side]:
        """One service with what stable had before the shift."""
        rng = np.random.default_rng([13, service])
        share = np.concatenate([np.ones(PAST), np.full(HISTORY, 1 - self.before)])
        total = rng.poisson(self.per_tick * share / PODS, (PODS, len(share)))
        bad = rng.binomial(total, self.rate)
        theirs = [
            np.hstack([early, late[service]])
            for early, late in zip((bad, total), self.theirs, strict=True)
        ]
        nothing = np.zeros((1, len(share)))
        ours = [np.hstack([nothing, part[service]]) for part in self.ours]
        return Side(*ours), Side(*theirs)

    def failures(self, rule: CheckRule, *, tempered: bool = True) -> dict[int, int]:
        """By service, the first look at which the real check fails, to five percent of the time."""
        looks, found = self.suspects(rule), {}
        for service in np.flatnonzero(looks.any(axis=1)):
            canary, stable = self.sides(int(service))
            tried = -1
            for look in np.flatnonzero(looks[service]):
                if look < tried * 1.05:
                    continue
                tried = look
                seen = inputs(canary, stable, int(look), tempered=tempered)
                if JUDGES[rule.kind](rule, SUBJECT, seen, PATIENCE).status is Status.FAIL:
                    found[int(service)] = int(look)
                    break
        return found


def detection(run: Run) -> Iterator[str]:
    """The table of detection."""
    yield "| errors | requests/s | " + " | ".join(f"{100 * w:g} %" for w in WEIGHTS) + " |"
    yield "|---|---|" + "---|" * len(WEIGHTS)
    yield from run(detected, [(name, requests) for name in REGRESSIONS for requests in REQUESTS])


def detected(row: tuple[str, int]) -> str:
    """A row: the share that was rolled back and the median time."""
    (name, requests), cells = row, []
    for weight in WEIGHTS:
        rng = np.random.default_rng(11)
        worse = REGRESSIONS[name]
        batch = Batch.drawn(rng, RUNS, requests * TICK, weight, 0.0, RATE, worse)
        by_rule = [batch.failures(rule) for rule in RULES]
        seen = [
            TICK * (1 + min(each[service] for each in by_rule if service in each))
            for service in set().union(*by_rule)
        ]
        share = f"{100 * len(seen) / RUNS:.0f} %"
        cells.append(f"{share}, {median(seen):.0f} s" if seen else "-")
    return f"| {name} | {requests} | " + " | ".join(cells) + " |"


def mistakes(found: Mapping[tuple[str, float], Sequence[Found]]) -> Iterator[str]:
    """The table of healthy releases that were rolled back."""
    yield "| errors on both sides | how they occur | releases | rolled back | without correction |"
    yield "|---|---|---|---|---|"
    for (kind, rate), cells in found.items():
        played, back = (
            sum(each) for each in zip(*((c.releases, c.back) for c in cells), strict=True)
        )
        naive, tried = (
            sum(each) for each in zip(*((c.naive, c.tried_naive) for c in cells), strict=True)
        )
        yield (
            f"| {100 * rate:g} % | {kind} | {played} | {back} ({100 * back / played:.1f} %) "
            f"| {naive} of {tried} |"
        )


def told(lines: Iterator[str]) -> None:
    """Print them as they come, and how far the page is."""
    for line in lines:
        print(line, flush=True)
        print(line, file=sys.stderr)


def main() -> None:
    """Print the page."""
    workers = int(os.environ.get("TARSRELEASE_WORKERS", os.cpu_count() or 1))
    kept = os.environ.get("TARSRELEASE_ROWS")
    with ProcessPoolExecutor(workers) as pool:
        run = Rows(pool, Path(kept) if kept else None).map
        print(INTRODUCTION)
        told(detection(run))
        print(HEALTHY)
        found = gates_bursty.all_played(run)
        told(mistakes(found))
        for title, text, table in gates_field.sections(run):
            print(f"\n## {title}\n\n{text}\n", flush=True)
            told(table)
        gates_protect.print_tables(run, 200, found)


if __name__ == "__main__":
    main()
