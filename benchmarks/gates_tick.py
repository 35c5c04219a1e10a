"""One evaluation of a large stage: 100 services x 10 SLIs, from the answers' bytes to the verdict.

    python benchmarks/gates_tick.py [SERVICES] [SLIS] [PODS]

The stage has proportion checks, one SLI each, and PODS pods per side and service. Prints the
queries of an evaluation, the series they return, and the milliseconds of CPU time of our own work:
reading the answers, entering them, and evaluating every check. The time of the metrics server and
the network is not included. The last line is one evaluation of one gate: the checks of one service.
"""

from __future__ import annotations

import gc
import json
import sys
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import thread_time

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "simulation"))

from world import rollout

from tarsrelease.adapters.prometheus.answers import Reader
from tarsrelease.adapters.prometheus.parts import conditions, parts, selected
from tarsrelease.cli.app import OBJECTS_BETWEEN_COLLECTIONS
from tarsrelease.gates.checks.evaluate import evaluate
from tarsrelease.gates.checks.inputs import Inputs, Patience
from tarsrelease.gates.measure import queries
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.gates.verdict import decide
from tarsrelease.model.measurement import Track, Unmeasured
from tarsrelease.model.metrics_server import Prometheus
from tarsrelease.model.rollout import Rollout

INTERVAL = 5.0
SHIFT = 1_000_000.0
LOOKS = 8


def large(services: int, slis: int) -> Rollout:
    """Services and SLIs; every SLI has a check."""
    plan = rollout().model_dump(by_alias=True, mode="json")
    one = plan["services"][0]
    names = [f"service-{number}" for number in range(services)]
    plan["services"] = [one | {"name": name, "route": name} for name in names]
    plan["slis"] = {
        f"sli{n}": {
            "kind": "proportion",
            "of": f'requests{n}_total{{service=~"$service"}}',
            "bad": f'requests{n}_total{{service=~"$service",status=~"5.."}}',
        }
        for n in range(slis)
    }
    checks = [
        {"kind": "proportion", "id": f"canary.sli{n}", "sli": f"sli{n}", "below": 0.015}
        for n in range(slis)
    ]
    plan["stages"] = [{"weight": 100, "duration": 600.0, "max_extension": 600.0, "checks": checks}]
    return Rollout.model_validate(plan)


def answer(services: int, pods: int, start: float, end: float) -> bytes:
    """What the metrics server sends for the selector of all requests."""
    first, last = int(start // INTERVAL) + 1, int(end // INTERVAL)
    found = []
    for service in range(services):
        for track in Track:
            for pod in range(pods):
                for status in ("200", "500"):
                    step = 50 if status == "200" else 0.01
                    values = [[INTERVAL * n, str(int(step * n))] for n in range(first, last + 1)]
                    labels = {
                        "__name__": "requests_total",
                        "service": f"service-{service}",
                        "deployment": str(track),
                        "version": "1.0.1",
                        "pod": f"service-{service}-{track}-{pod}",
                        "status": status,
                        "namespace": "tars-production",
                    }
                    found.append({"metric": labels, "values": values})
    data = {"resultType": "matrix", "result": found}
    return json.dumps({"status": "success", "data": data}).encode()


def main() -> None:
    """Print the table."""
    services, slis, pods = (*map(int, sys.argv[1:4]), *(100, 10, 2)[len(sys.argv) - 1 :])
    plan = large(services, slis)
    stage = plan.stages[0]
    asked = queries.queries_of(stage, plan, "tars", ["1.0.1"])
    wholes = parts(asked.selectors)
    sent = [each for each in asked.selectors if each not in wholes]
    versions = {Track.CANARY: "1.0.1", Track.STABLE: None}
    measurements = queries.open_measurements(asked, plan.labels, versions, SHIFT, INTERVAL)
    reader = Reader(Prometheus(url="http://metrics.example"), 5.0)
    patience = Patience(alpha_per_check(plan), 0.95, 15.0)
    names = [service.name for service in plan.services]
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)  # as the command does
    times, now, series = [], SHIFT + 1, 0
    for _ in range(LOOKS):
        start = now - measurements.seconds(now)
        body = answer(services, pods, start, now)
        marks = [thread_time()]
        answers = {each: reader.matrix(each, reader.data(each, 200, body)) for each in sent}
        answers |= {
            part: selected(answers[whole], conditions(part, whole)) or []
            for part, whole in wholes.items()
        }
        found = [answers[selector] for selector in asked.selectors]
        marks.append(thread_time())
        measurements = queries.enter(measurements, found, now, {})
        marks.append(thread_time())
        inputs = Inputs(
            counts=queries.counts(measurements, names, None),
            gauges={},
            cluster=Unmeasured("not asked"),
            sources=asked.sources,
            now=now,
            elapsed=now - SHIFT,
        )
        marks.append(thread_time())
        checks = evaluate(stage, plan, Track.CANARY, inputs, patience)
        decide(checks, stage, now - SHIFT, outage_limit=180.0)
        marks.append(thread_time())
        series = sum(map(len, found))
        times.append([1000 * (after - before) for before, after in pairwise(marks)])
        now += INTERVAL
    print(f"{services} services x {slis} SLIs, {pods} pods: {len(sent)} queries")
    print(
        f"{'tick':<8} {'series':>7} {'read':>8} {'enter':>8} {'count':>8} {'judge':>8} {'all':>8}"
    )
    for name, row in (
        ("first", times[0]),
        ("later", [median(column) for column in zip(*times[1:], strict=True)]),
    ):
        cells = " ".join(f"{value:>8.1f}" for value in (*row, sum(row)))
        print(f"{name:<8} {series:>7} {cells}")
    few = plan.model_copy(update={"services": plan.services[:1]})
    began = thread_time()
    for _ in range(100):
        evaluate(stage, few, Track.CANARY, inputs, patience)
    print(f"one gate of {slis} checks: {10 * (thread_time() - began):.3f} ms")


if __name__ == "__main__":
    main()
