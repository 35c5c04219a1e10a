"""Tables of docs/detection.md on protection, printed as Markdown.

    python benchmarks/gates_protect.py [SEEDS [RELEASES]]

How soon a failing canary loses its traffic, whatever stable had earlier, and how often a healthy
one loses it needlessly. Fixed seeds. The defaults (200 and 500) take about 20 minutes on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median, quantiles

import numpy as np
from scipy.stats import poisson

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "simulation"))

from law_world import (
    KINDS,
    SERVICES,
    STEADY,
    SUBJECT,
    WEIGHTS,
    Bursts,
    Side,
    inputs,
    rules,
    sides,
)
from test_gate_protect import (
    LONG,
    SCRAPE,
    after_an_incident,
    failing,
    five_percent,
    play,
    seconds_with_traffic,
)
from world import rollout

from tarsrelease.gates.protection import FEW, LARGE, MOST, chances, protection
from tarsrelease.model.checks import CheckRule, CompareCheck, ProportionCheck
from tarsrelease.model.rollout import Rollout

RATES = (0.0001, 0.001, 0.005, 0.05)
TRAFFIC = (1, 20, 300, 5000)
"""Requests per scrape and service, canary and stable together."""
CELLS = ((1, 1.0), (10, 1.0), (50, 1.0), (50, 0.2))


def shielding(seeds: int) -> Iterator[str]:
    """Seconds with traffic after an incident of one of stable's two pods."""
    yield (
        "| stable's pod was ill for | "
        + " | ".join(f"{100 * share:g} % fail at {weight} %" for weight, share in CELLS)
        + " |"
    )
    yield "|---|" + "---|" * len(CELLS)
    for name, seconds in SCRAPE.items():
        cells = []
        for weight, share in CELLS:
            taken = []
            for seed in range(seeds):
                world = failing(after_an_incident(seconds, seed), share)
                play(world, weight, LONG, "15s")
                taken.append(seconds_with_traffic(world))
            cells.append(f"{median(taken):.0f} s, at most {max(taken):.0f} s")
        yield f"| {name} | " + " | ".join(cells) + " |"


def partial_failure(seeds: int) -> Iterator[str]:
    """Seconds with traffic of a canary that fails 5 % where stable fails 0.1 %."""
    yield "| metrics | median | 95 % of them | within 15 s | slowest |"
    yield "|---|---|---|---|---|"
    for name, scrape, metrics in (
        ("Prometheus, scraped every 5 s", 5.0, "prometheus"),
        ("Prometheus, scraped every 60 s, and the pods' pages (`both`)", 60.0, "both"),
    ):
        taken = [five_percent(seed, scrape, metrics) for seed in range(seeds)]
        within = sum(each <= 15.0 for each in taken) / seeds
        yield (
            f"| {name} | {median(taken):.1f} s | {quantiles(taken, n=20)[-1]:.1f} s "
            f"| {100 * within:.1f} % | {max(taken):.0f} s |"
        )


def plan_of(checks: dict[str, CheckRule]) -> Rollout:
    """The example's five stages and three services, with these checks."""
    made = rollout()
    stages = [
        stage.model_copy(
            update={
                "checks": tuple(c for c in checks.values() if stage.weight < 100 or not c.beside)
            }
        )
        for stage in made.stages
    ]
    return made.model_copy(update={"stages": tuple(stages)})


def first_protection(rule: CheckRule, canary: Side, stable: Side, chance: float) -> bool:
    """Whether the rule protects at any evaluation. Asks the real function where it could."""
    if not isinstance(rule, (ProportionCheck, CompareCheck)):
        return False
    bad, total = canary.since_the_shift()
    least = rule.bad_limit if isinstance(rule, ProportionCheck) else rule.tolerated
    early = poisson.logsf(bad - 1, total * least) <= np.log(chance) - (bad - 1) * np.log(2)
    could = early & (bad >= FEW) & (bad >= min(LARGE * least, MOST) * total)
    return any(
        protection(rule, SUBJECT, inputs(canary, stable, int(look), tempered=True), chance)
        for look in np.flatnonzero(could)
    )


def protected(
    rng: np.random.Generator,
    per_tick: float,
    rate: float,
    bursts: Bursts,
    chance: Mapping[str, float],
) -> bool:
    """Play one healthy release; whether any stage protects."""
    checks, before = rules(rate), 0.0
    for weight in WEIGHTS:
        for _ in range(SERVICES):
            canary, stable = sides(rng, per_tick, weight, before, rate, bursts)
            slow = sides(rng, per_tick, weight, before, rate, bursts)
            for name, rule in checks.items():
                if rule.beside and weight == 1.0:
                    continue
                pair = slow if name == "slow" else (canary, stable)
                if first_protection(rule, *pair, chance.get(rule.kind, 0.0)):
                    return True
        before = weight
    return False


def needless(releases: int) -> Iterator[str]:
    """How often a healthy canary loses its traffic."""
    yield "| errors on both sides | how they occur | releases | protected needlessly |"
    yield "|---|---|---|---|"
    for kind, bursts in KINDS.items():
        steady = bursts == STEADY
        for rate in RATES if steady else RATES[1:]:
            traffic = TRAFFIC if steady else TRAFFIC[1:]
            number = releases if steady else max(1, releases // 10)
            lost, chance = 0, chances(plan_of(rules(rate)))
            for per_tick in traffic:
                rng = np.random.default_rng(12)
                lost += sum(protected(rng, per_tick, rate, bursts, chance) for _ in range(number))
            played = number * len(traffic)
            yield f"| {100 * rate:g} % | {kind} | {played} | {lost} ({100 * lost / played:.1f} %) |"
            print(f"{kind}, {100 * rate:g} %: {lost} of {played}", file=sys.stderr)


SECTIONS = {
    "Protection after an incident of stable": """One of stable's two pods failed every request for
a while, ten minutes before the shift. 100 requests a second, scraped every 15 s. The cells show how
long a failing canary keeps its traffic (median, and the slowest of the runs).""",
    "Protection from partial failures": """The canary fails 5 % of ten requests a second, stable
0.1 %. Seconds from the shift to weight 0. In the slowest runs, chance lets hardly any request
fail in the first 15 s. Deterministic seeds, a simulated gateway that follows after 0.5 s.""",
    "Needless protection": """As under "Healthy releases": a release counts once if any stage moves
its traffic to stable, which costs a few minutes and no rollback. The default of
`statistics.needless_protection` is 5 %. It holds for independent errors; packs of errors exceed it
at 0.1 %.""",
}


def print_tables(seeds: int, releases: int) -> None:
    """Print the tables: of so many seeds, and releases with independent errors per traffic."""
    tables = (shielding(max(1, seeds // 20)), partial_failure(seeds), needless(releases))
    for (title, said), table in zip(SECTIONS.items(), tables, strict=True):
        print(f"\n## {title}\n\n{said}\n", flush=True)
        for line in table:
            print(line, flush=True)


def main() -> None:
    """Print the tables."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    releases = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    print_tables(seeds, releases)


if __name__ == "__main__":
    main()
