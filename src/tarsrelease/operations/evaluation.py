"""Looking at a stage until it is decided. Looks follow the scrapes; decisions are pure.

(1) Ask the metrics server when new samples are due, and decide on what they show.
(2) Read the pods once a tick, whatever the metrics server does, and decide again.
(3) Wait until either is due.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tarsrelease.gates import evaluation_times
from tarsrelease.gates.checks import ClusterState, Inputs, Patience, evaluate, judged, traffic_share
from tarsrelease.gates.measure import pods as pod_memory
from tarsrelease.gates.measure import queries
from tarsrelease.gates.stats.alpha_budget import alpha_per_check
from tarsrelease.gates.stats.bursts import Burstiness, burstiness
from tarsrelease.gates.study.recorded_requests import Past, nothing_known
from tarsrelease.gates.verdict import decide
from tarsrelease.model.cluster import DeploymentState, PodState
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.measurement import (
    Counts,
    ExternalAnswer,
    Gauges,
    Key,
    Track,
    Unmeasured,
    Usage,
)
from tarsrelease.model.outcome import Check, Status, Verdict
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import Stage
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Workloads
from tarsrelease.ports.metrics import ExternalAnswers, Metrics, NoExternalAnswers
from tarsrelease.ports.people import Progress

Counted = Mapping[str, Mapping[Key, Counts | Unmeasured]]
Read = Mapping[str, Mapping[str, Gauges | Unmeasured]]
Used = Mapping[str, Usage | Unmeasured]

_SKEW_TO_MENTION = 2.0
_RECORDS = 200


@dataclass(frozen=True, slots=True)
class Look:
    """One look, for plots: observed values by ``check id/service``, requests by service."""

    elapsed: float
    values: Mapping[str, float]
    requests: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Observation:
    """How a stage was decided.

    `looks` counts the answers of the metrics server, `without_metrics` the seconds since the last.
    """

    verdict: Verdict
    checks: tuple[Check, ...]
    looks: int
    decided_at: datetime
    history: tuple[Look, ...]
    without_metrics: float = 0.0


def as_they_are(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """The checks of a look, told as they are."""
    return checks


def observe(
    release: Release,
    environment: Environment,
    stage: Stage,
    since: datetime,
    *,
    track: Track,
    weight: int | None,
    metrics: Metrics,
    workloads: Workloads,
    clock: Clock,
    progress: Progress,
    alive: Callable[[], None],
    restarts_before: pod_memory.RestartCounts | None = None,
    seen_as: Callable[[tuple[Check, ...]], tuple[Check, ...]] = as_they_are,
    elsewhere: ExternalAnswers | None = None,
    past: Past = nothing_known,
) -> Observation:
    """Look at one side until there is a verdict.

    `since` is the time just before the shift; `weight` the canary's percentage as it stands, None
    where something else moves the traffic and no share is expected. `seen_as` may tell the checks
    of each look otherwise, before they are decided on.
    `alive` is called once a tick, and may raise (LockedError). `restarts_before` are the pods'
    restart counts at the shift; without them those of the first look stand in. `elsewhere` answers
    what neither metrics nor cluster can; without it that is an error. `past` tells how stable's
    errors came before. Raises nothing of
    its own: a metrics server or API server that does not answer is an `error` in the checks.
    """
    watch = _Watch(
        release, environment, stage, since, track, weight, metrics, workloads, clock, progress,
        seen_as, past,
    )  # fmt: skip
    watch.memory = pod_memory.PodMemory(baseline=restarts_before)
    watch.elsewhere = elsewhere or NoExternalAnswers()
    watch.read_pods()
    alive_at = None
    while True:
        if alive_at is None or watch.now >= alive_at + evaluation_times.TICK:
            alive()
            alive_at = watch.now
        verdict = None
        if watch.metrics_due:
            watch.ask()
            verdict = watch.judge()
        if verdict is None and watch.pods_due:
            watch.read_pods()
            verdict = watch.judge()
        if verdict is not None:
            return watch.observation(verdict)
        watch.wait()


@dataclass(slots=True)
class _Watch:
    """The state of one observation. Everything that is decided from it is decided in gates."""

    release: Release
    environment: Environment
    stage: Stage
    since: datetime
    track: Track
    weight: int | None
    metrics: Metrics
    workloads: Workloads
    clock: Clock
    progress: Progress
    seen_as: Callable[[tuple[Check, ...]], tuple[Check, ...]]
    past: Past
    memory: pod_memory.PodMemory = field(default_factory=pod_memory.PodMemory)
    elsewhere: ExternalAnswers = field(default_factory=NoExternalAnswers)
    deployments: Mapping[str, DeploymentState] = field(default_factory=dict)
    pods: tuple[PodState, ...] = ()
    pods_trouble: str | None = "not read yet"
    pods_read_at: float = 0.0
    measurements: queries.Measurements | None = None
    skew: float = 0.0
    trouble: str | None = "not asked yet"
    asked_at: float | None = None
    answered_at: float | None = None
    started_at: float = 0.0
    looks: int = 0
    checks: tuple[Check, ...] = ()
    shown_at: float | None = None
    extended: bool = False
    history: list[Look] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.started_at = self.now

    @property
    def now(self) -> float:
        return self.clock.now().timestamp()

    @property
    def without_metrics(self) -> float:
        return self.now - (self.answered_at if self.answered_at is not None else self.started_at)

    @property
    def elapsed(self) -> float:
        return self.now - self.since.timestamp()

    # What is due

    @property
    def metrics_due(self) -> bool:
        return self.now >= self._next_ask()

    @property
    def pods_due(self) -> bool:
        return self.now >= self.pods_read_at + evaluation_times.TICK

    def _next_ask(self) -> float:
        """Our clock's time of the next query; the first one is due at once."""
        if self.asked_at is None:
            return self.started_at
        if self.trouble is not None or self.measurements is None:
            return self.asked_at + evaluation_times.TICK
        newest = self.measurements.targets(self.track).values()
        interval = self.environment.prometheus.scrape_interval
        return evaluation_times.due(newest, interval, self.asked_at + self.skew) - self.skew

    def wait(self) -> None:
        due = min(self._next_ask(), self.pods_read_at + evaluation_times.TICK)
        self.clock.sleep(max(0.01, due - self.now))

    # Looking

    def read_pods(self) -> None:
        """Deployments and pods; what cannot be read leaves the last ones for their names only."""
        try:
            found = self.workloads.deployments()
            self.pods = tuple(self.workloads.pods())
        except ReleaseError as error:
            if self.pods_trouble is None:
                self.progress.say(f"{self.stage.name}: the pods cannot be read: {error}")
            self.pods_trouble = str(error)
        else:
            self.deployments = {each.name: each for each in found}
            self.pods_trouble = None
            self.memory = pod_memory.remember(
                self.memory, found, self.pods, since=self.since, now=self.now
            )
        self.pods_read_at = self.now

    def ask(self) -> None:
        """One query for all selectors; a server that does not answer is said at once."""
        self.asked_at = self.now
        try:
            if self.measurements is None or self.trouble is not None:
                self._set_clock()
            measurements = self.measurements or self._open()
            server_now = self.now + self.skew
            answers = self.metrics.series(
                measurements.queries.selectors, measurements.seconds(server_now)
            )
            births = {
                pod.name: pod.started_at.timestamp() + self.skew
                for pod in self.pods
                if pod.started_at is not None
            }
            self.measurements = queries.enter(measurements, answers, server_now, births)
        except ReleaseError as error:
            if self.trouble is None or self.looks == 0:
                self.progress.say(f"{self.stage.name}: no metrics: {error}; looking on")
            self.trouble = str(error)
            return
        if self.trouble is not None and self.looks:
            self.progress.say(f"{self.stage.name}: metrics are back")
        self.trouble = None
        self.answered_at = self.now
        self.looks += 1

    def _set_clock(self) -> None:
        before = self.now
        server = self.metrics.server_time()
        self.skew = server - (before + self.now) / 2
        if abs(self.skew) > _SKEW_TO_MENTION and self.measurements is None:
            self.progress.say(
                f"{self.stage.name}: the metrics server's clock is {self.skew:+.1f} s from ours; "
                "taken into account"
            )

    def _open(self) -> queries.Measurements:
        rollout = self.release.rollout
        sides = [each.stable.deployment for each in rollout.services]
        versions = [self.deployments[name].version for name in sides if name in self.deployments]
        asked = queries.queries_of(
            self.stage,
            rollout,
            self.environment.kubernetes.namespace,
            [self.release.version, *(versions or [""])],
        )
        judged_stable = self.track is Track.STABLE
        return queries.open_measurements(
            asked,
            rollout.labels,
            {
                Track.CANARY: self.release.version,
                Track.STABLE: self.release.version if judged_stable else None,
            },
            self.since.timestamp() + self.skew,
            self.environment.prometheus.scrape_interval,
            self.track.other,
        )

    # Deciding

    def judge(self) -> Verdict | None:
        """The checks as of now, shown; and the verdict, if there is one."""
        self.checks = self.seen_as(self._evaluate())
        verdict = decide(
            self.checks,
            self.stage,
            self.elapsed,
            without_metrics=self.without_metrics,
            outage_limit=self.environment.limits.metrics_outage,
        )
        self._show(verdict)
        return verdict

    def _evaluate(self) -> tuple[Check, ...]:
        rollout, interval = self.release.rollout, self.environment.prometheus.scrape_interval
        names = [service.name for service in rollout.services]
        deployments = [name for track in Track for name in judged(rollout, track).values()]
        patience = Patience(
            alpha=alpha_per_check(rollout),
            confidence=rollout.statistics.confidence,
            stale_after=max(3 * interval, 15.0),
        )
        measurements = self.measurements
        away = None
        if measurements is None or self.trouble is not None:
            away = Unmeasured(self.trouble or "not asked yet")
            keys = [(name, track) for name in names for track in Track]
            slis = {name for check in self.stage.checks for name in check.named_slis()}
            counts: Counted = {sli: dict.fromkeys(keys, away) for sli in slis}
            gauges: Read = {sli: dict.fromkeys(deployments, away) for sli in slis}
            usages: Used = dict.fromkeys(slis, away)
        else:
            counts = queries.counts(measurements, names, self._scrapable())
            gauges = queries.readings(measurements, self.memory.owners or {}, deployments)
            usages = queries.usages(measurements)
        inputs = Inputs(
            counts=counts,
            gauges=gauges,
            cluster=self._cluster(),
            sources=measurements.queries.sources if measurements else {},
            now=self.now + self.skew,
            elapsed=self.elapsed,
            usages=usages,
            external=self._external(),
            bursts=self._bursts,
        )
        checks = evaluate(self.stage, rollout, self.track, inputs, patience)
        if self.weight is None:
            return checks
        if measurements is None or measurements.queries.share is None or measurements.share is None:
            return checks
        seen = away or measurements.share
        weights = dict.fromkeys(names, self.weight)
        return checks + traffic_share.of_services(
            seen, weights, interval, measurements.queries.share
        )

    def _cluster(self) -> ClusterState | Unmeasured:
        if self.pods_trouble is not None:
            return Unmeasured(self.pods_trouble)
        names = judged(self.release.rollout, self.track).values()
        return ClusterState(
            deployments=self.deployments,
            pods=self.pods,
            restarts={name: self.memory.restarts(name) for name in names},
            incomplete_for={name: self.memory.incomplete_for(name, self.now) for name in names},
        )

    def _external(self) -> dict[str, ExternalAnswer]:
        asked = {
            rule.id: self.elsewhere.answer(rule, self.track, self.since)
            for rule in self.stage.checks
            if rule.elsewhere
        }
        return {name: answer for name, answer in asked.items() if answer is not None}

    def _bursts(self, sli: str, service: str) -> list[Burstiness]:
        """How errors came on the other side lately, and on stable in the longer past."""
        ticks = (
            None if self.measurements is None else queries.beside(self.measurements, sli, service)
        )
        lately = None if ticks is None else burstiness(ticks)
        return [known for known in (lately, self.past(sli, service)) if known is not None]

    def _scrapable(self) -> frozenset[str] | None:
        """Pods that a scrape should reach; None where the pods are not known."""
        if self.pods_trouble is not None:
            return None
        return frozenset(pod.name for pod in self.pods if pod.ready and not pod.terminating)

    # Showing

    def _show(self, verdict: Verdict | None) -> None:
        elapsed = self.elapsed
        over = elapsed >= self.stage.duration
        if over and verdict is None and not self.extended:
            self.extended = True
            open_ = [c for c in self.checks if c.status in (Status.INCONCLUSIVE, Status.ERROR)]
            why = f"{open_[0].id} of {open_[0].service}: {open_[0].reason}" if open_ else ""
            self.progress.say(
                f"{self.stage.name}: extended by up to {self.stage.max_extension:g} s; {why}"
            )
        due = self.shown_at is None or self.now >= self.shown_at + evaluation_times.TICK
        if due or verdict is not None:
            planned = self.stage.duration + (self.stage.max_extension if over else 0.0)
            self.progress.look(self.stage.name, self.weight, elapsed, planned, checks=self.checks)
            self.shown_at = self.now
        step = max(evaluation_times.TICK, self.stage.duration / _RECORDS)
        if verdict is not None or not self.history or elapsed >= self.history[-1].elapsed + step:
            self.history.append(self._look(elapsed))

    def _look(self, elapsed: float) -> Look:
        values = {
            f"{check.id}/{check.service}": check.observed.value
            for check in self.checks
            if check.observed is not None and isinstance(check.observed.value, (int, float))
        }
        requests = {
            check.service: check.samples
            for check in self.checks
            if check.needed is not None and check.service and check.samples is not None
        }
        return Look(elapsed=elapsed, values=values, requests=requests)

    def observation(self, verdict: Verdict) -> Observation:
        return Observation(
            verdict=verdict,
            checks=self.checks,
            looks=self.looks,
            decided_at=self.clock.now(),
            history=tuple(self.history),
            without_metrics=self.without_metrics,
        )
