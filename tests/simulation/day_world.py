"""What a whole day needs beside the gates' world: Helm, the gateway's answers, people, evidence."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from world import (
    NEW,
    OLD,
    RUN,
    SERVICES,
    RecordedProgress,
    SimulatedWorkloads,
    Unattended,
    World,
    context,
    deployment,
    environment,
    release,
    rollout,
)

from tarsrelease.context import Context
from tarsrelease.model.bundle import Migration
from tarsrelease.model.cluster import AutoscalerState, Revision
from tarsrelease.model.database import Database
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.evidence import Record
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, exit_code_of
from tarsrelease.model.rollout import Rollout
from tarsrelease.ports.clock import Task
from tarsrelease.ports.people import Person, Progress
from tarsrelease.steps.run import ReleaseSteps, run_release


class SimulatedCharts:
    """Helm: the releases ``tars`` and ``tars-canary`` become pods of the world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.histories: dict[str, list[Revision]] = {"tars": [revision(1, OLD)]}
        self.given: dict[str, list[Mapping[str, Any]]] = {}
        """The values of each release's last upgrade."""

    def history(self, release: str) -> list[Revision]:
        return list(self.histories.get(release, []))

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
        track = Track.CANARY if release == "tars-canary" else Track.STABLE
        return [
            {"kind": "Deployment", "metadata": {"name": deployment(service, track)}}
            for service in SERVICES
        ]

    planned = render

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
        self.given[release] = list(values)
        if release == "tars-canary":
            for service in SERVICES:
                self.world.set_replicas(deployment(service, Track.CANARY), 1)
        else:
            self._stable_becomes(NEW)
        self._append(release, NEW)

    def rollback(self, release: str, revision: int, *, deadline: float, wait: bool = True) -> None:
        self._stable_becomes(OLD)
        self._append(release, OLD)

    def uninstall(self, release: str, *, deadline: float) -> None:
        assert release == "tars-canary"
        self.histories.pop(release, None)
        for service in SERVICES:
            name = deployment(service, Track.CANARY)
            self.world.set_replicas(name, 0)
            self.world.replicas.pop(name)

    def _stable_becomes(self, version: str) -> None:
        for service in SERVICES:
            name = deployment(service, Track.STABLE)
            replicas = self.world.replicas[name]
            self.world.set_replicas(name, 0)
            self.world.set_replicas(name, replicas, version)

    def _append(self, release: str, version: str) -> None:
        history = self.histories.setdefault(release, [])
        if history:
            history[-1] = history[-1].model_copy(update={"status": "superseded"})
        history.append(revision(len(history) + 1, version))


def revision(number: int, version: str) -> Revision:
    """A deployed revision."""
    return Revision(number=number, status="deployed", chart=f"tars-{version}", app_version=version)


class DayWorkloads(SimulatedWorkloads):
    """Workloads without autoscalers, that leave nothing behind."""

    def autoscalers(self) -> list[AutoscalerState]:
        return []

    def keep_at_least(self, autoscaler: str, replicas: int) -> None:
        raise AssertionError("there is none")

    def remove_leftovers(self, helm_release: str) -> list[str]:
        return []


class Healthy:
    """The gateway answers; what it answers is not the simulation's subject."""

    def get(self, host: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        return 200, "healthy"


class Absent(Unattended):
    """Nobody, and no ``--yes``."""

    def approves(self, question: str) -> bool:
        return False


class There:
    """A person at the terminal; answers what is in the list, in order."""

    attended = True

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.questions: list[str] = []

    def approves(self, question: str) -> bool:
        self.questions.append(question)
        return self.answers.pop(0)


class Silent(There):
    """A person who is there and does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def approves(self, question: str) -> bool:
        self.questions.append(question)
        self.over.wait()  # however slowly the simulated time passes
        return True


class SimulatedMigrator:
    """What plan, up and verify come to; `taken` are those that were asked for."""

    def __init__(self, world: World, statements: int = 4) -> None:
        self.world = world
        self.statements = statements
        self.verdicts = dict.fromkeys(("plan", "up", "verify"), Verdict.PROCEED)
        self.error: ReleaseError | None = None
        self.taken: list[str] = []

    def plan(self) -> Outcome:
        return self._outcome("plan", {"plan": ["add_indexes.sql:1: CREATE INDEX i ON t (c)"]})

    def up(self) -> Outcome:
        outcome = self._outcome("up", {"statements": self.statements})
        if self.error is not None:
            raise self.error
        return outcome

    def verify(self) -> Outcome:
        return self._outcome("verify", {})

    def _outcome(self, step: str, details: dict[str, object]) -> Outcome:
        self.taken.append(step)
        now = datetime.fromtimestamp(self.world.now, UTC)
        good = self.verdicts[step] is Verdict.PROCEED
        check = Check(
            id=f"migrate.{step}",
            status=Status.PASS if good else Status.FAIL,
            expected="good",
            reason="as it should be" if good else "not as it should be",
        )
        return Outcome(
            step=f"migrate {step}",
            release=NEW,
            environment="simulated",
            verdict=self.verdicts[step],
            exit_code=exit_code_of(self.verdicts[step]),
            summary="simulated",
            checks=(check,),
            details=details,
            started_at=now,
            finished_at=now,
        )


def says(world: World, step: str, verdict: Verdict) -> Outcome:
    """The outcome of a step that is not the simulation's subject."""
    now = datetime.fromtimestamp(world.now, UTC)
    return Outcome(
        step=step,
        release=NEW,
        environment=None,
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary="simulated",
        started_at=now,
        finished_at=now,
    )


def lasting(seconds: float, outcome: Outcome) -> Task[Outcome]:
    """A step that ends with this outcome after so many seconds."""
    yield seconds
    return outcome


class Kept:
    """The evidence, in memory."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def append(self, outcome: Outcome) -> Record:
        self.outcomes.append(outcome)
        return Record(
            number=len(self.outcomes),
            at=outcome.finished_at,
            run=RUN.id,
            segment="simulated",
            previous=None,
            outcome=outcome,
        )


class DayWorld:
    """A world at the morning of the day: 1.0.0 serves, there is no canary."""

    def __init__(self, seed: int = 0, rate: float = 33.0, plan: Rollout | None = None) -> None:
        self.world = World(seed=seed, rate=rate)
        for service in SERVICES:
            self.world.weights[service] = 0
            self.world.followed[service] = [(self.world.now, 0)]
            self.world.annotations[service] = {}
            self.world.set_replicas(deployment(service, Track.STABLE), 2)
        self.world.advance(120.0)
        self.release = release(plan or rollout(weights=(10, 100), duration="1m"))
        place = environment()
        limits = place.limits.model_copy(update={"wait": 300.0})
        self.environment = place.model_copy(update={"limits": limits})
        self.charts = SimulatedCharts(self.world)
        self.evidence = Kept()
        self.migrator = SimulatedMigrator(self.world)
        self.validation: Callable[[], Task[Outcome]] = lambda: lasting(
            5.0, says(self.world, "validate", Verdict.PROCEED)
        )

    def has_migrations(self) -> None:
        """From now on the release has an expand migration, and the environment a database."""
        manifest = self.release.manifest
        file = Migration(file="migrations/add.sql", phase="expand", order=1, sha256="0" * 64)
        widened = manifest.model_copy(update={"migrations": (file,)})
        self.release = self.release.model_copy(update={"manifest": widened})
        database = Database(dsn_env="TARS_DATABASE_DSN")
        self.environment = self.environment.model_copy(update={"database": database})

    def at_stage(self, name: str, happens: Callable[[], None], after: float = 10.0) -> None:
        """Let something happen some seconds after the traffic was shifted to a stage."""

        def look() -> None:
            if any(notes.get("stage") == name for notes in self.world.annotations.values()):
                self.world.at(after, happens)
            else:
                self.world.at(1.0, look)

        self.world.at(1.0, look)

    def play(
        self,
        person: Person,
        verdict: Verdict = Verdict.PROCEED,
        preflight: Verdict = Verdict.PROCEED,
        progress: Progress | None = None,
    ) -> Outcome:
        """The day; `verdict` is what verify says, `preflight` what that says."""
        world = self.world

        steps = ReleaseSteps(
            verify=lambda: says(world, "verify", verdict),
            preflight=lambda: says(world, "check preflight", preflight),
            migrator=self.migrator,
            validate=self.validation,
            evidence=self.evidence,
        )
        return run_release(self.context(person, progress), steps)

    def context(self, person: Person | None = None, progress: Progress | None = None) -> Context:
        """What a step of this day works with."""
        return context(
            self.world,
            self.release,
            self.environment,
            charts=self.charts,
            workloads=DayWorkloads(self.world),
            gateway=Healthy(),
            person=person or Unattended(),
            progress=progress or RecordedProgress(self.world),
        )

    @property
    def weights(self) -> set[int]:
        """The canary's weights in the routes."""
        return set(self.world.weights.values())

    def serving(self) -> set[tuple[Track, str]]:
        """Sides and versions of the pods that run."""
        return {(pod.track, pod.version) for pod in self.world.running()}
