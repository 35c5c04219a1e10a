"""Seconds from a weight of 10 % to weight 0 in the simulated world, by fault and scrape interval.

    python benchmarks/gates_detection.py [SEEDS]

100 requests per second over three services, stages of ten minutes, the example's limits, Poisson
traffic, scrapes at random phases. The last lines count healthy canaries that were rolled back; the
budget allows at most 1 % of the releases. rollback_speed.py measures the same on a real cluster.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "simulation"))

from world import Pod, World, context, environment, release, rollout

from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.step_details import GateDetails
from tarsrelease.steps.canary_gate import gate

Fault = Callable[[Pod], None]


def errors(share: float) -> Fault:
    """So many of the requests are answered 500."""

    def fault(pod: Pod) -> None:
        pod.error_share = share

    return fault


def slow(pod: Pod) -> None:
    """Every request takes longer than the limit."""
    pod.slow_share = 1.0


def play(seed: int, fault: Fault, scrape_interval: float, duration: str = "10m") -> Outcome:
    """One stage of 10 %."""
    world = World(seed=seed, rate=100 / 3, scrape_interval=scrape_interval).populate()
    world.new_pods = fault
    for pod in world.running(Track.CANARY):
        fault(pod)
    of, place = release(rollout(duration=duration)), environment(f"{scrape_interval:g}s")
    return gate(context(world, of, place), 10)


def main() -> None:
    """Print the tables."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    faults = {"100 % errors": errors(1.0), "20 % errors": errors(0.2), "all slow": slow}
    faults["5 % errors"] = errors(0.05)
    print(f"{'fault':<14} {'scrape':>7} {'min':>6} {'median':>7} {'max':>7} {'found':>7}")
    for interval in (5.0, 15.0):
        for name, fault in faults.items():
            outcomes = [play(seed, fault, interval) for seed in range(seeds)]
            took = [
                seconds
                for outcome in outcomes
                if (gate := GateDetails.of(outcome.details))
                and (seconds := gate.seconds_from_shift_to_write)
            ]
            found = f"{len(took)}/{seeds}"
            print(
                f"{name:<14} {interval:>5.0f} s {min(took):>6.1f} {median(took):>7.1f} "
                f"{max(took):>7.1f} {found:>7}"
            )
    for share in (0.0, 0.005, 0.015):
        outcomes = [play(seed, errors(share), 5.0, "2m") for seed in range(seeds)]
        back = sum(outcome.verdict is Verdict.ROLLBACK for outcome in outcomes)
        print(f"errors {100 * share:g} % of a limit of 1.5 %: {back} of {seeds} rolled back")


if __name__ == "__main__":
    main()
