"""A simulated cluster that keeps a record, and ports that fail: the world of tests at random.

Deployments roll out over time, Helm can be killed in the middle, the lock expires, the API server
and the metrics server go away, and answers are lost or late. Every call of a port is in `calls`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from conductor import Call, Conductor, Process
from contexts import context
from day_world import revision
from world import (
    NEW,
    OLD,
    SimulatedClock,
    SimulatedMetrics,
    SimulatedRoutes,
    SimulatedWorkloads,
    World,
    deployment,
)

from tarsrelease.context import Context
from tarsrelease.model.cluster import AutoscalerState, DeploymentState, Revision, RouteFaults
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import LockedError, LostError, StoppedError, UnreachableError
from tarsrelease.model.journal import Entry, LockHolder
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check
from tarsrelease.model.release import Release, Run
from tarsrelease.model.rollout import Service
from tarsrelease.ports.people import Person

LEASE = 20.0
"""Seconds until a lock that is not renewed may be taken."""
_RENEWAL = 5.0
_CLUSTER = frozenset({"routes", "workloads", "charts", "journal", "lock"})
WRITES = frozenset(
    {
        *("shift", "annotate", "retire", "scale", "keep_at_least", "remove_leftovers"),
        *("upgrade", "rollback", "uninstall", "append"),
    }
)


@dataclass
class Spec:
    """What a Deployment should be, and whether its controller has seen that."""

    service: str
    track: Track
    version: str
    replicas: int
    settled: bool = False


@dataclass
class Lease:
    """The lock's Lease: whose, and when it was renewed last."""

    holder: Process
    owner: str
    acquired: float
    renewed: float


@dataclass(frozen=True)
class Snapshot:
    """The truth at a call that changed something: weights, ready pods, those of them that their
    Service leads to, and the journal's length."""

    weights: dict[str, int]
    ready: dict[str, int]
    reached: dict[str, int]
    entries: int
    holder: str | None


class FaultyCluster:
    """The cluster: what is in it, what is away, and what was done to it."""

    def __init__(self, world: World, conductor: Conductor, random: Random) -> None:
        self.world, self.conductor, self.random = world, conductor, random
        self.specs: dict[str, Spec] = {}
        self.histories: dict[str, list[Revision]] = {"tars": [revision(1, OLD)]}
        self.lease: Lease | None = None
        self.released = False
        """Its last holder released the lock; the Lease is still there, without a holder."""
        self.up = True
        self.down_since = 0.0
        self.flaky = 0.0
        """The share of calls that fail."""
        self.lost = 0.0
        """The share of writes that are done although the caller sees an error."""
        self.slow = 0.0
        """The share of answers that come some seconds late."""
        self.start_seconds: Callable[[str], float] = lambda version: 2.0
        self.journal: list[Entry] = []
        """All entries, also those that somebody deleted."""
        self.visible_from = 0
        self.calls: list[Call] = []
        self.truths: dict[int, Snapshot] = {}
        """By the number of a call that changed something."""
        for service in world.services:
            world.weights[service] = 0
            world.followed[service] = [(world.now, 0)]
            world.annotations[service] = {}
            self.specs[deployment(service, Track.STABLE)] = Spec(service, Track.STABLE, OLD, 2)
        for name in self.specs:
            self.reconcile(name)

    # What happens by itself

    def change(self, name: str, **changes: Any) -> None:
        """Change a Deployment; its controller acts a little later."""
        self.specs[name] = replace(self.specs[name], settled=False, **changes)
        self.conductor.at(0.2, lambda: self.reconcile(name))

    def reconcile(self, name: str) -> None:
        """The controller: new pods first; old ones go when the new ones are ready."""
        world, spec = self.world, self.specs.get(name)
        own = [pod for pod in world.running() if pod.owner == name]
        if spec is None:
            for pod in own:
                pod.gone = world.now
            return
        spec.settled = True
        new = [pod for pod in own if pod.version == spec.version]
        for pod in new[spec.replicas :]:
            pod.gone = world.now
        for _ in range(spec.replicas - len(new)):
            pod = world.start_pod(spec.service, spec.track, spec.version)
            pod.ready_after = self.start_seconds(spec.version)
            new.append(pod)
        if all(world.is_ready(pod) for pod in new):
            for pod in own:
                if pod not in new:
                    pod.gone = world.now
        else:
            self.conductor.at(1.0, lambda: self.reconcile(name))

    def evict(self, track: Track) -> None:
        """A pod is evicted, and replaced."""
        found = self.world.running(track)
        if found:
            pod = self.random.choice(found)
            pod.gone = self.world.now
            self.note("an eviction", "cluster", "evict", pod.name)
            self.conductor.at(0.5, lambda: self.reconcile(pod.owner))

    def away(self, seconds: float) -> None:
        """The API server is away for so long."""
        self.up, self.down_since = False, self.world.now
        self.note("API server", "cluster", "away", seconds)

        def back() -> None:
            if self.lease is not None and self.lease.holder.alive:
                self.lease.renewed = max(self.lease.renewed, self.down_since)
            self.up = True
            self.note("API server", "cluster", "back")

        self.conductor.at(seconds, back)

    def unsteady(self, seconds: float, flaky: float, lost: float, slow: float) -> None:
        """Calls fail, replies are lost and answers are late for so long."""
        self.flaky, self.lost, self.slow = flaky, lost, slow
        self.note("network", "cluster", "unsteady", seconds, flaky, lost, slow)

        def steady() -> None:
            self.flaky = self.lost = self.slow = 0.0

        self.conductor.at(seconds, steady)

    def note(self, process: str, port: str, name: str, *what: Any) -> None:
        """An event of the timeline that no process caused."""
        self.calls.append(Call(self.world.now, process, port, name, what))

    def ready(self, name: str) -> int:
        """Ready pods of a Deployment."""
        return sum(self.world.is_ready(p) for p in self.world.running() if p.owner == name)

    def reached(self, name: str) -> int:
        """Those that their Service leads to."""
        return sum(self.world.is_reached(p) for p in self.world.running() if p.owner == name)

    def truth(self) -> Snapshot:
        """What is true now."""
        names = [deployment(s, track) for s in self.world.services for track in Track]
        return Snapshot(
            dict(self.world.weights),
            {name: self.ready(name) for name in names},
            {name: self.reached(name) for name in names},
            len(self.journal),
            self.lease.holder.name if self.lease is not None else None,
        )

    # The lock

    def renewed(self) -> Lease | None:
        """The Lease as its holder has renewed it; None if it is free or expired."""
        lease = self.lease
        if lease is None:
            return None
        if lease.holder.alive and self.up:
            lease.renewed = max(lease.renewed, self.world.now - self.world.now % _RENEWAL)
        return None if self.world.now > lease.renewed + LEASE else lease

    # Ports

    def connect(
        self,
        process: Process,
        release: Release,
        environment: Environment,
        person: Person,
    ) -> Context:
        """The context of a process."""
        world = self.world

        def port(name: str, of: Any) -> Any:
            return Wire(self, process, name, of)

        routes = SimulatedRoutes(world)
        return context(
            release,
            environment,
            clock=SimulatedConductedClock(world, self.conductor),
            run=Run(id=process.run, owner=process.name),
            routes=_RouteByRoute(port("routes", routes), routes, world),
            workloads=port("workloads", FaultyWorkloads(self)),
            charts=port("charts", FaultyCharts(self, process)),
            journal=port("journal", FaultyJournal(self)),
            lock=_Lock(self, process),
            gateway=port("gateway", _Gateway(self)),
            metrics=port("metrics", SimulatedMetrics(world)),
            person=person,
            progress=_Progress(self, process),
        )

    def call(
        self,
        process: Process,
        port: str,
        name: str,
        act: Callable[[], Any],
        what: tuple[Any, ...],
    ) -> Any:
        """One call: it may come late, fail, lose its answer, or be the process's last."""
        process.calls += 1
        writes = name in WRITES
        self.conductor.sleep(self.random.uniform(0.005, 0.03))
        hit = process.calls == process.kill_at
        if hit and not process.after:
            self.conductor.kill(process)
            self.note(process.name, "process", "killed", f"before {port}.{name}")
            self.conductor.sleep(0.0)
        if process.calls == process.interrupt_at:
            process.interrupted = True
            self.note(process.name, "process", "interrupted", f"before {port}.{name}")
            raise KeyboardInterrupt
        if port in _CLUSTER:
            self._reach(process, port, name, what)
        try:
            result = act()
        except (UnreachableError, StoppedError, LockedError):
            self._record(process, port, name, what, writes, answered=False)
            raise
        answered = not (writes and port in _CLUSTER and self.random.random() < self.lost)
        self._record(process, port, name, what, writes, answered=answered)
        if hit:
            self.conductor.kill(process)
            self.note(process.name, "process", "killed", f"after {port}.{name}")
            self.conductor.sleep(0.0)
        if self.random.random() < self.slow:
            self.conductor.sleep(self.random.uniform(1.0, 4.0))
        if not answered:
            raise self._unanswered(f"{port}.{name}", "the answer was lost")
        return result

    def _reach(self, process: Process, port: str, name: str, what: tuple[Any, ...]) -> None:
        """Raise UnreachableError if the call does not arrive."""
        if self.up and self.random.random() >= self.flaky:
            return
        self.calls.append(Call(self.world.now, process.name, port, name, what, False, False))
        self.conductor.sleep(1.0)
        raise self._unanswered(f"{port}.{name}", "connection refused")

    def _unanswered(self, doing: str, found: str) -> UnreachableError:
        return UnreachableError(
            doing=doing, found=found, expected="an answer", next_step="try again"
        )

    def _record(
        self,
        process: Process,
        port: str,
        name: str,
        what: tuple[Any, ...],
        writes: bool,
        *,
        answered: bool,
    ) -> None:
        if writes:
            self.truths[len(self.calls)] = self.truth()
            self.calls.append(Call(self.world.now, process.name, port, name, what, True, answered))


class Wire:
    """A process's way to a port."""

    def __init__(self, cluster: FaultyCluster, process: Process, name: str, of: Any) -> None:
        self._cluster, self._process, self._name, self._of = cluster, process, name, of

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._of, name)

        def call(*args: Any, **named: Any) -> Any:
            what = (*args, *named.values())
            return self._cluster.call(
                self._process, self._name, name, lambda: found(*args, **named), what
            )

        return call


class _RouteByRoute:
    """The port Routes: every route is read and written by a request of its own."""

    def __init__(self, wire: Any, routes: SimulatedRoutes, world: World) -> None:
        self._wire, self._world = wire, world

    def read(self, services: Sequence[Service]) -> list[Any]:
        return [state for service in services for state in self._wire.read([service])]

    def shift(self, services: Sequence[Service], weight: int, notes: Mapping[str, str]) -> None:
        self._each(services, lambda service: self._wire.shift([service], weight, notes))

    def faults(self, services: Sequence[Service]) -> list[RouteFaults]:
        faults: list[RouteFaults] = self._wire.faults(services)
        return faults

    def annotate(self, services: Sequence[Service], notes: Mapping[str, str]) -> None:
        self._each(services, lambda service: self._wire.annotate([service], notes))

    def retire(self, services: Sequence[Service], notes: Mapping[str, str]) -> None:
        self._each(services, lambda service: self._wire.retire([service], notes))

    def _each(self, services: Sequence[Service], write: Callable[[Service], None]) -> None:
        errors = []
        for service in services:
            try:
                write(service)
            except UnreachableError as error:
                errors.append(error)
        if errors:
            raise errors[0]


class FaultyWorkloads(SimulatedWorkloads):
    """The port Workloads: Deployments whose controller takes its time."""

    def __init__(self, cluster: FaultyCluster) -> None:
        super().__init__(cluster.world)
        self.cluster = cluster

    def deployments(self) -> list[DeploymentState]:
        world, result = self.world, []
        running = world.running()
        for name, spec in self.cluster.specs.items():
            own = [pod for pod in running if pod.owner == name]
            ready = sum(world.is_ready(pod) for pod in own)
            result.append(
                DeploymentState(
                    name=name,
                    replicas=spec.replicas,
                    outdated=sum(pod.version != spec.version for pod in own),
                    ready=ready,
                    updated=sum(pod.version == spec.version for pod in own),
                    available=ready,
                    settled=spec.settled,
                    images=(),
                    version=spec.version,
                )
            )
        return result

    def _deployments(self) -> Iterable[str]:
        return self.cluster.specs

    def scale(self, deployment: str, replicas: int) -> None:
        self.cluster.change(deployment, replicas=replicas)

    def autoscalers(self) -> list[AutoscalerState]:
        return []

    def keep_at_least(self, autoscaler: str, replicas: int) -> None:
        raise AssertionError("there is none")

    def remove_leftovers(self, helm_release: str) -> list[str]:
        if helm_release != "tars-canary":
            return []
        left = [name for name, spec in self.cluster.specs.items() if spec.track is Track.CANARY]
        for name in left:
            del self.cluster.specs[name]
            self.cluster.reconcile(name)
        return left


class FaultyCharts:
    """Helm, which writes one Deployment after another and can be killed between two."""

    def __init__(self, cluster: FaultyCluster, process: Process) -> None:
        self.cluster, self.process = cluster, process

    def history(self, release: str) -> list[Revision]:
        return list(self.cluster.histories.get(release, []))

    def defaults(self, chart: str) -> dict[str, Any]:
        return {}

    def render(
        self,
        release: str,
        chart: str,
        values: Sequence[Mapping[str, Any]],
        *,
        values_from: str | None,
    ) -> list[dict[str, Any]]:
        track = _track(release)
        return [
            {"kind": "Deployment", "metadata": {"name": deployment(service, track)}}
            for service in self.cluster.world.services
        ]

    planned = render

    def crds(self, chart: str) -> list[dict[str, Any]]:
        return []

    def upgrade(
        self,
        release: str,
        chart: str,
        values: Sequence[Mapping[str, Any]],
        *,
        values_from: str | None,
        deadline: float,
        wait: bool = True,
    ) -> None:
        history = self.cluster.histories.get(release, [])
        if history and history[-1].status.startswith("pending"):
            raise StoppedError(
                doing=f"installing {release}",
                found="another operation (install/upgrade/rollback) is in progress",
                expected="Helm to end without an error",
                next_step="see status",
            )
        self._apply(release, NEW, "pending-upgrade" if history else "pending-install")

    def rollback(self, release: str, revision: int, *, deadline: float, wait: bool = True) -> None:
        history = self.cluster.histories[release]
        version = next(each.app_version for each in history if each.number == revision)
        self._apply(release, version, "pending-rollback")

    def uninstall(self, release: str, *, deadline: float) -> None:
        for service in self.cluster.world.services:
            self._step()
            name = deployment(service, _track(release))
            self.cluster.specs.pop(name, None)
            self.cluster.reconcile(name)
        self._step()
        self.cluster.histories.pop(release, None)

    def _apply(self, release: str, version: str, pending: str) -> None:
        cluster, track = self.cluster, _track(release)
        history = cluster.histories.setdefault(release, [])
        number = len(history) + 1
        history.append(revision(number, version).model_copy(update={"status": pending}))
        for service in cluster.world.services:
            self._step()
            name = deployment(service, track)
            if name in cluster.specs:
                cluster.change(name, version=version)
            else:
                cluster.specs[name] = Spec(service, track, version, 1)
                cluster.conductor.at(0.2, lambda name=name: cluster.reconcile(name))  # type: ignore[misc]
        self._step()
        history = cluster.histories.setdefault(release, [])
        cluster.histories[release] = [
            each.model_copy(
                update={
                    "status": "deployed"
                    if each.number == number
                    else "superseded"
                    if each.status == "deployed"
                    else each.status
                }
            )
            for each in history
        ]

    def _step(self) -> None:
        """A request of Helm's own; Helm fails if the API server is away for longer."""
        cluster = self.cluster
        cluster.conductor.sleep(cluster.random.uniform(0.05, 0.5))
        if not cluster.up:
            raise LostError(
                doing="running Helm",
                found="failed to download openapi: connection refused",
                expected="Helm to end without an error",
                next_step="see status",
            )


def _track(release: str) -> Track:
    return Track.CANARY if release == "tars-canary" else Track.STABLE


class FaultyJournal:
    """The port Journal. A write whose answer is lost may be in it twice."""

    def __init__(self, cluster: FaultyCluster) -> None:
        self.cluster = cluster

    def append(self, entry: Entry) -> None:
        self.cluster.journal.append(entry)
        if self.cluster.random.random() < self.cluster.lost / 2:
            self.cluster.journal.append(entry)

    def entries(self) -> list[Entry]:
        return list(self.cluster.journal[self.cluster.visible_from :])


class _Lock:
    """The port Lock as LeaseLock: it belongs to a process, expires, and can be preempted."""

    def __init__(self, cluster: FaultyCluster, process: Process) -> None:
        self._cluster, self._process = cluster, process
        self._known = 0

    def acquire(self, *, preempt: bool = False) -> None:
        seen: float | None = None
        while not self._asked("acquire", lambda: self._try(preempt)):
            lease = self._cluster.lease
            if lease is None:
                continue
            if seen is not None and lease.renewed != seen:
                raise self._locked(lease.holder.name)
            seen = lease.renewed
            self._cluster.conductor.sleep(0.5)

    def check(self) -> None:
        lease = self._asked("check", lambda: self._cluster.lease)
        if lease is not None and lease.holder is not self._process:
            raise self._locked(lease.holder.name)
        if lease is None and self._cluster.released:
            raise self._locked("nobody")
        if lease is None and (other := self._overtaken()):
            raise self._locked(other)
        lease = self._cluster.lease  # the renewal fails if somebody took it meanwhile
        if lease is not None and lease.holder is not self._process:
            raise self._locked(lease.holder.name)
        self._take()

    def release(self) -> None:
        def free() -> None:
            lease = self._cluster.lease
            if lease is not None and lease.holder is self._process:
                self._cluster.lease, self._cluster.released = None, True
                self._cluster.note(self._process.name, "lock", "released")

        try:
            self._asked("release", free)
        except UnreachableError:
            return

    def holder(self) -> LockHolder | None:
        lease = self._asked("holder", self._cluster.renewed)
        if lease is None:
            return None
        return LockHolder(
            run=lease.holder.run,
            owner=lease.owner,
            acquired_at=datetime.fromtimestamp(lease.acquired, UTC),
            expires_at=datetime.fromtimestamp(lease.renewed, UTC) + timedelta(seconds=LEASE),
        )

    def _try(self, preempt: bool) -> bool:
        cluster = self._cluster
        lease = cluster.renewed()
        if lease is None or lease.holder is self._process or preempt:
            self._take(preempt=preempt)
            self._known = len(cluster.journal)
            return True
        return False

    def _overtaken(self) -> str | None:
        """The run that acted since we acquired the lock."""
        since = self._cluster.journal[self._known :]
        return next((entry.run for entry in since if entry.run != self._process.run), None)

    def _take(self, preempt: bool = False) -> None:
        cluster, now = self._cluster, self._cluster.world.now
        cluster.released = False
        ours = cluster.lease is not None and cluster.lease.holder is self._process
        if ours and cluster.lease is not None:
            cluster.lease.renewed = now
        else:
            cluster.note(self._process.name, "lock", "preempted" if preempt else "acquired")
            cluster.lease = Lease(self._process, self._process.name, now, now)

    def _asked(self, name: str, act: Callable[[], Any]) -> Any:
        return self._cluster.call(self._process, "lock", name, act, ())

    def _locked(self, holder: str) -> LockedError:
        return LockedError(
            doing="locking",
            found=f"{holder} holds it",
            expected=self._process.name,
            next_step="wait",
        )


class _Gateway:
    """The gateway answers by the pods that are ready."""

    def __init__(self, cluster: FaultyCluster) -> None:
        self.cluster = cluster

    def get(self, host: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        service = path.strip("/").split("/")[0]
        services = (
            [service] if service in self.cluster.world.services else self.cluster.world.services
        )
        track = Track.CANARY if headers else Track.STABLE
        able = all(self.cluster.ready(deployment(each, track)) for each in services)
        return (200, "healthy") if able else (503, "no available server")


class SimulatedConductedClock(SimulatedClock):
    """The port Clock of one process among several."""

    def __init__(self, world: World, conductor: Conductor) -> None:
        super().__init__(world)
        self.conductor = conductor

    def sleep(self, seconds: float) -> None:
        self.conductor.sleep(seconds)


class _Progress:
    """What a process says goes into the timeline."""

    def __init__(self, cluster: FaultyCluster, process: Process) -> None:
        self.cluster, self.process = cluster, process

    def say(self, line: str) -> None:
        self.cluster.note(self.process.name, "says", line)

    def evaluated(
        self,
        stage: str,
        weight: int | None,
        elapsed: float,
        planned: float,
        *,
        checks: Iterable[Check],
    ) -> None: ...
