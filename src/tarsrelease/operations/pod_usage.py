"""CPU and memory of pods, from recorded container metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

from tarsrelease.gates.measure.counter_reset import rise
from tarsrelease.model.cluster import PodState
from tarsrelease.model.kpis import PodUsage
from tarsrelease.model.measurement import Series
from tarsrelease.operations.kpis import Measuring

CPU = 'container_cpu_usage_seconds_total{{namespace="{}",container!=""}}'
MEMORY = 'container_memory_working_set_bytes{{namespace="{}",container!=""}}'


def pod_usages(measuring: Measuring, pods: Iterable[PodState]) -> tuple[PodUsage, ...]:
    """What each pod uses: CPU as the mean of the last minute or four scrapes, memory now."""
    window = measuring.last(max(60.0, 4 * measuring.scrape_interval))
    namespace = measuring.assignment.environment.kubernetes.namespace
    selectors = [each.format(namespace) for each in (CPU, MEMORY)]
    cpu, memory = measuring.metrics.between(selectors, *window)
    return usages(pods, cpu, memory)


def usages(
    pods: Iterable[PodState], cpu: Iterable[Series], memory: Iterable[Series]
) -> tuple[PodUsage, ...]:
    """The same from the samples of a window, summed over each pod's containers."""
    cores: dict[str, float] = defaultdict(float)
    held: dict[str, float] = defaultdict(float)
    for series in cpu:
        values = series.samples
        seconds = values[-1].time - values[0].time
        if seconds > 0:
            gained = sum(rise(a.value, b.value) for a, b in pairwise(values))
            cores[series.labels.get("pod", "")] += gained / seconds
    for series in memory:
        held[series.labels.get("pod", "")] += series.samples[-1].value
    return tuple(
        PodUsage(
            pod=pod.name,
            deployment=pod.owner,
            cpu_cores=round(cores[pod.name], 4) if pod.name in cores else None,
            memory_bytes=held.get(pod.name),
        )
        for pod in pods
    )
