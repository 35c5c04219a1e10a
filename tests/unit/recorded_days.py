"""A metrics server in memory that has recorded some days of a product."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from world import SERVICES, release

from tarsrelease.model import promql
from tarsrelease.model.measurement import Sample, Series
from tarsrelease.readiness.ga_day import HOUR

STEP = 150.0
PROMOTED = 1_800_000_000.0


@dataclass
class Day:
    """A metrics server with `hours` of each service: 600 requests a step, and its memory.

    `failed` gives the failed requests of a step of the first service, `memory` the bytes, by
    seconds since the promotion.
    """

    failed: Callable[[float], float] = lambda _: 0.0
    memory: Callable[[float], float] = lambda _: 2e8
    now: float = PROMOTED + 24 * HOUR + 60
    hours: float = 24

    def __post_init__(self) -> None:
        noise = random.Random(1)
        times = [PROMOTED + STEP * n for n in range(-10, int(self.hours * HOUR / STEP) + 2)]
        self.series: list[Series] = []
        for service in SERVICES:
            own = {"namespace": "tars", "service": service, "deployment": "stable"}
            own |= {"pod": f"tars-{service}-5d8f-abcde", "version": "1.0.1", "instance": service}
            good, bad = [], []
            all_good = all_bad = 0.0
            for time in times:
                failed = self.failed(time - PROMOTED) if service == SERVICES[0] else 0.0
                all_good += 600 - failed
                all_bad += failed
                good.append(Sample(time, all_good))
                bad.append(Sample(time, all_bad))
            self.add("http_requests_total", good, own | {"status": "200"})
            self.add("http_requests_total", bad, own | {"status": "500"})
            for bound in ("0.05", "0.09", "0.1", "0.12", "+Inf"):
                both = [Sample(g.time, g.value + b.value) for g, b in zip(good, bad, strict=True)]
                name = "http_request_duration_seconds"
                self.add(f"{name}_bucket", both, own | {"le": bound})
            self.add(f"{name}_count", both, own)
            memory = [
                Sample(t, self.memory(t - PROMOTED) * noise.gauss(1, 0.03))
                for t in times
                if noise.random() > 0.05
            ]
            memory = [Sample(s.time, s.value * (1 if noise.random() > 0.1 else 2)) for s in memory]
            for name in {promql.parse(_memory_selector()).metric}:
                self.add(name, memory, own | {"container": "main"})

    def add(self, name: str, samples: Sequence[Sample], labels: dict[str, str]) -> None:
        self.series.append(Series({"__name__": name, **labels}, tuple(samples)))

    def server_time(self) -> float:
        return self.now

    def between(self, selectors: Sequence[str], start: float, end: float) -> list[list[Series]]:
        return [
            [
                Series(one.labels, tuple(s for s in one.samples if start < s.time <= end))
                for one in self.matching(selector)
            ]
            for selector in selectors
        ]

    def recorded(
        self, selectors: Sequence[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        found = self.between(selectors, start, min(end, self.now))
        every = int(step / STEP)
        return [[Series(s.labels, s.samples[::every]) for s in series] for series in found]

    def matching(self, selector: str) -> list[Series]:
        asked = promql.parse(selector)
        found = []
        for one in self.series:
            fits = one.labels["__name__"] == asked.metric
            for each in asked.matchers:
                value = one.labels.get(each.label, "")
                same = (
                    re.fullmatch(each.value, value) is not None
                    if "~" in each.operator
                    else value == each.value
                )
                fits = fits and same == (each.operator in ("=", "=~"))
            if fits:
                found.append(one)
        return found


def _memory_selector() -> str:
    from tarsrelease.gates.measure.selectors import render

    plan = release().rollout
    return render(plan.slis["memory"].value, plan, "tars", [""], STEP)  # type: ignore[union-attr]
