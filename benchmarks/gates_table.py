"""How soon a bad canary is found, and how often a good one is taken back: docs/detection.md.

    python benchmarks/gates_table.py [RUNS [RELEASES]] > docs/detection.md

The default, 100 runs a cell and 10 releases (25 where errors are independent), takes about 40
minutes of one processor.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "simulation"))

from law_world import ALPHA, KINDS, STEADY, TICK, first_failure, sides, taken_back

from tarsrelease.model.checks import CheckRule, CompareCheck, ProportionCheck

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
FALSE_RATES = (0.0001, 0.001, 0.005, 0.05)
FALSE_TRAFFIC = (1, 20, 300, 5000)
BURSTY_RATES = (0.001, 0.005, 0.05)
BURSTY_TRAFFIC = (20, 300, 5000)

INTRODUCTION = f"""# How soon a bad canary is found, and how often a good one is taken back

Made by `python benchmarks/gates_table.py`: simulated requests with fixed seeds, judged by the real
checks at every scrape (5 s). The laws are described in
[checks.md](checks.md#kinds-of-check-in-a-stage).

## Detection

Stable errs at {100 * RATE:g} %, the canary as many times as often. Two checks: a limit of
{100 * 2 * RATE:g} %, and the comparison with stable (a fifth worse is tolerated), each with a
chance of a false alarm of {ALPHA:.1e}: 1 % of a release, shared by five checks of three services in
five stages and two looks of the promotion.
Each cell: the share of canaries of one service that were taken back within a stage of ten minutes
("-": none), and the median time until then. Requests are those of the service, both sides
together; the columns are the canary's weight.

A canary that is not taken back is not let through for that: one that is beyond a limit, or
suspicious beside stable, or has had too few requests, extends the stage and then holds it. What
is within the limit and not told from stable passes, as a small regression with little traffic does.
"""

HEALTHY = """
## Healthy releases

The canary is exactly as good as stable, the limits are twice its errors. Three services, five
checks (two limits on errors, one on latency, comparison, drift), five stages of ten minutes with
120 looks each; 1, 20, 300 and 5 000 requests of a service in each scrape (bursts: 20, 300 and
5 000, each third look at which a check could fail). A release that one check takes back once is
taken back. The budget is 1 % where errors are independent.

Bursts are told from what stable had in the longer past (1 440 scrapes), in the five minutes before
the shift, and since. The budget is promised for independent errors only; what of bursts remains
stands below; a row of 30 releases cannot show a chance of 1 %, so read those rows together. A burst
larger than any that stable has had is taken for what it looks like. Where no past can be read (a
new service, a metrics server that keeps little), incidents that those five minutes do not show and
packs of very unequal sizes are taken for the canary's far more often: raise the limits or
`tolerated` there, or lower `false_rollback_budget`.
The last column is the same law without looking at stable.
"""


def found(rng: np.random.Generator, requests: float, weight: float, worse: float) -> float:
    """Seconds until one of the rules fails; infinite where none does within ten minutes."""
    canary, stable = sides(rng, requests * TICK, weight, 0.0, RATE, STEADY, worse)
    looks = [first_failure(rule, canary, stable) for rule in RULES]
    times = [TICK * (look + 1) for look in looks if look is not None]
    return min(times, default=float("inf"))


def detection(runs: int) -> Iterator[str]:
    """The table of detection."""
    yield "| errors | requests/s | " + " | ".join(f"{100 * w:g} %" for w in WEIGHTS) + " |"
    yield "|---|---|" + "---|" * len(WEIGHTS)
    for name, worse in REGRESSIONS.items():
        for requests in REQUESTS:
            cells = []
            for weight in WEIGHTS:
                rng = np.random.default_rng(11)
                times = [found(rng, requests, weight, worse) for _ in range(runs)]
                seen = [time for time in times if time < float("inf")]
                share = f"{100 * len(seen) / runs:.0f} %"
                cells.append(f"{share}, {median(seen):.0f} s" if seen else "-")
            yield f"| {name} | {requests} | " + " | ".join(cells) + " |"


def mistakes(of_bursty: int) -> Iterator[str]:
    """The table of healthy releases that were taken back."""
    yield "| errors of both sides | how they come | releases | taken back | without tempering |"
    yield "|---|---|---|---|---|"
    for kind, bursts in KINDS.items():
        steady = bursts == STEADY
        every = 1 if steady else 3
        for rate in FALSE_RATES if steady else BURSTY_RATES:
            back, naive, played = 0, 0, 0
            releases = of_bursty if not steady else 5 * of_bursty // 2
            for per_tick in FALSE_TRAFFIC if steady else BURSTY_TRAFFIC:
                for tempered in (True, False):
                    rng = np.random.default_rng(12)
                    lost = sum(
                        taken_back(rng, per_tick, rate, bursts, tempered=tempered, every=every)
                        is not None
                        for _ in range(releases)
                    )
                    back, naive = (back + lost, naive) if tempered else (back, naive + lost)
                played += releases
            yield f"| {100 * rate:g} % | {kind} | {played} | {back} | {naive} |"
            print(f"{kind}, {100 * rate:g} %: {back} of {played}", file=sys.stderr)


def main() -> None:
    """Print the page."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    releases = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    print(INTRODUCTION)
    for line in detection(runs):
        print(line, flush=True)
    print(HEALTHY)
    for line in mistakes(releases):
        print(line, flush=True)


if __name__ == "__main__":
    main()
