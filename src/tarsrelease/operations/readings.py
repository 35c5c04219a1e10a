"""The readings of an evaluation: pods, and samples from the metrics server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from tarsrelease.context import Context
from tarsrelease.gates import evaluation_times
from tarsrelease.gates.checks import ClusterState, judged
from tarsrelease.gates.measure import attribution, queries
from tarsrelease.gates.measure.pods import PodMemory, RestartCounts, remember
from tarsrelease.model.cluster import DeploymentState, PodState
from tarsrelease.model.errors import ReleaseError, UnreachableError
from tarsrelease.model.measurement import Track, Unmeasured
from tarsrelease.model.rollout import Stage
from tarsrelease.operations.answering import Outage
from tarsrelease.ports.metrics import DirectMetrics, Metrics

_SKEW_TO_MENTION = 2.0


@dataclass(frozen=True, slots=True)
class Source:
    """A source of samples, and the seconds between them.

    `direct` is set for the pods' own pages, which are read on request.
    """

    samples: Metrics
    interval: float
    direct: DirectMetrics | None = None


def first_source(context: Context) -> Source:
    """The source of all results."""
    metrics = context.metrics
    if context.environment.metrics == "pods" and metrics.direct is not None:
        return Source(metrics.direct, metrics.direct.interval, metrics.direct)
    return Source(metrics.samples, context.environment.prometheus.scrape_interval)


def second_source(context: Context) -> Source | None:
    """The pods' own pages beside Prometheus, for failures that they prove sooner."""
    direct = context.metrics.direct
    if context.environment.metrics != "both" or direct is None:
        return None
    return Source(direct, direct.interval, direct)


def read_before_shift(context: Context, stage: Stage) -> None:
    """Read the pods' pages once, so that requests are counted from the shift; never raises."""
    direct = context.metrics.direct
    if direct is None:
        return
    namespace = context.environment.kubernetes.namespace
    asked = queries.queries_of(stage, context.rollout, namespace, [""])
    try:
        direct.series(asked.selectors, direct.interval)
    except ReleaseError as error:
        context.say(f"{stage.name}: the pods' metrics cannot be read: {error}")


class PodReadings:
    """Deployments and pods of the namespace, and their restarts since a shift.

    `trouble` says why the last reading failed, None if it succeeded. After a failure `pods` are
    those of the reading before; use only their names. `outage` is that of the API server.
    """

    def __init__(
        self, context: Context, stage: Stage, since: datetime, restarts: RestartCounts | None
    ) -> None:
        self._context, self._stage, self._since = context, stage, since
        self.memory = PodMemory(baseline=restarts)
        self.known = attribution.known(context.rollout, context.environment.kubernetes.namespace)
        self.deployments: Mapping[str, DeploymentState] = {}
        self.pods: tuple[PodState, ...] = ()
        self.trouble: str | None = "not read yet"
        self.outage = Outage(context, stage.name)
        self._read_at = 0.0

    @property
    def _now(self) -> float:
        return self._context.clock.now().timestamp()

    @property
    def next_at(self) -> float:
        """When to read again (Unix time, our clock): once a tick."""
        return self._read_at + evaluation_times.TICK

    def read(self) -> None:
        """Read the deployments and pods; never raises."""
        workloads = self._context.cluster.workloads
        try:
            found = workloads.deployments()
            self.pods = tuple(workloads.pods())
        except UnreachableError as error:
            self.outage.failed(error, "cannot read the pods, evaluating the metrics only")
            self.trouble = str(error)
        except ReleaseError as error:
            if self.trouble is None:
                self._context.say(f"{self._stage.name}: cannot read the pods: {error}")
            self.trouble = str(error)
        else:
            self.outage.ended()
            self.deployments = {each.name: each for each in found}
            self.trouble = None
            self.memory = remember(self.memory, found, self.pods, since=self._since, now=self._now)
            self.known = replace(self.known, pods=self.known.pods.seen(self.pods, found))
        self._read_at = self._now

    def state(self, track: Track) -> ClusterState | Unmeasured:
        """The cluster's state for the checks of one track."""
        if self.trouble is not None:
            return Unmeasured(self.trouble)
        names = judged(self._context.rollout, track).values()
        return ClusterState(
            deployments=self.deployments,
            pods=self.pods,
            restarts={name: self.memory.restarts(name) for name in names},
            incomplete_for={name: self.memory.incomplete_for(name, self._now) for name in names},
        )

    @property
    def reachable(self) -> frozenset[str] | None:
        """Names of ready pods, which a scrape should reach; None if the pods are unknown."""
        if self.trouble is not None:
            return None
        return frozenset(pod.name for pod in self.pods if pod.ready and not pod.terminating)


class MetricReadings:
    """The samples of a stage's queries since a shift, for one track.

    `answers` counts the metrics server's answers; `skew` is its clock minus ours in seconds;
    `trouble` says why the last query failed, None if it succeeded.
    """

    def __init__(
        self,
        context: Context,
        stage: Stage,
        since: datetime,
        track: Track,
        source: Source | None = None,
    ) -> None:
        self._context, self._stage, self._since, self._track = context, stage, since, track
        self.source = source or first_source(context)
        self._started_at = self._now
        self._asked_at: float | None = None
        self._answered_at: float | None = None
        self.measurements: queries.Measurements | None = None
        self.trouble: str | None = "not queried yet"
        self.skew = 0.0
        self.answers = 0
        version = context.release.version
        self._versions = {
            Track.CANARY: version,
            Track.STABLE: version if track is Track.STABLE else None,
        }

    @property
    def _now(self) -> float:
        return self._context.clock.now().timestamp()

    @property
    def seconds_without(self) -> float:
        """Seconds since the last answer, or since the evaluation began."""
        return self._now - (
            self._answered_at if self._answered_at is not None else self._started_at
        )

    @property
    def next_at(self) -> float:
        """When to query again (Unix time, our clock): at once, then as new samples are due."""
        if self._asked_at is None:
            return self._started_at
        if self.trouble is not None or self.measurements is None:
            return self._asked_at + evaluation_times.TICK
        if self.source.direct is not None:
            shift = self._since.timestamp()
            return evaluation_times.due_directly(self.source.interval, self._asked_at, shift)
        newest = self.measurements.targets(self._track).values()
        asked_at = self._asked_at + self.skew
        return evaluation_times.due(newest, self.source.interval, asked_at) - self.skew

    def read(self, pods: PodReadings) -> None:
        """Query all selectors once; never raises, but reports an error at once."""
        self._asked_at = self._now
        try:
            if self.measurements is None or self.trouble is not None:
                self._compare_clocks()
            measurements = queries.attribute(
                self.measurements or self._open(pods), pods.known, self._versions
            )
            server_now = self._now + self.skew
            answers = self.source.samples.series(
                measurements.queries.asked, measurements.seconds(server_now)
            )
            births = {
                pod.name: pod.started_at.timestamp() + self.skew
                for pod in pods.pods
                if pod.started_at is not None
            }
            self.measurements = queries.enter(measurements, answers, server_now, births)
        except ReleaseError as error:
            if self.trouble is None or self.answers == 0:
                self._context.say(f"{self._stage.name}: no metrics: {error}; retrying")
            self.trouble = str(error)
            return
        if self.trouble is not None and self.answers:
            self._context.say(f"{self._stage.name}: metrics are back")
        self.trouble = None
        self._answered_at = self._now
        self.answers += 1

    def _compare_clocks(self) -> None:
        before = self._now
        server = self.source.samples.server_time()
        self.skew = server - (before + self._now) / 2
        if abs(self.skew) > _SKEW_TO_MENTION and self.measurements is None:
            self._context.say(
                f"{self._stage.name}: correcting the metrics server's clock, which differs by "
                f"{self.skew:+.1f} s"
            )

    def _open(self, pods: PodReadings) -> queries.Measurements:
        rollout, environment = self._context.rollout, self._context.environment
        version = self._context.release.version
        stable = [each.stable.deployment for each in rollout.services]
        versions = [pods.deployments[name].version for name in stable if name in pods.deployments]
        asked = queries.queries_of(
            self._stage, rollout, environment.kubernetes.namespace, [version, *(versions or [""])]
        )
        if self.source.direct is not None and not self.source.direct.complete:
            asked = replace(asked, share=None)  # a sample of the pods does not tell the share
        return queries.open_measurements(
            asked,
            rollout.labels,
            self._versions,
            self._since.timestamp() + self.skew,
            self.source.interval,
            self._track.other,
        )
