"""Time of a gate's own work for one evaluation, by the number of series.

    python benchmarks/gates_look.py

Prints milliseconds for the first evaluation (five minutes of samples) and for the later ones (only
the newest samples). The time of the metrics server and the network is not included.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter

from tarsrelease.gates.measure import queries
from tarsrelease.gates.measure.queries import Queries
from tarsrelease.model.measurement import Sample, Series, Track
from tarsrelease.model.rollout import MetricLabels

INTERVAL = 5.0
SHIFT = 1_000_000.0
LOOKS = 40


def answer(pods: int, paths: int, start: float, end: float) -> list[Series]:
    """Two services' counters, `paths` series a pod, sampled in (start, end]."""
    found = []
    for number in range(pods):
        track = Track.CANARY if number % 2 else Track.STABLE
        first = int(start // INTERVAL) + 1
        samples = tuple(
            Sample(INTERVAL * n, 3.0 * n) for n in range(first, int(end // INTERVAL) + 1)
        )
        for path in range(paths):
            labels = {
                "service": f"service-{number % 2}",
                "deployment": str(track),
                "version": "1.0.1",
                "pod": f"pod-{number}",
                "path": f"/{path}",
            }
            found.append(Series(labels, samples))
    return found


def measure(pods: int, paths: int) -> tuple[int, float, float]:
    """Series per evaluation, milliseconds of the first, median milliseconds of the later ones."""
    plan = Queries({"errors": ("all", "bad", False)}, {}, "all")
    versions = {Track.CANARY: "1.0.1", Track.STABLE: None}
    measurements = queries.open_measurements(plan, MetricLabels(), versions, SHIFT, INTERVAL)
    times, now, series = [], SHIFT + 1, 0
    for _ in range(LOOKS):
        found = answer(pods, paths, now - measurements.seconds(now), now)
        series = 2 * len(found)
        began = perf_counter()
        measurements = queries.enter(measurements, [found, found], now, {})
        queries.counts(measurements, ["service-0", "service-1"], None)
        times.append(1000 * (perf_counter() - began))
        now += 1.0
    return series, times[0], median(times[1:])


def main() -> None:
    """Print the table."""
    print(f"{'series':>8} {'first, ms':>15} {'later, ms':>16}")
    for pods, paths in ((12, 12), (50, 20), (200, 40)):
        series, first, later = measure(pods, paths)
        print(f"{series:>8} {first:>15.1f} {later:>16.1f}")


if __name__ == "__main__":
    main()
