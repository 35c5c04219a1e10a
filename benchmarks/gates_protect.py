"""Tables of docs/detection.md on protection, printed as Markdown.

    python benchmarks/gates_protect.py [SEEDS [RELEASES]]

How soon a failing canary loses its traffic, whatever stable had earlier, and how often a healthy
one loses it needlessly. Fixed seeds. By default 200 seeds and 2 000 releases a row.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "simulation"))

from test_gate_protect import (
    LONG,
    SCRAPE,
    after_an_incident,
    failing,
    five_percent,
    play,
    seconds_with_traffic,
)

from gates_bursty import RELEASES, Found, all_played, traffic_of
from gates_field import Run

CELLS = ((1, 1.0), (10, 1.0), (50, 1.0), (50, 0.2))


def shielding(run: Run, seeds: int) -> Iterator[str]:
    """Seconds with traffic after an incident of one of stable's two pods."""
    yield (
        "| stable's pod was ill for | "
        + " | ".join(f"{100 * share:g} % fail at {weight} %" for weight, share in CELLS)
        + " |"
    )
    yield "|---|" + "---|" * len(CELLS)
    yield from run(_shielded, [(name, seeds) for name in SCRAPE])


def _shielded(row: tuple[str, int]) -> str:
    (name, seeds), cells = row, []
    for weight, share in CELLS:
        taken = []
        for seed in range(seeds):
            world = failing(after_an_incident(SCRAPE[name], seed), share)
            play(world, weight, LONG, "15s")
            taken.append(seconds_with_traffic(world))
        cells.append(f"{median(taken):.0f} s, at most {max(taken):.0f} s")
    return f"| {name} | " + " | ".join(cells) + " |"


def partial_failure(run: Run, seeds: int) -> Iterator[str]:
    """Seconds with traffic of a canary that fails 5 % where stable fails 0.1 %."""
    yield "| metrics | median | 95 % of them | within 15 s | slowest |"
    yield "|---|---|---|---|---|"
    for name, scrape, metrics in (
        ("Prometheus, scraped every 5 s", 5.0, "prometheus"),
        ("Prometheus, scraped every 60 s, and the pods' pages (`both`)", 60.0, "both"),
    ):
        taken = list(run(partial(five_percent, scrape=scrape, metrics=metrics), range(seeds)))
        within = sum(each <= 15.0 for each in taken) / seeds
        yield (
            f"| {name} | {median(taken):.1f} s | {quantiles(taken, n=20)[-1]:.1f} s "
            f"| {100 * within:.1f} % | {max(taken):.0f} s |"
        )


def needless(found: Mapping[tuple[str, float], Sequence[Found]]) -> Iterator[str]:
    """How often a healthy canary loses its traffic, over all amounts of it and at the worst one."""
    yield "| errors on both sides | how they occur | releases | protected needlessly | at most |"
    yield "|---|---|---|---|---|"
    for (kind, rate), cells in found.items():
        played = sum(cell.releases for cell in cells)
        lost = sum(cell.protected for cell in cells)
        traffic = dict(zip(traffic_of(kind), cells, strict=True))
        most = max(traffic, key=lambda each: traffic[each].protected / traffic[each].releases)
        highest = 100 * traffic[most].protected / traffic[most].releases
        yield (
            f"| {100 * rate:g} % | {kind} | {played} | {lost} ({100 * lost / played:.1f} %) "
            f"| {highest:.1f} % (at {most} requests per scrape) |"
        )


SECTIONS = {
    "Protection after an incident of stable": """One of stable's two pods failed every request for
a while, ten minutes before the shift. 100 requests a second, scraped every 15 s. The cells show how
long a failing canary keeps its traffic (median, and the slowest of the runs).""",
    "Protection from partial failures": """The canary fails 5 % of ten requests a second, stable
0.1 %. Seconds from the shift to weight 0. Fixed seeds, a simulated gateway that follows after
0.5 s. Protection needs two bad requests within about eleven seconds, or three within half a minute
(the chance that so many come so early by chance is what `statistics.needless_protection` allows).
The metrics show a request after up to five seconds, so at 15 s between 95 and 145 requests are
known, and at most one of them has failed for 0.6 % to 5 % of these canaries. No method can protect
those within 15 s without protecting for a single failed request, which at 0.1 % a healthy canary
has every 100 s. So the slowest canary of hundreds takes longer, however the budget is divided.""",
    "Needless protection": """As under "Healthy releases": a release counts once if any stage moves
its traffic to stable, which costs a few minutes and no rollback. The default of
`statistics.needless_protection` is 5 %. The rows are over all amounts of traffic, the last column
is the worst amount.""",
}


def print_tables(run: Run, seeds: int, found: Mapping[tuple[str, float], Sequence[Found]]) -> None:
    """Print the tables: of so many seeds, and of these healthy releases."""
    tables = (
        shielding(run, max(1, seeds // 20)),
        partial_failure(run, seeds),
        needless(found),
    )
    for (title, said), table in zip(SECTIONS.items(), tables, strict=True):
        print(f"\n## {title}\n\n{said}\n", flush=True)
        for line in table:
            print(line, flush=True)
            print(line, file=sys.stderr)


def main() -> None:
    """Print the tables."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    releases = int(sys.argv[2]) if len(sys.argv) > 2 else RELEASES
    print_tables(map, seeds, all_played(map, releases))


if __name__ == "__main__":
    main()
