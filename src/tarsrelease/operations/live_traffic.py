"""How many requests per second stable answers now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tarsrelease.context import Context
from tarsrelease.gates.study import recorded_requests
from tarsrelease.model.measurement import Series, Track

_POLL = 1.0
_INTERVALS = 4
"""Scrape intervals that are read at least, for two samples of each series."""


def live_rates(context: Context, seconds: float) -> dict[tuple[str, str], float]:
    """Requests per second by (SLI, service), over at least `seconds`.

    Raises what the metrics port raises.
    """
    rollout, environment = context.rollout, context.environment
    asked = recorded_requests.selectors_of(rollout, environment.kubernetes.namespace)
    selectors = [of for of, _, _ in asked.values()]
    window = max(seconds, _INTERVALS * environment.prometheus.scrape_interval)
    samples = context.metrics.samples
    started = context.clock.now()
    found = samples.series(selectors, window)
    # The pods' own metrics have no past: they are read until the time is over.
    while (context.clock.now() - started).total_seconds() < seconds:
        context.clock.sleep(_POLL)
        found = samples.series(selectors, window)
    owners = {
        pod.name: pod.owner
        for pod in context.cluster.workloads.pods()
        if pod.track is Track.STABLE and not pod.terminating
    }
    of_deployment = {service.stable.deployment: service.name for service in rollout.services}
    rates: dict[tuple[str, str], float] = {}
    for name, series in zip(asked, found, strict=True):
        for each in series:
            service = _service(each, context, owners, of_deployment)
            if service is not None:
                rates[name, service] = rates.get((name, service), 0.0) + rate(each)
    return rates


def _service(
    series: Series, context: Context, owners: Mapping[str, str], of_deployment: Mapping[str, str]
) -> str | None:
    labels = context.rollout.labels
    pod = series.labels.get(labels.pod)
    if pod is not None:
        return of_deployment.get(owners.get(pod, ""))
    names = [service.name for service in context.rollout.services]
    return names[0] if len(names) == 1 else series.labels.get(labels.service)


def rate(series: Series) -> float:
    """Requests per second between the first and the last sample; 0 for a single one."""
    ordered: Sequence[tuple[float, float]] = sorted(
        (sample.time, sample.value) for sample in series.samples
    )
    if len(ordered) < 2:
        return 0.0
    (first, before), (last, after) = ordered[0], ordered[-1]
    return max(0.0, after - before) / (last - first) if last > first else 0.0
