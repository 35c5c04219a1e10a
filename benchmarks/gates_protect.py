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
from statistics import median

import numpy as np
from numpy.typing import NDArray

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
    """Seconds with traffic of a canary that fails 5 % where stable fails 0.1 %, and the bound."""
    yield "| metrics | median | 95 % of them | within 15 s | four runs, all within 15 s | slowest |"
    yield "|---|---|---|---|---|---|"
    for name, scrape, metrics, bound in (
        ("Prometheus, scraped every 5 s", 5.0, "prometheus", _scraped),
        ("Prometheus, scraped every 60 s, and the pods' pages (`both`)", 60.0, "both", _read),
    ):
        taken = np.array(
            list(run(partial(five_percent, scrape=scrape, metrics=metrics), range(seeds)))
        )
        yield _times(name, taken, f"{taken.max():.0f} s, of {seeds}")
        second = np.random.default_rng(41).gamma(2.0, 1 / FAILURES, DRAWN)
        yield _times("bound: the second failed request is known", bound(second) + FOLLOWS, "-")


def _times(name: str, taken: NDArray[np.float64], slowest: str) -> str:
    middle, late = np.quantile(taken, [0.5, 0.95])
    within = float((taken <= SOON).mean())
    return (
        f"| {name} | {middle:.1f} s | {late:.1f} s | {100 * within:.1f} % "
        f"| {100 * within**4:.0f} % | {slowest} |"
    )


FAILURES, SOON, FOLLOWS, DRAWN = 0.5, 15.0, 0.5, 1_000_000
"""Failed requests a second; the seconds required; until the gateway follows; draws of the bound."""


def _scraped(happened: NDArray[np.float64]) -> NDArray[np.float64]:
    """The next scrape after each moment; the first one is up to five seconds after the shift."""
    phase = np.random.default_rng(42).uniform(0, 5.0, happened.shape)
    return np.asarray(phase + 5.0 * np.ceil((happened - phase) / 5.0))


def _read(happened: NDArray[np.float64]) -> NDArray[np.float64]:
    """The next reading of the pods' pages: twice a second for ten seconds, then every second."""
    every = np.where(happened < 10.0, 0.5, 1.0)
    return np.asarray(every * np.ceil(happened / every))


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
One failed request cannot be enough: at 0.1 % a healthy canary with so much traffic has one every
100 s. The bound is the moment at which the metrics show the second failed request, drawn a million
times; no method that waits for two is faster. The aim is a median of at most 8 s, and 15 s at most.
The median holds. The 15 s hold for most canaries, as the table says, and not for all: at 15 s
Prometheus knows between 95 and 145 requests, and of about one canary in fifty at most one of them
has failed. With any method that waits for two, such a canary keeps its traffic longer than 15 s,
whatever the budget. The last column says how long. A method that did not wait would have to act on
one failed request of about 115, which is 5.6 times as likely of a healthy canary (0.1 %) as of this
one (5 %). In 15 s one healthy canary of nine has such a request; with three services and five
stages, 82 % of the healthy releases would lose their traffic needlessly, not 5 %.""",
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
