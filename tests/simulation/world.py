"""A small simulated world on a virtual clock: traffic, pods, scrapes, and the ports onto them.

Requests arrive as a Poisson process; each pod counts them; a metrics server scrapes every pod on
a phase of its own. Nothing here knows how gates decide. Time passes only when a step sleeps (or
waits for a server that hangs), so ten minutes take a fraction of a second and a seed repeats them.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import contexts
import numpy as np
from contexts import RUN

from tarsrelease.context import Context
from tarsrelease.model.cluster import (
    ContainerState,
    DeploymentState,
    PodState,
    RouteFaults,
    RouteState,
)
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import LockedError, UnreachableError
from tarsrelease.model.journal import Entry, LockHolder, Phase
from tarsrelease.model.measurement import Sample, Series, Track, cut
from tarsrelease.model.outcome import Check
from tarsrelease.model.release import Release, Run
from tarsrelease.model.rollout import Rollout, Service
from tarsrelease.ports.metrics import NoExternalAnswers

EPOCH = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).timestamp()
SERVICES = ("orchestration-agent", "insight-engine", "dashboard-api")
NEW, OLD = "1.0.1", "1.0.0"


def rollout(
    checks: Sequence[Mapping[str, object]] | None = None,
    weights: Sequence[int] = (1, 10, 25, 50, 100),
    duration: str = "10m",
    max_extension: str = "10m",
    services: Sequence[str] = SERVICES,
) -> Rollout:
    """A rollout of these services; every stage has the same checks."""
    requests = (
        'http_requests_total{namespace="$namespace",service=~"$service",deployment=~"$track"%s}'
    )
    timings = (
        "http_request_duration_seconds_%s"
        '{namespace="$namespace",service=~"$service",deployment=~"$track"%s}'
    )
    standard: list[Mapping[str, object]] = [
        {
            "kind": "proportion",
            "id": "canary.error_rate",
            "sli": "errors",
            "below": "1.5%",
        },
        {"kind": "proportion", "id": "canary.slow_share", "sli": "fast", "at_least": "95%"},
        {"kind": "gauge", "id": "canary.memory", "sli": "memory", "below": "2.5GB"},
        {"kind": "ready", "id": "canary.ready"},
        {"kind": "restarts", "id": "canary.restarts"},
    ]
    return Rollout.model_validate(
        {
            "schema": "tarsrelease/rollout/v1",
            "application": "tars",
            "version": NEW,
            "chart": "tars-1.0.1.tgz",
            "canary_values": "values-canary.yaml",
            "services": [
                {
                    "name": name,
                    "port": 8080,
                    "stable": {"deployment": f"tars-{name}", "service": f"tars-{name}"},
                    "canary": {
                        "deployment": f"tars-canary-{name}",
                        "service": f"tars-canary-{name}",
                    },
                    "route": f"tars-{name}",
                    "hosts": ["web"],
                    "paths": [f"/{name}"],
                    "smoke": [{"path": "/health"}],
                }
                for name in services
            ],
            "slis": {
                "errors": {
                    "kind": "proportion",
                    "of": requests % "",
                    "bad": requests % ',status=~"5.."',
                },
                "fast": {
                    "kind": "proportion",
                    "of": timings % ("count", ""),
                    "good": timings % ("bucket", ',le="0.12"'),
                },
                "memory": {
                    "kind": "gauge",
                    "value": 'process_resident_memory_bytes{namespace="$namespace"}',
                    "unit": "bytes",
                },
            },
            "promotion": {"bake": "0s"},
            "stages": [
                {
                    "weight": weight,
                    "duration": duration,
                    "max_extension": max_extension,
                    "checks": checks if checks is not None else standard,
                }
                for weight in weights
            ],
        }
    )


def release(plan: Rollout | None = None) -> Release:
    """A release of that rollout."""
    plan = plan or rollout()
    return Release.model_validate(
        {
            "directory": "release/v1_0_1",
            "chart": "release/v1_0_1/tars-1.0.1.tgz",
            "manifest": {
                "schema": "tarsrelease/manifest/v1",
                "application": "tars",
                "version": NEW,
                "chart": {"file": "tars-1.0.1.tgz", "name": "tars", "version": NEW},
                "canary_values": "values-canary.yaml",
                "images": [
                    {
                        "service": each.name,
                        "name": f"registry.example/tars-{each.name}",
                        "tag": f"v{NEW}",
                        "digest": "sha256:" + "0" * 64,
                    }
                    for each in plan.services
                ],
            },
            "rollout": plan,
            "canary_values": {},
        }
    )


def environment(scrape_interval: str = "5s", outage: str = "3m", wait: str = "30m") -> Environment:
    """Where it goes; nothing of it exists."""
    return Environment.model_validate(
        {
            "schema": "tarsrelease/environment/v1",
            "name": "simulated",
            "kubernetes": {"namespace": "tars"},
            "gateway": {
                "name": "gateway",
                "namespace": "gateway",
                "address": "http://gateway.example",
                "hostnames": {"web": "tars.example"},
            },
            "prometheus": {
                "url": "http://prometheus.example",
                "scrape_interval": scrape_interval,
                "timeout": "5s",
            },
            "limits": {"metrics_outage": outage, "wait": wait, "deploy": "2m"},
        }
    )


@dataclass
class Pod:
    """One pod and what it counts."""

    name: str
    service: str
    track: Track
    version: str
    started: float
    phase: float
    ready_after: float = 1.0
    gone: float | None = None
    error_share: float = 0.0
    slow_share: float = 0.002
    memory: float = 1e9
    restarts: int = 0
    waiting: str | None = None
    scrapable: bool = True
    former: bool = False
    """Of a canary that was there before: it belongs to no Deployment of today."""
    good: int = 0
    bad: int = 0
    slow: int = 0
    next_scrape: float = 0.0
    answered: int = 0
    """Requests since it started, over resets: the truth that counts are compared with."""

    @property
    def owner(self) -> str:
        """Its Deployment."""
        name = deployment(self.service, self.track)
        return f"former-{name}" if self.former else name

    def metrics(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """What a scrape finds, by metric name and the labels that are its own."""
        total = self.good + self.bad
        return {
            ("http_requests_total", (("status", "200"),)): self.good,
            ("http_requests_total", (("status", "500"),)): self.bad,
            ("http_request_duration_seconds_count", ()): total,
            ("http_request_duration_seconds_bucket", (("le", "0.12"),)): total - self.slow,
            ("process_resident_memory_bytes", ()): self.memory,
        }


def deployment(service: str, track: Track) -> str:
    """The name of a side's Deployment."""
    return f"tars-canary-{service}" if track is Track.CANARY else f"tars-{service}"


@dataclass
class World:
    """The state. `rate` is in requests a second for each service; times are Unix seconds."""

    seed: int = 0
    rate: float = 33.0
    scrape_interval: float = 5.0
    follow: float = 0.5
    """Seconds until the gateway follows its routes."""
    listed_after: float = 0.0
    """Seconds until a Service leads to a pod that is ready."""
    commit: float = 0.03
    """Seconds from a scrape's time to its samples being visible."""
    now: float = EPOCH
    metrics_state: str = "up"
    """``up``, ``down`` (refuses, and scrapes nothing), ``refused`` or ``hung`` (scrapes on)."""
    kubernetes_up: bool = True
    smoke_status: int = 200
    skew: float = 0.0
    """The metrics server's clock is ahead by this many seconds."""
    pods: list[Pod] = field(default_factory=list)
    replicas: dict[str, int] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    followed: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    annotations: dict[str, dict[str, str]] = field(default_factory=dict)
    journal: list[Entry] = field(default_factory=list)
    lock_holder: str | None = None
    managers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Other field managers of a service's route."""
    images: dict[str, tuple[str, ...]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    """By Deployment."""
    deleted: set[str] = field(default_factory=set)
    """Services whose route somebody deleted."""
    said: list[str] = field(default_factory=list)
    seen: list[tuple[float, tuple[Check, ...]]] = field(default_factory=list)
    writes: list[tuple[float, int]] = field(default_factory=list)
    queries: int = 0
    new_pods: Callable[[Pod], None] = lambda pod: None
    """Called with every canary pod that is started, to give it its faults."""
    services: tuple[str, ...] = SERVICES

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.samples: dict[frozenset[tuple[str, str]], list[tuple[float, Sample]]] = {}
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.names = 0
        self.pause: Callable[[float], None] = self.advance
        """Lets the time pass that an answer takes."""
        self.matching: dict[str, tuple[int, list[frozenset[tuple[str, str]]]]] = {}

    # What happens

    def populate(self, stable: int = 2, canary: int = 1, minutes: float = 2.0) -> World:
        """Stable with all the traffic, a canary at weight 0, some minutes old; deployed."""
        for service in self.services:
            self.weights[service] = 0
            self.followed[service] = [(self.now, 0)]
            self.annotations[service] = {"release": NEW, "stage": "deploy", "weight": "0"}
            self.set_replicas(deployment(service, Track.STABLE), stable)
            self.set_replicas(deployment(service, Track.CANARY), canary)
        self.journal.append(self.entry("deploy", Phase.INTENT))
        for weight in (5, 10, 25, 50, 100):  # tests enter any stage at once
            self.journal.append(self.entry("skip", Phase.RESULT, weight=weight))
        self.advance(60.0 * minutes)
        return self

    def entry(self, action: str, phase: Phase, **facts: object) -> Entry:
        """A journal entry of this run, now."""
        return Entry(
            at=datetime.fromtimestamp(self.now, UTC),
            run=RUN.id,
            release=NEW,
            step=action,
            action=action,
            phase=phase,
            facts=facts,
        )

    def set_replicas(self, name: str, replicas: int, version: str | None = None) -> None:
        """Start or stop pods of a Deployment; stopping takes those that came last."""
        track = Track.CANARY if name.startswith("tars-canary-") else Track.STABLE
        service = name.removeprefix("tars-canary-" if track is Track.CANARY else "tars-")
        self.replicas[name] = replicas
        own = [pod for pod in self.pods if pod.owner == name and pod.gone is None]
        for pod in own[replicas:]:
            pod.gone = self.now
        for _ in range(replicas - len(own)):
            self.start_pod(service, track, version or (NEW if track is Track.CANARY else OLD))

    def start_pod(self, service: str, track: Track, version: str) -> Pod:
        """A pod that starts now, scraped on a phase of its own."""
        self.names += 1
        phase = float(self.random.uniform(0, self.scrape_interval))
        pod = Pod(
            name=f"{deployment(service, track)}-{self.names}",
            service=service,
            track=track,
            version=version,
            started=self.now,
            phase=phase,
            next_scrape=self.now + phase,
        )
        if track is Track.CANARY:
            self.new_pods(pod)
        self.pods.append(pod)
        return pod

    def replace_pod(self, pod: Pod) -> Pod:
        """The pod goes, another of its Deployment comes."""
        pod.gone = self.now
        return self.start_pod(pod.service, pod.track, pod.version)

    def reset(self, pod: Pod) -> None:
        """Its counters start again from zero, as after a restart of the process."""
        pod.good = pod.bad = pod.slow = 0

    def running(self, track: Track | None = None) -> list[Pod]:
        """Pods that are there, of one side or both."""
        return [p for p in self.pods if p.gone is None and track in (None, p.track)]

    def at(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen that many seconds from now."""
        self.events.append((self.now + seconds, len(self.events), event))
        self.events.sort(key=lambda each: each[:2])

    def set_weight(self, service: str, weight: int) -> None:
        """The route's weight; the gateway follows a little later."""
        self.weights[service] = weight
        self.followed[service].append((self.now + self.follow, weight))
        self.writes.append((self.now, weight))

    def edit(self, service: str, weight: int, by: str) -> None:
        """Somebody edits the weight in a route by hand."""
        self.set_weight(service, weight)
        self.managers[service] = (by,)

    # Time

    def advance(self, seconds: float) -> None:
        """Let time pass, from one scrape or event to the next."""
        end = self.now + seconds
        while True:
            due = min((pod.next_scrape for pod in self.running()), default=end)
            event = self.events[0][0] if self.events else end
            change = min(
                (t for each in self.followed.values() for t, _ in each if t > self.now),
                default=end,
            )
            step = min(due, event, change, end)
            self._serve(step - self.now)
            self.now = step
            while self.events and self.events[0][0] <= self.now:
                self.events.pop(0)[2]()
            for pod in self.running():
                if pod.next_scrape <= self.now:
                    self._scrape(pod)
            if self.now >= end:
                return

    def skip(self, seconds: float) -> None:
        """Let time pass in which nothing is scraped and nobody asks."""
        self.now += seconds
        for pod in self.running():
            pod.next_scrape = self.now + pod.phase

    def _serve(self, seconds: float) -> None:
        if seconds <= 0:
            return
        for service in self.services:
            weight = [w for t, w in self.followed.get(service, []) if t <= self.now][-1:]
            share = weight[0] / 100 if weight else 0.0
            for track, part in ((Track.CANARY, share), (Track.STABLE, 1 - share)):
                pods = [pod for pod in self.running(track) if pod.service == service]
                able = [pod for pod in pods if self.is_reached(pod)]
                for pod in able:
                    number = int(self.random.poisson(self.rate * part * seconds / len(able)))
                    bad = int(self.random.binomial(number, pod.error_share))
                    pod.good += number - bad
                    pod.bad += bad
                    pod.slow += int(self.random.binomial(number, pod.slow_share))
                    pod.answered += number

    def is_ready(self, pod: Pod) -> bool:
        """Whether it serves."""
        return pod.waiting is None and self.now >= pod.started + pod.ready_after

    def is_reached(self, pod: Pod) -> bool:
        """Whether its Service leads to it."""
        ready_at = pod.started + pod.ready_after
        return self.is_ready(pod) and self.now >= ready_at + self.listed_after

    def _scrape(self, pod: Pod) -> None:
        time = pod.next_scrape
        pod.next_scrape += self.scrape_interval
        if self.metrics_state == "down" or not pod.scrapable or pod.waiting is not None:
            return
        for (name, own), value in pod.metrics().items():
            labels = {
                "__name__": name,
                "namespace": "tars",
                "service": pod.service,
                "deployment": str(pod.track),
                "version": pod.version,
                "pod": pod.name,
                **dict(own),
            }
            stored = self.samples.setdefault(frozenset(labels.items()), [])
            stored.append((time + self.commit, Sample(time + self.skew, float(value))))


class SimulatedClock:
    """The port Clock."""

    def __init__(self, world: World) -> None:
        self.world = world

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.world.now, UTC)

    def sleep(self, seconds: float) -> None:
        self.world.advance(seconds)


_SELECTOR = re.compile(r"\s*(\w+)\{(.*)\}\s*", re.DOTALL)
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')


def _on_a_grid(series: Series, moments: Sequence[float]) -> Series:
    samples, found, at = series.samples, [], 0
    first = bisect_left(moments, samples[0].time)
    for moment in moments[first:]:
        while at + 1 < len(samples) and samples[at + 1].time <= moment:
            at += 1
        if samples[at].time > moment - 300:
            found.append(Sample(moment, samples[at].value))
    return Series(series.labels, tuple(found))


class SimulatedMetrics:
    """The port Metrics, with enough PromQL for selectors."""

    def __init__(self, world: World, timeout: float = 5.0) -> None:
        self.world = world
        self.timeout = timeout

    def server_time(self) -> float:
        self._answer()
        return self.world.now + self.world.skew

    def series(self, selectors: Sequence[str], seconds: float) -> list[list[Series]]:
        self._answer()
        return [self._select(selector, seconds) for selector in selectors]

    def recorded(
        self, selectors: Sequence[str], start: float, end: float, step: float
    ) -> list[list[Series]]:
        """At each moment the newest sample, up to five minutes old."""
        self._answer()
        back = self.world.now + self.world.skew - start + 300
        moments = [start + step * n for n in range(int((end - start) / step + 1e-6) + 1)]
        return [
            [_on_a_grid(each, moments) for each in self._select(selector, back)]
            for selector in selectors
        ]

    def between(self, selectors: Sequence[str], start: float, end: float) -> list[list[Series]]:
        self._answer()
        back = self.world.now + self.world.skew - start
        return [cut(self._select(selector, back), start, end) for selector in selectors]

    def _answer(self) -> None:
        self.world.queries += 1
        if self.world.metrics_state == "up":
            self.world.pause(0.01)
            return
        if self.world.metrics_state == "hung":
            self.world.pause(self.timeout)
        raise UnreachableError(
            doing="asking", found=self.world.metrics_state, expected="an answer", next_step="wait"
        )

    def _select(self, selector: str, seconds: float) -> list[Series]:
        world = self.world
        now = world.now
        start = now + world.skew - seconds
        found = []
        for identity in self._matching(selector):
            stored = world.samples[identity]
            first = bisect_right(stored, start, key=lambda each: each[1].time)
            samples = tuple(s for visible, s in stored[first:] if visible <= now)
            if samples:
                found.append(Series(labels=dict(identity), samples=samples))
        return found

    def _matching(self, selector: str) -> list[frozenset[tuple[str, str]]]:
        """The series that a selector names; those seen before are not compared again."""
        world = self.world
        known, matching = world.matching.get(selector, (0, []))
        if known < len(world.samples):
            match = _SELECTOR.fullmatch(selector)
            assert match, f"no selector: {selector}"
            matchers = [
                (name, operator, re.sub(r"\\(.)", r"\1", value))
                for name, operator, value in _MATCHER.findall(match[2])
            ]
            for identity in islice(world.samples, known, None):
                labels = dict(identity)
                if labels["__name__"] == match[1] and all(_fits(labels, m) for m in matchers):
                    matching.append(identity)
            world.matching[selector] = (len(world.samples), matching)
        return matching


def _fits(labels: Mapping[str, str], matcher: tuple[str, str, str]) -> bool:
    name, operator, value = matcher
    found = labels.get(name, "")
    equal = found == value if operator in ("=", "!=") else bool(re.fullmatch(value, found))
    return equal is (operator in ("=", "=~"))


class SimulatedWorkloads:
    """The port Workloads."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _answer(self) -> None:
        if not self.world.kubernetes_up:
            raise UnreachableError(
                doing="asking", found="refused", expected="an answer", next_step="wait"
            )

    def deployments(self) -> list[DeploymentState]:
        self._answer()
        result = []
        for name, replicas in self.world.replicas.items():
            own = [pod for pod in self.world.running() if pod.owner == name]
            able = sum(self.world.is_ready(pod) for pod in own)
            result.append(
                DeploymentState(
                    name=name,
                    replicas=replicas,
                    ready=able,
                    updated=len(own),
                    available=able,
                    settled=True,
                    images=self.world.images.get(name, ()),
                    settings=self.world.settings.get(name, ""),
                    version=own[0].version if own else "",
                )
            )
        return result

    def pods(self) -> list[PodState]:
        self._answer()
        return [
            PodState(
                name=pod.name,
                owner=pod.owner,
                track=pod.track,
                version=pod.version,
                ready=self.world.is_ready(pod),
                terminating=False,
                phase="Running",
                started_at=datetime.fromtimestamp(pod.started, UTC),
                containers=(
                    ContainerState(
                        name="service",
                        init=False,
                        ready=self.world.is_ready(pod),
                        restarts=pod.restarts,
                        waiting=pod.waiting,
                    ),
                ),
            )
            for pod in self.world.running()
        ]

    def pods_behind(self) -> dict[str, frozenset[str]]:
        self._answer()
        pods = self.world.running()
        return {
            name: frozenset(p.name for p in pods if p.owner == name and self.world.is_reached(p))
            for name in self._deployments()
        }

    def _deployments(self) -> Iterable[str]:
        return self.world.replicas

    def scale(self, deployment: str, replicas: int) -> None:
        self._answer()
        self.world.set_replicas(deployment, replicas)


class SimulatedRoutes:
    """The port Routes, with annotations that can be changed alone."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _answer(self) -> None:
        if not self.world.kubernetes_up:
            raise UnreachableError(
                doing="asking", found="refused", expected="an answer", next_step="wait"
            )

    def read(self, services: Sequence[Service]) -> list[RouteState]:
        self._answer()
        result = []
        for service in services:
            if service.name not in self.world.weights or service.name in self.world.deleted:
                continue
            notes = self.world.annotations[service.name]
            written, until = notes.get("shifted-at"), notes.get("traffic-until")
            result.append(
                RouteState(
                    service=service.name,
                    weight=self.world.weights[service.name],
                    stage=notes.get("stage"),
                    run=notes.get("run"),
                    release=notes.get("release"),
                    traffic_until=datetime.fromisoformat(until) if until else None,
                    accepted=True,
                    problem=None,
                    managers=self.world.managers.get(service.name, ()),
                    written_at=datetime.fromisoformat(written) if written else None,
                )
            )
        return result

    def shift(
        self, services: Sequence[Service], weight: int, annotations: Mapping[str, str]
    ) -> None:
        self._answer()
        for service in services:
            self.world.deleted.discard(service.name)
            self.world.managers.pop(service.name, None)
            self.world.set_weight(service.name, weight)
            self.world.annotations[service.name] = dict(annotations)

    def annotate(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        self._answer()
        for service in services:
            self.world.annotations[service.name] |= annotations

    def faults(self, services: Sequence[Service]) -> list[RouteFaults]:
        return [RouteFaults(service=service.name) for service in services]

    def retire(self, services: Sequence[Service], annotations: Mapping[str, str]) -> None:
        self.shift(services, 0, annotations)


class SimulatedJournal:
    """The port Journal."""

    def __init__(self, world: World) -> None:
        self.world = world

    def append(self, entry: Entry) -> None:
        self._answer()
        self.world.journal.append(entry)

    def entries(self) -> list[Entry]:
        self._answer()
        return list(self.world.journal)

    def _answer(self) -> None:
        if not self.world.kubernetes_up:
            raise UnreachableError(
                doing="asking", found="refused", expected="an answer", next_step="wait"
            )


class SimulatedLock:
    """The port Lock: whoever holds it is in the world."""

    def __init__(self, world: World, run: Run = RUN) -> None:
        self.world = world
        self.run = run

    def acquire(self, *, preempt: bool = False) -> None:
        if self.world.lock_holder not in (None, self.run.id) and not preempt:
            self._refuse()
        self.world.lock_holder = self.run.id

    def check(self) -> None:
        if self.world.lock_holder != self.run.id:
            self._refuse()

    def release(self) -> None:
        if self.world.lock_holder == self.run.id:
            self.world.lock_holder = None

    def holder(self) -> LockHolder | None:
        if self.world.lock_holder is None:
            return None
        now = datetime.fromtimestamp(self.world.now, UTC)
        return LockHolder(
            run=self.world.lock_holder,
            owner="somebody",
            acquired_at=now,
            expires_at=now + timedelta(seconds=30),
        )

    def _refuse(self) -> None:
        raise LockedError(
            doing="locking",
            found=f"{self.world.lock_holder} holds it",
            expected=self.run.id,
            next_step="wait",
        )


class RecordedProgress:
    """The port Progress: keeps what was said and shown."""

    def __init__(self, world: World) -> None:
        self.world = world

    def say(self, line: str) -> None:
        self.world.said.append(line)

    def evaluated(
        self,
        stage: str,
        weight: int | None,
        elapsed: float,
        planned: float,
        *,
        checks: Iterable[Check],
    ) -> None:
        self.world.seen.append((elapsed, tuple(checks)))


class SimulatedGateway:
    """The port Web: smoke requests by header."""

    def __init__(self, world: World) -> None:
        self.world = world

    def get(self, host: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        self.world.advance(0.01)
        return self.world.smoke_status, ""


class Unattended:
    """``--yes``."""

    attended = False

    def approves(self, question: str) -> bool:
        return True


def context(
    world: World,
    of: Release | None = None,
    place: Environment | None = None,
    run: Run = RUN,
    **ports: Any,
) -> Context:
    """The context of this world; `ports` replace its own, by the names of the context's fields."""
    own: dict[str, Any] = {
        "clock": SimulatedClock(world),
        "routes": SimulatedRoutes(world),
        "workloads": SimulatedWorkloads(world),
        "journal": SimulatedJournal(world),
        "lock": SimulatedLock(world, run),
        "gateway": SimulatedGateway(world),
        "metrics": SimulatedMetrics(world),
        "external": NoExternalAnswers(),
        "person": Unattended(),
        "progress": RecordedProgress(world),
    }
    if "samples" in ports:
        ports["metrics"] = ports.pop("samples")
    return contexts.context(of or release(), place or environment(), run=run, **own | ports)
