"""Samples from the pods' own metrics pages, read through the API server (``pods/proxy``).

There is no scrape interval and no store in between: what a page says counts a moment later. It is
read once a second, twice just after a shift, from at most `MOST_PODS` pods of a Deployment, at most
`MOST_BYTES` a page and within `DEADLINE` seconds together.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Any, NamedTuple

from tarsrelease.adapters.kubernetes.client import POD, KubernetesApi
from tarsrelease.adapters.kubernetes.shape import reads_answers
from tarsrelease.adapters.kubernetes.workloads import deployment_of
from tarsrelease.adapters.podmetrics.exposition import Line, wanted_lines
from tarsrelease.adapters.podmetrics.matchers import metric_and_matchers
from tarsrelease.adapters.podmetrics.targets import Target, target_of
from tarsrelease.model.errors import ForbiddenError, ReleaseError, UnreachableError, UsageError
from tarsrelease.model.format import names
from tarsrelease.model.measurement import Sample, Series, cut
from tarsrelease.model.metrics_server import PodMetricsEndpoints
from tarsrelease.model.rollout import Rollout

INTERVAL = 1.0
"""Seconds between two readings."""
SHORTEST = 0.4
"""Seconds in which a second question is answered with the last reading."""
DEADLINE = 2.0
"""Seconds for all pages of one reading."""
MOST_PODS = 30
MOST_BYTES = 4 * 2**20
_AT_ONCE = 8
_KEPT = 120.0
"""Seconds for which samples are kept: a new evaluation asks from its shift on."""
_SCRAPED = frozenset(
    ("namespace", "pod", "instance", "job", "container", "endpoint", "node", "cluster")
)
"""Labels that scraping adds."""

_Identity = frozenset[tuple[str, str]]


class _Page(NamedTuple):
    """One page as it was read; `body` None where it could not be."""

    target: Target
    time: float
    body: bytes | None
    error: ReleaseError | None = None


@reads_answers
class PodMetrics:
    """The port `Metrics`, without a past. Also gives `up`, as Prometheus does, by pod.

    Raises ForbiddenError without the right to `get pods/proxy`, UsageError where no pod says where
    its metrics are or a page cannot be read, UnreachableError where no pod answers.
    """

    def __init__(
        self, api: KubernetesApi, rollout: Rollout, endpoints: PodMetricsEndpoints | None = None
    ) -> None:
        self._api = api
        self._endpoints = {
            side.deployment: endpoints.of(service.name) if endpoints else None
            for service in rollout.services
            for side in (service.stable, service.canary)
        }
        self._may_lack = _SCRAPED | {
            rollout.labels.service,
            rollout.labels.track,
            rollout.labels.version,
        }
        self._samples: dict[str, dict[_Identity, deque[Sample]]] = {}
        self._read_at = -inf
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="pod-metrics")
        self.interval, self.complete = INTERVAL, True

    def server_time(self) -> float:
        """Our own present: samples have the time of their reading."""
        return time.time()

    def recorded(
        self, selectors: Sequence[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        """Nothing: pods do not remember."""
        del start, end, step
        return [[] for _ in selectors]

    def between(self, selectors: Sequence[str], start: float, end: float) -> list[list[Series]]:
        """Per selector, the samples of this time that were read and kept."""
        return [cut(each, start, end) for each in self.series(selectors, time.time() - start)]

    def series(self, selectors: Sequence[str], seconds: float) -> list[list[Series]]:
        """Per selector, the samples of the last `seconds`, as far as they were read and kept.

        Reads the pods if the last reading is older than `SHORTEST`.
        """
        asked = [metric_and_matchers(selector, self._may_lack) for selector in selectors]
        fresh = [name for name, _ in asked if name not in self._samples]
        for name in fresh:
            self._samples[name] = {}
        if fresh or time.monotonic() >= self._read_at + SHORTEST:
            self._read()
        start = time.time() - seconds
        return [
            [
                Series(labels, found)
                for identity, samples in self._samples[name].items()
                if fits(labels := dict(identity))
                and (found := tuple(sample for sample in samples if sample.time >= start))
            ]
            for name, fits in asked
        ]

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _read(self) -> None:
        self._read_at = time.monotonic()
        targets = self._targets()
        deadline = self._read_at + DEADLINE
        pages = list(self._pool.map(lambda target: self._page(target, deadline), targets))
        for page in pages:
            if isinstance(page.error, ForbiddenError):
                raise page.error
        for page in pages:
            self._keep(page)
        if all(page.body is None for page in pages):
            raise UnreachableError(
                doing="reading the pods' metrics",
                found=f"none of {len(pages)} pods answers: {pages[0].error}",
                expected="the metrics pages of the release's pods",
                next_step="check the port and path (annotations prometheus.io/port and path, or "
                "pod_metrics in the environment file)",
            )

    def _targets(self) -> list[Target]:
        """The pods to read: all of a small Deployment, the same few of a large one."""
        by_deployment: dict[str, list[dict[str, Any]]] = {}
        for pod in self._api.select(POD):
            owner = deployment_of(pod["metadata"])
            running = (pod.get("status") or {}).get("phase") == "Running"
            if owner in self._endpoints and running:
                by_deployment.setdefault(owner, []).append(pod)
        self.complete = all(len(pods) <= MOST_PODS for pods in by_deployment.values())
        found, without = [], []
        for owner, pods in sorted(by_deployment.items()):
            for pod in sorted(pods, key=lambda each: str(each["metadata"]["name"]))[:MOST_PODS]:
                target = target_of(pod, owner, self._endpoints[owner])
                if target is None:
                    without.append(pod["metadata"]["name"])
                else:
                    found.append(target)
        if not found:
            raise UsageError(
                doing="looking for the pods' metrics",
                found=f"no port for metrics at {names(without)}" if without else "no running pod",
                expected="the annotation prometheus.io/port, or a container port named metrics",
                next_step="or give pod_metrics: {port: ...} in the environment file",
            )
        return found

    def _page(self, target: Target, deadline: float) -> _Page:
        try:
            body = self._api.pod_page(target.resource, target.path, deadline, MOST_BYTES)
        except ReleaseError as error:
            return _Page(target, time.time(), None, error)
        return _Page(target, time.time(), body)

    def _keep(self, page: _Page) -> None:
        target = page.target
        own = {
            "namespace": self._api.namespace,
            "pod": target.pod,
            "instance": f"{target.address}:{target.port}",
        }
        lines = [Line("up", {}, float(page.body is not None))]
        if page.body is not None:
            try:
                lines += wanted_lines(page.body, self._samples)
            except ValueError as error:
                raise UsageError(
                    doing=f"reading the metrics of pod {target.pod}",
                    found=str(error),
                    expected="Prometheus' text format, or OpenMetrics",
                    next_step=f"look at {target.path} of port {target.port}",
                ) from error
        for name, labels, value in lines:
            if name in self._samples:
                identity = frozenset({**labels, **own, "__name__": name}.items())
                kept = self._samples[name].setdefault(identity, deque())
                kept.append(Sample(page.time, value))
                while kept[0].time < page.time - _KEPT and len(kept) > 1:
                    kept.popleft()
