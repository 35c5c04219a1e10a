"""The day before the rehearsal, as samples: a healthy v1.0.0 in production, v1.0.1 in staging.

Every value is a pure function of the time, so that a stretch that was written once fits to the
next one, whenever that is written. Rates follow a daily wave, counters are its integral.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tarsrelease.rehearsal import world

# Seconds between samples; five to a five-minute window, and a day stays small.
STEP: Final = 60

# Counters count from here (2025-01-01T00:00:00Z).
_EPOCH: Final = 1_735_689_600
_DAY: Final = 86_400.0
_WAVE: Final = 0.3

# A healthy service fails 3 requests in 10 000.
_ERROR_SHARE: Final = 0.0003
_MEAN_SECONDS: Final = 0.012
# Share of requests answered within each bound (seconds): the buckets of the services.
_WITHIN: Final = {
    "0.005": 0.38,
    "0.01": 0.66,
    "0.025": 0.87,
    "0.05": 0.955,
    "0.09": 0.986,
    "0.1": 0.9905,
    "0.11": 0.993,
    "0.12": 0.995,
    "0.25": 0.9985,
    "0.5": 0.9996,
    "1.0": 0.99995,
    "2.5": 1.0,
    "5.0": 1.0,
    "+Inf": 1.0,
}
_MEGABYTE: Final = 1e6


@dataclass(frozen=True, slots=True)
class Service:
    """A kind of pod. rates: requests per second of one pod for each path. memory in MB."""

    name: str
    rates: dict[str, float]
    memory: float
    websockets: int = 0
    workload: str = ""
    agent_type: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of yesterday; it is gone when the rehearsal begins."""

    name: str
    address: str
    namespace: str
    version: str
    service: Service


def _services(worker_memory: float) -> tuple[Service, ...]:
    return (
        Service(
            "orchestration-agent",
            {"/api/v1/websocket/stats": 4.0, "/api/v1/agents": 11.0},
            memory=38.0,
            websockets=10,
        ),
        Service(
            "insight-engine",
            {"/api/v1/traces/recent": 9.0, "/api/v1/traces/stats": 2.0, "/api/v1/evaluations": 5.0},
            memory=36.0,
        ),
        Service("dashboard-api", {"/api/v1/missions": 16.0}, memory=37.0),
        Service(
            "orchestration-agent",
            {},
            memory=worker_memory,
            workload="ppo-agent",
            agent_type="ppo",
        ),
    )


def pods() -> list[Pod]:
    """Yesterday's pods: two of each service in production, one in staging."""
    found: list[Pod] = []
    for namespace, version, replicas, worker_memory in (
        # TARS-1005: the worker of v1.0.0 holds 3.7 units, the repaired one 1.4, of 32 MB each.
        (world.PRODUCTION, "1.0.0", 2, 3.7 * 32),
        (world.STAGING, "1.0.1", 1, 1.4 * 32),
    ):
        for service in _services(worker_memory):
            for replica in range(replicas):
                serial = len(found) + 2
                workload = service.workload or service.name
                found.append(
                    Pod(
                        name=f"tars-{workload}-5b7f8d96c4-{'bcdfghjk'[replica]}x{serial:03d}",
                        address=f"10.42.254.{serial}",
                        namespace=namespace,
                        version=version,
                        service=service,
                    )
                )
    return found


def lines(begin: int, end: int) -> Iterator[str]:
    """OpenMetrics text with samples from `begin` (inclusive) to `end` (exclusive), Unix seconds."""
    times = range(-(-begin // STEP) * STEP, end, STEP)
    for pod in pods():
        yield from _pod_lines(pod, times)
    yield "# EOF\n"


def elapsed(time: float) -> float:
    """Seconds of mean traffic from the epoch to `time`: the integral of 1 + wave."""
    since = time - _EPOCH
    angle = 2 * math.pi / _DAY
    return max(0.0, since + _WAVE / angle * (1 - math.cos(angle * since)))


def _pod_lines(pod: Pod, times: range) -> Iterator[str]:
    own = _own_labels(pod)
    service = pod.service
    yield from _series("up", own, times, lambda _: 1)
    for path, rate in service.rates.items():
        labels = f'{own},method="GET",path="{path}"'
        counts = [math.floor(rate * elapsed(time)) for time in times]
        errors = [math.floor(count * _ERROR_SHARE) for count in counts]
        good = [count - error for count, error in zip(counts, errors, strict=True)]
        yield from _values("http_requests_total", f'{labels},status="200"', times, good)
        yield from _values("http_requests_total", f'{labels},status="500"', times, errors)
        yield from _histogram(f'{own},path="{path}"', times, counts)
    if service.websockets:
        yield from _series("websocket_connections_open", own, times, lambda _: service.websockets)
        for result, share in (("success", 0.002), ("failure", 0.0)):
            reconnects = [math.floor(share * elapsed(time)) for time in times]
            labels = f'{own},result="{result}"'
            yield from _values("websocket_reconnects_total", labels, times, reconnects)
    memory = [_memory(service.memory, time) for time in times]
    yield from _values("process_resident_memory_bytes", own, times, memory)
    yield from _node_lines(pod, times, memory)


def _histogram(labels: str, times: range, counts: list[int]) -> Iterator[str]:
    name = "http_request_duration_seconds"
    for bound, share in _WITHIN.items():
        within = [math.floor(count * share) for count in counts]
        yield from _values(f"{name}_bucket", f'{labels},le="{bound}"', times, within)
    yield from _values(f"{name}_count", labels, times, counts)
    seconds = [round(count * _MEAN_SECONDS, 3) for count in counts]
    yield from _values(f"{name}_sum", labels, times, seconds)


def _node_lines(pod: Pod, times: range, memory: list[int]) -> Iterator[str]:
    """What the node agent says about the pod."""
    source = f'job="node",instance="{world.NODE_METRICS}"'
    labels = f'{source},namespace="{pod.namespace}",pod="{pod.name}"'
    container = f'{labels},container="{pod.service.name}"'
    yield from _values("container_memory_working_set_bytes", container, times, memory)
    cpu = [round(0.02 * elapsed(time), 2) for time in times]
    yield from _values("container_cpu_usage_seconds_total", container, times, cpu)
    yield from _series("kube_pod_container_status_restarts_total", container, times, lambda _: 0)
    yield from _series("kube_pod_status_ready", f'{labels},condition="true"', times, lambda _: 1)


def _own_labels(pod: Pod) -> str:
    labels = {
        "job": "pods",
        "instance": f"{pod.address}:8080",
        "namespace": pod.namespace,
        "pod": pod.name,
        "service": pod.service.name,
        "deployment": "stable",
        "version": pod.version,
    }
    if pod.service.agent_type:
        labels["agent_type"] = pod.service.agent_type
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


def _memory(megabytes: float, time: int) -> int:
    # A garbage collector's saw: up for ten minutes, then back.
    return round((megabytes + 2.0 * (time % 600) / 600) * _MEGABYTE)


def _series(name: str, labels: str, times: range, value: Callable[[int], float]) -> Iterator[str]:
    yield from _values(name, labels, times, [value(time) for time in times])


def _values(name: str, labels: str, times: range, values: Sequence[float]) -> Iterator[str]:
    head = f"{name}{{{labels}}}"
    for time, value in zip(times, values, strict=True):
        yield f"{head} {value} {time}\n"
