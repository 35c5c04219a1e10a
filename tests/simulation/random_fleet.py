"""A release to several targets in waves, made up from a seed: faults, kills, and other runs.

Each target is a cluster of its own (see `faulty_cluster`) on one virtual clock. A run of the fleet
is a process whose threads, one for each target, are processes of the conductor; a kill ends all of
them. python tests/simulation/random_fleet.py SEED plays one and prints its timeline.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

import contexts
from conductor import Conductor, Process
from day_world import lasting, says
from faulty_cluster import FaultyCluster, SimulatedConductedClock
from random_release import CONTRACT_AFTER, End, Story, coarse
from world import NEW, Unattended, World, environment, release, rollout

from tarsrelease.cli.outcomes import failed
from tarsrelease.context import Assignment, Context, People
from tarsrelease.model.bundle import Migration
from tarsrelease.model.database import Database
from tarsrelease.model.environment import Environment, Kubernetes
from tarsrelease.model.environment import Target as Place
from tarsrelease.model.errors import LockedError, ReleaseError
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.operations.migrations.contract import refuse_while_rollback_is_possible
from tarsrelease.operations.migrations.outcome import left_alone
from tarsrelease.operations.migrations.release_phase import Migrator
from tarsrelease.operations.wave_evidence import WaveEvidence
from tarsrelease.rollout import fleet as decisions
from tarsrelease.steps.rollback import rollback
from tarsrelease.steps.run import ReleaseSteps, migrate_release, run_release
from tarsrelease.steps.run_waves import run_waves
from tarsrelease.steps.status import status
from tarsrelease.steps.watch import watch

SERVICES = ("dashboard-api",)
WEIGHTS = (50, 100)
_POLL = 0.5
_LONGEST = 20_000.0
_REMEMBERED = 120.0
_AGAIN = 3
"""How often a person runs the same thing again before rolling back."""


@dataclass
class SharedTime:
    """The clusters' worlds as one, for the conductor."""

    worlds: Sequence[World]

    @property
    def now(self) -> float:
        """The time, which is the same in all of them."""
        return self.worlds[0].now

    @property
    def pause(self) -> Callable[[float], None]:
        """Lets the time pass that an answer takes."""
        return self.worlds[0].pause

    @pause.setter
    def pause(self, pause: Callable[[float], None]) -> None:
        for world in self.worlds:
            world.pause = pause

    def advance(self, seconds: float) -> None:
        """Let time pass in all of them."""
        for world in self.worlds:
            world.advance(seconds)

    def skip(self, seconds: float) -> None:
        """Let time pass in which nothing is scraped."""
        for world in self.worlds:
            world.skip(seconds)


class LazyWorld(World):
    """A world whose time passes when a process reads it, so that hundreds of them cost nothing.

    If no process reads it for longer than `_REMEMBERED`, it has no samples from before that.
    """

    shared: LazyTime | None = None
    passing = False

    def __getattribute__(self, name: str) -> Any:
        get = object.__getattribute__
        own = get(self, "__dict__")
        shared = own.get("shared")
        if shared is not None and own["now"] < shared.at and not own.get("passing"):
            self.passing = True
            behind = shared.at - self.now
            if behind > _REMEMBERED:
                self.skip(behind - _REMEMBERED)
            self.advance(shared.at - self.now)
            self.passing = False
        return get(self, name)


@dataclass
class LazyTime(SharedTime):
    """The time of lazy worlds."""

    at: float = 0.0

    @property
    def now(self) -> float:
        """The time that a world catches up with when a process reads it."""
        return self.at

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.at += seconds

    skip = advance


@dataclass
class Target:
    """One cluster, what happened in it, and how many processes of a kind it has seen."""

    name: str
    environment: Environment
    cluster: FaultyCluster
    story: Story
    bad: bool = False
    """Its canary fails every request."""
    numbers: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """What a run of the fleet did: `what` began or ended at these targets, with these results."""

    at: float
    fleet: str
    what: str
    names: tuple[str, ...]
    codes: tuple[int, ...] = ()


@dataclass
class FleetStory:
    """What happened to the whole release; `began` is by run."""

    seed: int
    environment: Environment
    targets: dict[str, Target]
    events: list[Event] = field(default_factory=list)
    began: dict[str, float] = field(default_factory=dict)
    migrated: list[float] = field(default_factory=list)
    """When the shared database was migrated."""
    undisturbed: bool = True
    codes: list[int | None] = field(default_factory=list)
    """How the processes of the fleet ended, in the order of their ends."""
    released: list[int | None] = field(default_factory=list)
    """Those of `run` alone."""

    def timeline(self) -> str:
        """What happened, one line each."""
        start = min(target.story.started for target in self.targets.values())
        lines = [(e.at, f"{e.fleet}: {e.what} {e.names} {e.codes}") for e in self.events]
        told = [f"{at - start:10.2f} s  {text}" for at, text in sorted(lines)]
        for target in self.targets.values():
            told += [f"--- {target.name}", target.story.timeline()]
        return "\n".join(told)


class InterruptedClock(SimulatedConductedClock):
    """As `InterruptibleClock`, on the virtual clock."""

    def __init__(self, world: World, conductor: Conductor, interrupted: Callable[[], bool]) -> None:
        super().__init__(world, conductor)
        self._interrupted, self._raised = interrupted, False

    def sleep(self, seconds: float) -> None:
        end = self.world.now + seconds
        while not self._raised:
            if self._interrupted():
                self._raised = True
                raise KeyboardInterrupt
            left = end - self.world.now
            if left <= 0:
                return
            self.conductor.sleep(min(1.0, left))
        self.conductor.sleep(max(0.0, seconds))


class SharedDatabase:
    """One database of all targets: `up` takes its lock for some seconds."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.locked = fleet, False

    def migrator(self, context: Context, *, before: bool) -> DatabaseOf:
        """As a target uses it; `before`: it was migrated before the wave."""
        return DatabaseOf(self, context, before)

    def up(self, context: Context) -> int:
        """The statements that were left."""
        if self.locked:
            raise LockedError(
                doing="migrating", found="locked", expected="the lock", next_step="wait"
            )
        self.locked = True
        try:
            context.clock.sleep(3.0)
        finally:
            self.locked = False
        if self.fleet.story.migrated:
            return 0
        self.fleet.story.migrated.append(self.fleet.time.now)
        return 4


@dataclass(frozen=True)
class DatabaseOf:
    """The migrations as one target carries them out."""

    database: SharedDatabase
    context: Context
    before: bool

    def plan(self) -> Outcome:
        return self._outcome("migrate plan")

    def up(self) -> Outcome:
        statements = 0 if self.before else self.database.up(self.context)
        outcome = self._outcome("migrate up")
        details = outcome.details.model_copy(update={"statements": statements})
        return outcome.model_copy(update={"details": details})

    def verify(self) -> Outcome:
        verdict = Verdict.PROCEED if self.database.fleet.story.migrated else Verdict.NO_GO
        world = self.database.fleet.targets[self._name].cluster.world
        return says(world, "migrate verify", verdict)

    def _outcome(self, step: str) -> Outcome:
        if self.before:
            return left_alone(self.context, step, "it was migrated before the wave")
        return says(self.database.fleet.targets[self._name].cluster.world, step, Verdict.PROCEED)

    @property
    def _name(self) -> str:
        return self.context.environment.name.rpartition("/")[2]


class Fleet:
    """The clusters, and the runs of the fleet."""

    def __init__(
        self,
        waves: Sequence[dict[str, Any]],
        seed: int,
        database: bool = False,
        lazy: bool = False,
    ) -> None:
        self.random = Random(seed)
        self.lazy = lazy
        names = [name for wave in waves for name in wave["targets"]]
        kind = LazyWorld if lazy else World
        worlds = {
            name: kind(seed=1000 * seed + n, rate=40.0, scrape_interval=5.0, services=SERVICES)
            for n, name in enumerate(names)
        }
        self.time: Any = SharedTime(list(worlds.values()))
        if lazy:
            self.time = LazyTime(list(worlds.values()), self.time.now)
            for world in worlds.values():
                world.shared = self.time  # type: ignore[attr-defined]
        self.conductor = Conductor(self.time)
        self.release = _release(migrations=database)
        self.environment = _environment(waves, database=database)
        self.database = SharedDatabase(self)
        self.targets: dict[str, Target] = {}
        for place in self.environment.targets:
            world = worlds[place.name]
            cluster = FaultyCluster(world, self.conductor, self.random)
            story = Story(
                seed,
                world.now,
                self.release.rollout,
                cluster.calls,
                cluster.truths,
                cluster.journal,
            )
            story.answered = {service: [] for service in SERVICES}
            own = self.environment.at(place)
            self.targets[place.name] = Target(place.name, own, cluster, story)
        self.story = FleetStory(seed, self.environment, self.targets)
        self.runs = 0
        self.breaking = False
        self.time.advance(20.0)

    def fails(self, name: str) -> None:
        """From its start on, this target's canary fails every request."""
        target = self.targets[name]
        target.bad = True
        target.cluster.world.new_pods = lambda pod: setattr(pod, "error_share", 1.0)

    # Runs of the fleet

    def start(
        self,
        kind: str,
        act: Callable[[Run], Outcome],
        after: float = 0.0,
        kill: tuple[str, int] | None = None,
        on_end: Callable[[Process], None] = lambda process: None,
    ) -> None:
        """Start a run; `kill` ends it at the so-manieth call of one target's cluster."""
        self.runs += 1
        name = f"{kind}-{self.runs}"

        def body(process: Process) -> Outcome:
            self.story.began[name] = self.time.now
            return act(Run(self, process, name, kill))

        def ended(process: Process) -> None:
            self.story.codes.append(process.code)
            if kind == "run":
                self.story.released.append(process.code)
            on_end(process)

        self.conductor.start(Process(name, name, body, then=ended), after)

    def release_all(self, run: Run) -> Outcome:
        """`tarsrelease run`"""
        people = People(Unattended(), contexts.people().progress)
        clock = SimulatedConductedClock(run.world, self.conductor)
        return run_waves(
            Assignment(self.release, self.environment, contexts.RUN, people, clock), run
        )

    def roll_back_all(self, run: Run) -> Outcome:
        """`tarsrelease rollback`"""
        return self.roll_back(run, list(self.targets))

    def roll_back(self, run: Run, names: Sequence[str]) -> Outcome:
        """`tarsrelease rollback --target`"""
        now = datetime.fromtimestamp(self.time.now, UTC)
        found = run.roll_back(names, "it must")
        return decisions.fleet_outcome("simulated", found, now, now)

    def contract(self, run: Run) -> Outcome:
        """What `migrate up --phase contract` does first; then the old columns are gone."""
        for target in self.targets.values():
            refuse_while_rollback_is_possible(run.context(run.process, target, lambda: False, None))
        for target in self.targets.values():
            versions = sorted({pod.version for pod in target.cluster.world.running()})
            target.cluster.note("contract", "hands", "contracted", *versions)
        return says(run.world, "migrate up", Verdict.PROCEED)

    def play(self) -> FleetStory:
        """Go on to the end; then roll everything back in calm weather, unless it is promoted."""
        self.conductor.started = self._begin_breaking
        self.conductor.play(_LONGEST)
        for target in self.targets.values():
            cluster = target.cluster
            cluster.up, cluster.flaky, cluster.lost, cluster.slow = True, 0.0, 0.0, 0.0
        if 0 not in self.story.codes:
            self.start("last-rollback", self.roll_back_all)
            self.conductor.play(3600.0)
        return self.story

    def _begin_breaking(self) -> None:
        if not self.breaking:
            self.breaking = True
            self.conductor.at(0.5, self._break)

    def _break(self) -> None:
        """Canaries that fail; again and again while a process runs."""
        if self.lazy:  # see `fails`
            return
        for target in self.targets.values():
            for pod in target.cluster.world.running(Track.CANARY):
                pod.error_share = 1.0 if target.bad else 0.0
        if any(process.alive for process in self.conductor.processes):
            self.conductor.at(2.0, self._break)
        else:
            self.breaking = False


class Run:
    """One run of the fleet: see `steps.run_waves.Targets`."""

    def __init__(
        self, fleet: Fleet, process: Process, name: str, kill: tuple[str, int] | None
    ) -> None:
        self.fleet, self.process, self.name, self.kill = fleet, process, name, kill
        self.children: list[Process] = []
        waves = fleet.environment.waves
        self.size = (len(fleet.targets), len(waves))
        self.calls: dict[str, int] = {}
        """Calls of a cluster so far, by all threads of this run."""

    @property
    def world(self) -> World:
        """A world with the time."""
        return next(iter(self.fleet.targets.values())).cluster.world

    def status(self, names: Sequence[str]) -> dict[str, Outcome]:
        return self._each("status", names, lambda context, _: status(context))

    def migrate(self, names: Sequence[str]) -> dict[str, Outcome]:
        def act(context: Context, target: Target) -> Outcome:
            migrator = self.fleet.database.migrator(context, before=False)
            return migrate_release(context, self._steps(target, migrator))

        return self._each("migrate", names, act)

    def run(self, names: Sequence[str], parallel: int, began: datetime) -> dict[str, Outcome]:
        def act(context: Context, target: Target) -> Outcome:
            shared = len(self.fleet.environment.sharing(target.name)) > 1
            migrator = self.fleet.database.migrator(context, before=shared)
            return run_release(context, self._steps(target, migrator), began)

        return self._each("run", names, act, parallel)

    def roll_back(self, names: Sequence[str], reason: str) -> dict[str, Outcome]:
        return self._each("rollback", names, lambda context, _: rollback(context, reason))

    def watch(self, names: Sequence[str], window: float) -> dict[str, Outcome]:
        return self._each("watch", names, lambda context, _: watch(context, window))

    def _steps(self, target: Target, migrator: Migrator) -> ReleaseSteps:
        world = target.cluster.world
        return ReleaseSteps(
            verify=lambda: says(world, "verify", Verdict.PROCEED),
            preflight=lambda: says(world, "check preflight", Verdict.PROCEED),
            migrator=migrator,
            validate=lambda: lasting(5.0, says(world, "validate", Verdict.PROCEED)),
            evidence=None,
        )

    def _each(
        self,
        step: str,
        names: Sequence[str],
        act: Callable[[Context, Target], Outcome],
        parallel: int = 64,
    ) -> dict[str, Outcome]:
        """As `cli.fleet.Fleet.each`, with processes of the conductor for its threads."""
        waiting, found = list(names), dict[str, Outcome]()
        running: dict[str, Process] = {}
        together, over = WaveEvidence(*self.size), list[bool]()

        def interrupted(name: str) -> bool:
            return bool(over or together.failed) and name not in together.failed

        self._note(step, names)
        while waiting or running:
            for name, child in list(running.items()):
                if child.over:
                    found[name] = _outcome(step, child, self.world)
                    del running[name]
                    if decisions.stops_others(step, found[name]):
                        over.append(True)
            while waiting and len(running) < parallel:
                name = waiting.pop(0)
                if interrupted(name):
                    now = datetime.fromtimestamp(self.world.now, UTC)
                    found[name] = decisions.not_started(step, name, "another failed", now)
                    continue
                target = self.fleet.targets[name]

                def there(process: Process, target: Target = target) -> Outcome:
                    stops = partial(interrupted, target.name)
                    return act(self.context(process, target, stops, together), target)

                running[name] = self._start(step, target, there)
            if running:
                self.fleet.conductor.sleep(_POLL)
        ended = {name: found[name] for name in names}
        self._note(f"{step} ended", names, [int(each.exit_code) for each in ended.values()])
        return ended

    def _note(self, what: str, names: Sequence[str], codes: Sequence[int] = ()) -> None:
        event = Event(self.world.now, self.name, what, tuple(names), tuple(codes))
        self.fleet.story.events.append(event)

    def _start(
        self,
        step: str,
        target: Target,
        body: Callable[[Process], Outcome],
    ) -> Process:
        last = self.name.startswith("last")
        kind = "last-rollback" if last and step == "rollback" else step
        number = target.numbers[kind] = target.numbers.get(kind, 0) + 1
        kill_at = None
        if self.kill is not None and self.kill[0] == target.name:
            kill_at = self.kill[1] - self.calls.get(target.name, 0)

        def ended(process: Process) -> None:
            self.calls[target.name] = self.calls.get(target.name, 0) + process.calls
            cluster = target.cluster
            versions = {name: spec.version for name, spec in cluster.specs.items()}
            end = End(process, cluster.truth(), versions, {}, None, len(cluster.calls))
            target.story.ends.append(end)
            if process.killed:
                for other in (self.process, *self.children):
                    self.fleet.conductor.kill(other)

        process = Process(
            f"{kind}-{number}",
            self.name,
            body,
            kill_at=kill_at,
            after=self.fleet.random.random() < 0.5,
            then=ended,
        )
        self.children.append(process)
        return self.fleet.conductor.start(process)

    def context(
        self,
        process: Process,
        target: Target,
        interrupted: Callable[[], bool],
        together: WaveEvidence | None,
    ) -> Context:
        """The context of a process at one of the targets."""
        fleet = self.fleet
        found = target.cluster.connect(process, fleet.release, target.environment, Unattended())
        clock = InterruptedClock(target.cluster.world, fleet.conductor, interrupted)
        metrics = found.metrics
        if together is not None:
            metrics = replace(metrics, others=together.at(target.name))
        return replace(found, clock=clock, metrics=metrics)


def _outcome(step: str, process: Process, world: World) -> Outcome:
    if process.outcome is not None:
        return process.outcome
    error = process.error
    now = datetime.fromtimestamp(world.now, UTC)
    if isinstance(error, ReleaseError | KeyboardInterrupt):
        return failed(step, error, started_at=now, release=NEW)
    return failed(step, RuntimeError(repr(error)), started_at=now, release=NEW)


def _release(*, migrations: bool) -> Any:
    checks = [
        {"kind": "proportion", "id": "canary.errors", "sli": "errors", "below": "5%"},
        {"kind": "ready", "id": "canary.ready"},
    ]
    plan = rollout(checks, weights=WEIGHTS, duration="20s", max_extension="20s", services=SERVICES)
    look = plan.promotion.model_copy(update={"look": 10.0})
    found = release(plan.model_copy(update={"promotion": look}))
    if not migrations:
        return found
    file = Migration(file="migrations/add.sql", phase="expand", order=1, sha256="0" * 64)
    manifest = found.manifest.model_copy(update={"migrations": (file,)})
    return found.model_copy(update={"manifest": manifest})


def _environment(waves: Sequence[dict[str, Any]], *, database: bool) -> Environment:
    place = environment("5s", outage="40s", wait="90s")
    limits = place.limits.model_copy(update={"deploy": 60.0, "rollback": 240.0})
    names = [name for wave in waves for name in wave["targets"]]
    shared = Database(dsn_env="TARS_DATABASE_DSN", contract_after=CONTRACT_AFTER)
    return Environment.model_validate(
        {
            "schema": "tarsrelease/environment/v1",
            "name": "simulated",
            "kubernetes": place.kubernetes,
            "gateway": place.gateway,
            "prometheus": place.prometheus,
            "limits": limits,
            "database": shared if database else None,
            "targets": [
                Place(name=name, kubernetes=Kubernetes(context=name, namespace="tars"))
                for name in names
            ],
            "waves": waves,
        }
    )


# A fleet at random


def random_fleet(seed: int) -> FleetStory:
    """Play the release of a seed."""
    draw = Random(seed)
    sizes = draw.choice([(1, 2), (1, 1, 1), (2, 2), (1, 2, 1), (1, 3)])
    names = iter(f"t{n}" for n in range(1, 9))
    waves: list[dict[str, Any]] = [
        {
            "targets": [next(names) for _ in range(size)],
            "bake": draw.choice(["0s", "20s", "90s"]),
            "parallel": draw.choice([1, 2, 8]),
            "on_failure": draw.choice(["wave", "all"]),
        }
        for size in sizes
    ]
    fleet = Fleet(waves, seed, database=draw.random() < 0.5)
    with coarse():
        _plot(fleet, draw)
        return fleet.play()


def large_fleet(seed: int, count: int, *, bad: bool = False, parallel: int = 200) -> FleetStory:
    """A release to many targets in three waves, in which every fiftieth cluster has a fault.

    `bad`: the canary of one target of the last wave fails. The run is continued until it ends.
    """
    draw, names = Random(seed), [f"t{number}" for number in range(count)]
    one, two = max(1, count // 100), max(2, count // 10)
    waves = [
        {"targets": names[:one], "bake": "60s"},
        {"targets": names[one:two], "bake": "60s", "parallel": parallel},
        {"targets": names[two:], "parallel": parallel},
    ]
    fleet = Fleet(waves, seed, lazy=True)
    fleet.story.undisturbed = False

    def again(process: Process) -> None:
        if process.code not in (0, 1, 11):
            fleet.start("run", fleet.release_all, 30.0, on_end=again)

    with coarse():
        for _ in range(1 + count // 50):
            cluster = fleet.targets[draw.choice(names)].cluster
            fault = draw.choice(
                [
                    lambda c=cluster: c.away(60.0),
                    lambda c=cluster: c.unsteady(60.0, 0.1, 0.3, 0.2),
                    lambda c=cluster: c.evict(Track.CANARY),
                ]
            )
            fleet.conductor.at(draw.uniform(0.0, 900.0), fault)
        if bad:
            fleet.fails(draw.choice(names[two:]))
        fleet.start("run", fleet.release_all, on_end=again)
        return fleet.play()


def _plot(fleet: Fleet, draw: Random) -> None:
    targets = list(fleet.targets.values())
    if draw.random() < 0.35:
        draw.choice(targets).bad = True
    for _ in range(draw.choice([0, 0, 1, 2])):
        fleet.story.undisturbed = False
        cluster = draw.choice(targets).cluster
        seconds = draw.choice([5.0, 15.0, 60.0, 150.0])
        fault = draw.choice(
            [
                lambda c=cluster, s=seconds: c.away(s),
                lambda c=cluster, s=seconds: c.unsteady(s, 0.1, 0.3, 0.2),
                lambda c=cluster: c.evict(Track.CANARY),
            ]
        )
        fleet.conductor.at(draw.uniform(0.0, 250.0), fault)
    kill = None
    if draw.random() < 0.3:
        kill = (draw.choice(targets).name, int(2 ** draw.uniform(0.0, 8.5)) + 1)
    tries = 0

    def again(process: Process) -> None:
        """A person runs it again, or gives up and rolls back."""
        nonlocal tries
        if process.code in (0, 1, 11):
            return
        tries += 1
        if tries < _AGAIN and draw.random() < 0.8:
            fleet.start("run", fleet.release_all, draw.choice([1.0, 30.0, 100.0]), on_end=again)
        else:
            fleet.start("rollback", fleet.roll_back_all, 5.0)

    fleet.start("run", fleet.release_all, kill=kill, on_end=again)
    if draw.random() < 0.35:
        fleet.story.undisturbed = False
        fleet.start("run", fleet.release_all, draw.uniform(0.0, 300.0))
    if draw.random() < 0.35:
        fleet.story.undisturbed = False
        fleet.start("rollback", fleet.roll_back_all, draw.uniform(1.0, 300.0))
    if draw.random() < 0.15:
        fleet.start("contract", fleet.contract, draw.choice([60.0, 400.0, 3000.0, 6000.0]))
    if draw.random() < 0.3:
        fleet.story.undisturbed = False
        name = draw.choice(list(fleet.targets))
        fleet.start("rollback", lambda run: fleet.roll_back(run, [name]), draw.uniform(1.0, 200.0))
    if kill is not None or any(target.bad for target in targets):
        fleet.story.undisturbed = False


def main() -> None:
    from fleet_invariants import violations

    story = random_fleet(int(sys.argv[1]))
    sys.stdout.write(story.timeline() + "\n")
    for problem in violations(story):
        sys.stdout.write(f"VIOLATED: {problem}\n")


if __name__ == "__main__":
    main()
