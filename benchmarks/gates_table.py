"""Generates docs/detection.md: how soon a bad canary is found, how often a good one rolled back.

    python benchmarks/gates_table.py [RUNS [RELEASES]] > docs/detection.md

The default of 100 runs per cell and 10 releases (25 with independent errors) takes about 40
minutes on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "simulation"))

from law_world import ALPHA, KINDS, STEADY, TICK, first_failure, sides, taken_back

import gates_field
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

INTRODUCTION = f"""# How soon a bad canary is found, and how often a good one is rolled back

`python benchmarks/gates_table.py` generates this page. It simulates requests with fixed seeds and
evaluates the real checks at every scrape (5 s).
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
(bursts: 20, 300 or 5 000, and only every third evaluation at which a check could fail). A release
counts as rolled back if a single check fails once. The budget is 1 % if errors are independent.

The gates recognize bursts from stable's longer past (1 440 scrapes), from the five minutes before
the traffic shift, and from the time since. The budget holds for independent errors only; the rows
with bursts show the remaining rollbacks. A row of 30 releases cannot show a chance of 1 %, so read
these rows together. A burst larger than any that stable has had counts against the canary. If no
past is available (a new service, or a metrics server with short retention), the gates far more
often blame the canary for incidents that did not occur in those five minutes and for bursts of very
different sizes. In that case, raise the limits or `tolerated`, or lower `false_rollback_budget`.
The last column shows the same method without the correction for bursts on stable.
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
    """The table of healthy releases that were rolled back."""
    yield "| errors on both sides | how they occur | releases | rolled back | without correction |"
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
    gates_field.main()


if __name__ == "__main__":
    main()
