"""One release, made up from a seed: what goes wrong, who steps in, and when; and its record.

python tests/simulation/random_release.py SEED plays one and prints its timeline.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from conductor import Call, Conductor, Process
from day_world import SimulatedMigrator, lasting, says
from faulty_cluster import FaultyCluster, Snapshot
from world import NEW, Pod, Unattended, World, deployment, environment, release, rollout

from tarsrelease.context import Context
from tarsrelease.gates import evaluation_times
from tarsrelease.model.database import Database
from tarsrelease.model.journal import Entry
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.rollout import Rollout
from tarsrelease.operations.migrations.contract import refuse_while_rollback_is_possible
from tarsrelease.steps.abort import abort
from tarsrelease.steps.canary_deploy import deploy
from tarsrelease.steps.canary_gate import gate
from tarsrelease.steps.canary_gate_wait import wait
from tarsrelease.steps.guard import guard
from tarsrelease.steps.hold import hold
from tarsrelease.steps.promote import promote
from tarsrelease.steps.resume import resume
from tarsrelease.steps.rollback import rollback
from tarsrelease.steps.run import ReleaseSteps, run_release

SERVICES = ("orchestration-agent", "dashboard-api")
WEIGHTS = (10, 50, 100)
HOT_FIX = "1.0.0-1"
DAY = 86400.0
CONTRACT_AFTER = 3600.0
GUARD_AFTER = 60.0
_TICK = 5.0
_LONGEST = 40 * DAY
_AGAIN = 4
"""How often a person runs the same thing again before rolling back."""


@dataclass(frozen=True)
class Moment:
    """The truth every few seconds."""

    at: float
    weights: tuple[int, ...]
    bad: bool
    """The canary answers with errors only."""
    observed: bool
    """A process evaluates it, and API and metrics servers answer as they should."""
    guarded: bool
    """Only the guard is there, the API server answers, and stable is as it was."""
    stable_ready: bool
    without_pods: tuple[str, ...]
    """Services whose canary has traffic and no ready pod, while stable has one and a process that
    evaluates the canary reaches the API server."""


@dataclass
class End:
    """How a process ended, and what was true then."""

    process: Process
    truth: Snapshot
    versions: dict[str, str]
    charts: dict[str, str]
    stable_bad_since: float | None
    calls: int
    """Calls so far."""


@dataclass
class Story:
    """What happened to one release."""

    seed: int
    started: float
    plan: Rollout
    calls: list[Call]
    truths: dict[int, Snapshot]
    ledger: list[Entry]
    """The journal, also if somebody deleted it."""
    ends: list[End] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    answered: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    """Requests that the canary has answered, by service: (time, number so far)."""
    journal_lost: bool = False
    healthy_stable: bool = True
    healthy: bool = False
    """Neither version ever fails."""

    def timeline(self) -> str:
        """What happened, one line each."""
        ends = {id(end): (end.process.ended_at or 0.0, _ended(end.process)) for end in self.ends}
        lines = [(call.at, _line(call)) for call in self.calls if _told(call)] + list(ends.values())
        return "\n".join(
            f"{at - self.started:10.2f} s  {text}" for at, text in sorted(lines, key=lambda x: x[0])
        )


def _told(call: Call) -> bool:
    return call.name != "annotate" or not call.answered


def _line(call: Call) -> str:
    if call.port == "says":
        return f"{call.process}: {call.name}"
    lost = "" if call.effect else " (not delivered)"
    lost = lost or ("" if call.answered else " (done, answer lost)")
    return f"{call.process}: {call.port}.{call.name} {_short(call)}{lost}"


def _short(call: Call) -> str:
    words = []
    for each in call.what:
        if isinstance(each, Entry):
            words.append(f"{each.action} {each.phase} {each.step} {each.facts.model_dump_json()}")
        elif isinstance(each, list):
            words.append(",".join(getattr(one, "name", str(one))[:40] for one in each))
        elif isinstance(each, dict):
            words.append(str(each.get("stage", "")))
        else:
            words.append(str(each))
    return " ".join(words)[:200]


def _ended(process: Process) -> str:
    if process.outcome is not None:
        return f"{process.name}: exit {process.code}: {process.outcome.summary}"
    if process.killed:
        return f"{process.name}: killed"
    return f"{process.name}: exit {process.code}: {type(process.error).__name__}: {process.error}"


class RandomRelease:
    """A release with its faults and its people, all drawn from the seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.world = World(seed=seed, rate=40.0, scrape_interval=5.0, services=SERVICES)
        self.world.listed_after = (0.0, 0.0, 10.0)[seed % 3]
        self.conductor = Conductor(self.world)
        self.cluster = FaultyCluster(self.world, self.conductor, self.random)
        self.release = release(
            rollout(
                [
                    {"kind": "proportion", "id": "canary.errors", "sli": "errors", "below": "5%"},
                    {"kind": "ready", "id": "canary.ready"},
                ],
                weights=WEIGHTS,
                duration="20s",
                max_extension="20s",
                services=SERVICES,
            )
        )
        plan = self.release.rollout
        look = plan.promotion.model_copy(update={"look": 10.0})
        plan = plan.model_copy(update={"promotion": look})
        self.release = self.release.model_copy(update={"rollout": plan})
        place = environment("5s", outage="40s", wait="90s")
        limits = place.limits.model_copy(update={"deploy": 60.0, "rollback": 240.0})
        database = Database(dsn_env="TARS_DATABASE_DSN", contract_after=CONTRACT_AFTER)
        self.environment = place.model_copy(update={"limits": limits, "database": database})
        self.story = Story(
            seed,
            self.world.now,
            plan,
            self.cluster.calls,
            self.cluster.truths,
            self.cluster.journal,
        )
        self.numbers: dict[str, int] = {}
        self.canary_bad_from: float | None = None
        self.bad_above = 101
        self.stable_bad_since: float | None = None
        self.new_stable_bad = False
        self.observing = False
        self.conductor.started = self._begin_observing

    # The plot

    def play(self) -> Story:
        """Play it to the end."""
        self.world.advance(20.0)
        draw = self.random
        self._canary(draw.random())
        for _ in range(draw.choice([0, 1, 1, 2, 2, 3])):
            self.conductor.at(draw.uniform(0.0, 200.0), self._fault())
        if draw.random() < 0.5:
            for _ in range(draw.choice([1, 1, 2])):
                self._person(draw.uniform(1.0, 220.0))
        if draw.random() < 0.5:
            self._spawn("run", self._run, on_end=self._after_run)
        else:
            self._pipeline()
        if draw.random() < 0.15:
            after = draw.choice([60.0, 300.0, 3 * DAY])
            self._spawn("contract", self._contract, after=after)
        if draw.random() < 0.15:
            self._spawn("other-run", self._run, after=draw.uniform(0.0, 120.0))
        if draw.random() < 0.25:
            self._spawn("guard", self._guard)
        self.conductor.play(_LONGEST)
        self._calm()
        return self.story

    def _canary(self, kind: float) -> None:
        draw, slow = self.random, self.random.uniform(1.0, 15.0)
        if kind < 0.15:
            self.canary_bad_from = 0.0
        elif kind < 0.27:
            self.canary_bad_from = self.world.now + draw.uniform(20.0, 200.0)
        elif kind < 0.35:
            self.bad_above = draw.choice([10, 50])
        elif kind < 0.40:
            back = self.world.now + draw.choice([20.0, 60.0, 1000.0])
            self.cluster.start_seconds = lambda version: (
                2.0 if version != NEW else max(2.0, back - self.world.now)
            )
        elif kind < 0.50:
            self.cluster.start_seconds = lambda version: slow
        elif kind < 0.56:
            self.new_stable_bad = True
        elif kind < 0.62:
            self.stable_bad_since = self.world.now + draw.uniform(20.0, 150.0)
        else:
            self.story.healthy = True

    def _fault(self) -> Callable[[], None]:
        draw, cluster = self.random, self.cluster
        seconds = draw.choice([2.0, 5.0, 15.0, 40.0, 90.0])
        service = draw.choice(SERVICES)
        weight = draw.choice([0, 5, 60, 100])
        state = draw.choice(["down", "refused", "hung"])
        track = draw.choice(list(Track))
        return draw.choice(
            [
                lambda: cluster.away(seconds),
                lambda: cluster.away(min(seconds, 15.0)),
                lambda: cluster.unsteady(seconds, 0.3, 0.3, 0.2),
                lambda: cluster.unsteady(seconds, 0.0, 0.5, 0.3),
                lambda: cluster.unsteady(90.0, 0.06, 0.1, 0.1),
                lambda: cluster.unsteady(200.0, 0.02, 0.05, 0.1),
                lambda: self._metrics(state, seconds),
                lambda: self._lie(seconds),
                lambda: cluster.evict(track),
                lambda: self._edit(service, weight),
                lambda: self._delete_route(service),
                self._delete_lease,
                self._delete_journal,
                self._hot_fix,
            ]
        )

    def _metrics(self, state: str, seconds: float) -> None:
        self.world.metrics_state = state
        self.cluster.note("metrics", "server", state, seconds)

        def back() -> None:
            self.world.metrics_state = "up"

        self.conductor.at(seconds, back)

    def _lie(self, seconds: float) -> None:
        """The samples stand still, or the counters begin again."""
        if self.random.random() < 0.5:
            for pod in self.world.running():
                self.world.reset(pod)
            self.cluster.note("metrics", "server", "counters begin again")
            return
        for pod in self.world.running(Track.CANARY):
            pod.scrapable = False
        self.cluster.note("metrics", "server", "stands still", seconds)

        def back() -> None:
            for pod in self.world.pods:
                pod.scrapable = True

        self.conductor.at(seconds, back)

    def _edit(self, service: str, weight: int) -> None:
        if self.world.annotations[service]:
            self.world.edit(service, weight, "kubectl-edit")
            self.cluster.note("somebody", "hands", "edit", service, weight)

    def _delete_route(self, service: str) -> None:
        if self.world.annotations[service]:
            self.world.deleted.add(service)
            self.cluster.note("somebody", "hands", "delete-route", service)

    def _delete_lease(self) -> None:
        self.cluster.lease, self.cluster.released = None, False
        self.cluster.note("somebody", "hands", "delete-lease")

    def _delete_journal(self) -> None:
        self.story.journal_lost = True
        self.cluster.visible_from = len(self.story.ledger)
        self.cluster.note("somebody", "hands", "delete-journal")

    def _hot_fix(self) -> None:
        """A person upgrades stable, unless Helm is busy."""
        cluster = self.cluster
        history = cluster.histories["tars"]
        if history[-1].status != "deployed" or history[-1].app_version == NEW:
            return
        cluster.note("somebody", "hands", "hot-fix", HOT_FIX)
        last = history[-1]
        cluster.histories["tars"] = [
            *history[:-1],
            last.model_copy(update={"status": "superseded"}),
            last.model_copy(update={"number": last.number + 1, "app_version": HOT_FIX}),
        ]
        for service in SERVICES:
            cluster.change(deployment(service, Track.STABLE), version=HOT_FIX)

    # Processes

    def _spawn(
        self,
        kind: str,
        body: Callable[[Context], Outcome],
        *,
        run: str | None = None,
        after: float = 0.0,
        on_end: Callable[[Process], None] = lambda process: None,
    ) -> None:
        draw = self.random
        number = self.numbers[kind] = self.numbers.get(kind, 0) + 1
        name = f"{kind}-{number}"
        chance = draw.random()
        calls = int(2 ** draw.uniform(0.0, 9.5)) + 1

        def ended(process: Process) -> None:
            self._ended(process)
            on_end(process)

        process = Process(
            name,
            run or name,
            lambda process: body(self._context(process)),
            kill_at=calls if chance < 0.3 and number <= 3 else None,
            interrupt_at=calls if 0.3 <= chance < 0.38 and number <= 3 else None,
            after=draw.random() < 0.5,
            then=ended,
        )
        self.conductor.start(process, after)

    def _context(self, process: Process) -> Context:
        return self.cluster.connect(process, self.release, self.environment, Unattended())

    def _ended(self, process: Process) -> None:
        versions = {name: spec.version for name, spec in self.cluster.specs.items()}
        charts = {
            name: f"{history[-1].app_version} {history[-1].status}"
            for name, history in self.cluster.histories.items()
            if history
        }
        self.story.ends.append(
            End(
                process,
                self.cluster.truth(),
                versions,
                charts,
                self.stable_bad_since,
                len(self.cluster.calls),
            )
        )

    def _run(self, context: Context) -> Outcome:
        steps = ReleaseSteps(
            verify=lambda: says(self.world, "verify", Verdict.PROCEED),
            preflight=lambda: says(self.world, "check preflight", Verdict.PROCEED),
            migrator=SimulatedMigrator(self.world),
            validate=lambda: lasting(5.0, says(self.world, "validate", Verdict.PROCEED)),
            evidence=None,
        )
        return run_release(context, steps)

    def _guard(self, context: Context) -> Outcome:
        until = context.clock.now() + timedelta(seconds=600.0)
        return guard(context, GUARD_AFTER, until)

    def _contract(self, context: Context) -> Outcome:
        """What `migrate up --phase contract` does first; then the old columns are gone."""
        refuse_while_rollback_is_possible(context)
        versions = sorted({pod.version for pod in self.world.running()})
        self.cluster.note("contract", "hands", "contracted", *versions)
        return says(self.world, "migrate up", Verdict.PROCEED)

    def _after_run(self, process: Process) -> None:
        """A person (or a pipeline) runs it again, or gives up and rolls back."""
        if process.code in (0, 1, 11):
            return
        delay = self.random.choice([1.0, 5.0, 30.0, 100.0])
        if process.code == 10:
            delay = self.random.choice([5.0, 60.0, 3 * DAY])
        if self.numbers["run"] < _AGAIN and self.random.random() < 0.8:
            self._spawn("run", self._run, after=delay, on_end=self._after_run)
        else:
            self._rollback(delay)

    def _rollback(self, after: float = 0.0) -> None:
        def again(process: Process) -> None:
            if process.code != 0 and self.numbers["rollback"] < _AGAIN + 2:
                self._rollback(self.random.choice([1.0, 10.0, 60.0]))

        self._spawn(
            "rollback", lambda context: rollback(context, "it must"), after=after, on_end=again
        )

    def _pipeline(self) -> None:
        Pipeline(self).next()

    def _person(self, after: float) -> None:
        by = Lifting(by="alice", reason="to see")
        kind = self.random.choice(["hold", "abort", "rollback", "rollback", "resume"])
        if kind == "rollback":
            self._rollback(after)
            return
        if kind == "hold":
            self._spawn("hold", lambda context: hold(context, by), after=after)
            after += self.random.choice([10.0, 60.0, 300.0])
            kind = "resume"
        act = {"abort": abort, "resume": resume}[kind]
        self._spawn(kind, lambda context: act(context, by), after=after)

    # What is true

    def _begin_observing(self) -> None:
        if not self.observing:
            self.observing = True
            self.conductor.at(0.5, self._observe)

    def _observe(self) -> None:
        world, story = self.world, self.story
        self._let_it_fail()
        for service in SERVICES:
            total = sum(
                p.answered for p in world.pods if p.service == service and p.track is Track.CANARY
            )
            story.answered.setdefault(service, []).append((world.now, total))
        canary = world.running(Track.CANARY)
        evaluates = any(
            process.alive and process.name.split("-")[0] in ("run", "gate", "promote")
            for process in self.conductor.processes
        )
        others = [p for p in self.conductor.processes if p.alive and not p.name.startswith("guard")]
        guarding = any(p.alive and p.name.startswith("guard") for p in self.conductor.processes)
        untouched = all(
            spec.version != NEW
            for spec in self.cluster.specs.values()
            if spec.track is Track.STABLE
        )
        reached = self.cluster.up and not self.cluster.flaky and not self.cluster.slow
        steady = reached and world.metrics_state == "up" and all(p.scrapable for p in canary)
        story.moments.append(
            Moment(
                world.now,
                tuple(world.weights.values()),
                bool(canary) and all(pod.error_share == 1.0 for pod in canary),
                evaluates and steady,
                guarding
                and not others
                and untouched
                and self.cluster.up
                and not self.cluster.flaky,
                all(self.cluster.ready(deployment(s, Track.STABLE)) for s in SERVICES),
                tuple(
                    service
                    for service in SERVICES
                    if evaluates and reached and world.weights[service] > 0
                    if not self.cluster.ready(deployment(service, Track.CANARY))
                    if self.cluster.ready(deployment(service, Track.STABLE))
                ),
            )
        )
        if any(process.alive for process in self.conductor.processes):
            self.conductor.at(2.0, self._observe)
        else:
            self.observing = False

    def _let_it_fail(self) -> None:
        world = self.world
        since = self.canary_bad_from
        above = max(world.weights.values()) > self.bad_above
        for pod in world.running():
            pod.error_share = self._errors(pod, (since is not None and world.now >= since) or above)

    def _errors(self, pod: Pod, canary_fails: bool) -> float:
        if pod.track is Track.CANARY:
            return 1.0 if canary_fails else 0.0
        if pod.version == NEW:
            return 1.0 if self.new_stable_bad else 0.0
        since = self.stable_bad_since
        return 1.0 if since is not None and self.world.now >= since else 0.0

    # The end

    def _calm(self) -> None:
        """Nothing fails any more: what is left over can be rolled back by one command."""
        cluster, world = self.cluster, self.world
        cluster.up, cluster.flaky, cluster.lost, cluster.slow = True, 0.0, 0.0, 0.0
        world.metrics_state = "up"
        cluster.start_seconds = lambda version: 2.0
        for pod in world.pods:
            pod.ready_after, pod.scrapable = min(pod.ready_after, 15.0), True
        self.story.healthy_stable = self.stable_bad_since is None
        world.advance(30.0)
        if self._is_promoted():
            return
        process = Process(
            "last-rollback",
            "last-rollback",
            lambda process: rollback(self._context(process), "the last"),
            then=self._ended,
        )
        self.conductor.start(process)
        self.conductor.play(3600.0)

    def _is_promoted(self) -> bool:
        return any(
            end.process.code == 0 and end.process.name.split("-")[0] in ("run", "promote", "other")
            for end in self.story.ends
        ) and not any(c.name in ("edit", "delete-route") for c in self.story.calls)


class Pipeline:
    """The release as jobs: each step is a process, and a person approves in between."""

    def __init__(self, of: RandomRelease) -> None:
        self.of = of
        self.steps = ["deploy", *map(str, WEIGHTS), "promote"]
        self.tries = 0

    def next(self, after: float = 0.0, lifting: Lifting | None = None) -> None:
        """Start the next job."""
        step = self.steps[0]
        kind = step if step in ("deploy", "promote") else "gate"

        def body(context: Context) -> Outcome:
            if step == "deploy":
                return deploy(context)
            if step == "promote":
                return promote(context)
            return gate(context, int(step), lifting)

        self.of._spawn(kind, body, run="pipeline", after=after, on_end=self.ended)

    def ended(self, process: Process) -> None:
        """Go on, wait for a person, or roll back."""
        draw = self.of.random
        if process.code == 0:
            self.steps.pop(0)
            self.tries = 0
            if self.steps:
                self.next(after=draw.choice([1.0, 10.0]))
            return
        if process.code == 1:
            return
        self.tries += 1
        if process.code == 10 and self.tries <= 2 and self.steps[0] != "promote":
            days = draw.choice([20.0, 60.0, 200.0, 2 * DAY])
            step = self.steps[0]
            self.of._spawn(
                "gate-wait",
                lambda context: wait(context, int(step), None),
                run="pipeline",
                after=2.0,
                on_end=self.waited,
            )
            self.next(days, Lifting(by="bob", reason="it is well"))
            return
        if process.code != 11 and self.tries <= 2 and draw.random() < 0.7:
            self.next(after=draw.choice([1.0, 30.0, 60.0]))
            return
        self.of._rollback(draw.choice([2.0, 20.0]))

    def waited(self, process: Process) -> None:
        """The wait ended in a failure: the rollback job follows."""
        if process.code == 11:
            self.of._rollback(2.0)


@contextmanager
def coarse() -> Iterator[None]:
    """Evaluations every few seconds instead of several times a second, to save time."""
    tick, shortest = evaluation_times.TICK, evaluation_times.shortest
    evaluation_times.TICK = _TICK
    evaluation_times.shortest = lambda scrape_interval: scrape_interval / 2
    try:
        yield
    finally:
        evaluation_times.TICK, evaluation_times.shortest = tick, shortest


def play(seed: int) -> Story:
    """Play the release of a seed."""
    with coarse():
        return RandomRelease(seed).play()


def replay(seed: int) -> str:
    """The command that plays it again."""
    return f"python tests/simulation/random_release.py {seed}"


def main() -> None:
    from invariants import violations

    story = play(int(sys.argv[1]))
    sys.stdout.write(story.timeline() + "\n")
    for problem in violations(story):
        sys.stdout.write(f"VIOLATED: {problem}\n")


if __name__ == "__main__":
    main()
