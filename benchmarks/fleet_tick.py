"""One evaluation of a wave: 100 targets x 3 services x 10 SLIs, each with its own metrics server.

    python benchmarks/fleet_tick.py [TARGETS] [SERVICES] [SLIS]

The servers are one server on this machine that answers every query after 50 ms. Each target asks
all its queries, enters the answers, hands its evidence in, and decides. Prints the seconds from the
first query to the last verdict and their CPU time, for the first evaluation, which reads the
samples of five minutes as in a run that is continued, and for later ones; and the peak memory.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from itertools import repeat
from multiprocessing.connection import Connection
from statistics import median
from urllib.parse import unquote_plus

from gates_tick import INTERVAL, SHIFT, answer, large
from tarsrelease.adapters.prometheus.samples import PrometheusMetrics
from tarsrelease.cli.app import OBJECTS_BETWEEN_COLLECTIONS
from tarsrelease.cli.fleet import PARALLEL
from tarsrelease.gates.checks import Inputs, Patience, evaluate, pooled
from tarsrelease.gates.measure import queries
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.gates.verdict import decide
from tarsrelease.model.measurement import Track, Unmeasured
from tarsrelease.model.metrics_server import Prometheus
from tarsrelease.model.rollout import Rollout
from tarsrelease.operations.wave_evidence import WaveEvidence

LATENCY = 0.05
LONGEST = 60.0
"""Seconds for the queries of one target: on a busy machine, the first evaluation may take long."""
PODS = 2
EVALUATIONS = 5


def serve(services: int, end: float, started: Connection) -> None:
    """Answer every query after LATENCY, over connections that are kept, with what it asks for.

    The samples end at `end`, whenever they are asked for.
    """
    body = cache(lambda seconds: answer(services, PODS, end - seconds, end))

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                query = unquote_plus((await reader.readexactly(length)).decode())
                await asyncio.sleep(LATENCY)
                content = body(int(query.rpartition("[")[2].partition("s]")[0]))
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(content) + content
                )
                await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=1024)
        started.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


class Place:
    """A target: its own client, measurements and evidence."""

    def __init__(self, plan: Rollout, url: str, number: int, wave: WaveEvidence) -> None:
        self.plan, self.stage = plan, plan.stages[0]
        self.metrics = PrometheusMetrics(Prometheus(url=url, timeout=LONGEST))
        self.others = wave.at(f"target-{number}")
        self.asked = queries.queries_of(self.stage, plan, "tars", ["1.0.1"])
        versions = {Track.CANARY: "1.0.1", Track.STABLE: None}
        self.measurements = queries.open_measurements(
            self.asked, plan.labels, versions, SHIFT, INTERVAL
        )
        self.patience = Patience(alpha_per_check(plan), 0.95, 15.0)

    def evaluated(self, now: float) -> None:
        """Ask, enter, exchange, decide."""
        found = self.metrics.series(self.asked.selectors, self.measurements.seconds(now))
        self.measurements = queries.enter(self.measurements, found, now, {})
        names = [service.name for service in self.plan.services]
        inputs = Inputs(
            counts=queries.counts(self.measurements, names, None),
            gauges={},
            cluster=Unmeasured("not asked"),
            sources=self.asked.sources,
            now=now,
            elapsed=now - SHIFT,
        )
        checks = evaluate(self.stage, self.plan, Track.CANARY, inputs, self.patience)
        ours = pooled.log_ratios(self.stage, self.plan, inputs)
        assert len(ours) == len(checks), "every check takes part"
        theirs = self.others.exchange(self.stage.name, ours)
        alpha = pooled.pooled_alpha(self.patience.alpha, self.others.targets, self.others.waves)
        checks = pooled.prove(checks, ours, theirs, alpha)
        decide(checks, self.stage, now - SHIFT, outage_limit=180.0)


def main() -> None:
    """Print the seconds."""
    targets, services, slis = (*map(int, sys.argv[1:4]), *(100, 3, 10)[len(sys.argv) - 1 :])
    plan, wave, now = large(services, slis), WaveEvidence(targets, 1), SHIFT + 300
    end = now + EVALUATIONS * INTERVAL
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)  # as the command does
    heard, said = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(services, end, said), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{heard.recv()}"
    places = [Place(plan, url, number, wave) for number in range(targets)]
    times, cpu = [], []
    with ThreadPoolExecutor(PARALLEL) as workers:
        for number in range(EVALUATIONS):
            began, busy = time.perf_counter(), time.process_time()
            at = now + number * INTERVAL
            list(workers.map(Place.evaluated, places, repeat(at)))
            times.append(time.perf_counter() - began)
            cpu.append(time.process_time() - busy)
    for place in places:
        place.metrics.close()
    server.kill()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    asked = len(places[0].asked.selectors)
    print(f"{targets} targets x {services} services x {slis} SLIs, {asked} queries each")
    print(
        f"first {times[0]:.2f} s (CPU {cpu[0]:.2f} s), "
        f"later {median(times[1:]):.2f} s (CPU {median(cpu[1:]):.2f} s); "
        f"peak memory {memory:.0f} MB"
    )


if __name__ == "__main__":
    main()
