"""The whole day in one process: verify, preflight, migrate, deploy, each stage, promote; or back.

The steps are those that the pipeline's jobs run, and the decisions are theirs. Here is only what
lies between them: whom to ask, what follows a verdict, and what is recorded. A day that was cut
off goes on where the cluster says it is. Traffic is lent: where this process ends in a stage, for
whatever reason it can still act on, the canary's traffic goes back to stable, the canary stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from tarsrelease.context import Assignment, People
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import LockedError, ReleaseError
from tarsrelease.model.journal import Cause, Entry, Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import ExitCode, Outcome, Verdict
from tarsrelease.model.release import Release, Run
from tarsrelease.model.rollout import Stage
from tarsrelease.operations import traffic
from tarsrelease.operations.migrations.release_phase import MigratePhase, Migrator
from tarsrelease.operations.outcome import changing
from tarsrelease.operations.release_record import DayRecord, failed_step, stage_row
from tarsrelease.operations.waiting import Answer, ask_watched
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Charts, Journal, Lock, Routes, Web, Workloads
from tarsrelease.ports.evidence import Evidence
from tarsrelease.ports.metrics import ExternalAnswers, Metrics, NoExternalAnswers
from tarsrelease.ports.people import Person, Progress
from tarsrelease.report.words import show_cause
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.rollback_plan import canary_names
from tarsrelease.steps.canary_deploy import deploy
from tarsrelease.steps.canary_gate import gate
from tarsrelease.steps.promote import promote
from tarsrelease.steps.rollback import rollback
from tarsrelease.steps.run_plan import plan_day

__all__ = ["plan_day", "run_day"]

STEP = "run"
_AGAIN = "`tarsrelease run` again goes on from there, `tarsrelease rollback` goes back"


def run_day(
    release: Release,
    environment: Environment,
    run: Run,
    *,
    verify: Callable[[], Outcome],
    preflight: Callable[[], Outcome],
    migrator: Migrator,
    charts: Charts,
    workloads: Workloads,
    routes: Routes,
    metrics: Metrics,
    web: Web,
    journal: Journal,
    lock: Lock,
    clock: Clock,
    progress: Progress,
    person: Person,
    evidence: Evidence | None,
    elsewhere: ExternalAnswers | None = None,
) -> Outcome:
    """Play the day; its outcome has one row a stage in ``details.stages``.

    Proceed: promoted. Rollback: a gate or the person decided so, and it is rolled back and
    proven. Hold: nobody could decide a hold, or the wait was too long; the traffic is off the
    canary, which stays. No-go: verify, preflight, the migrations' plan or the smoke test said no.
    Foreseen errors end the day with their exit code; after a statement was applied or the canary
    deployed that is 12 (75 for another run's lock).
    """
    return _Day(
        release=release,
        environment=environment,
        run=run,
        verify=verify,
        preflight=preflight,
        charts=charts,
        workloads=workloads,
        routes=routes,
        metrics=metrics,
        web=web,
        journal=journal,
        lock=lock,
        clock=clock,
        progress=progress,
        person=person,
        elsewhere=elsewhere or NoExternalAnswers(),
        migration=MigratePhase(
            Assignment(release, environment, run, People(person, progress), clock),
            journal,
            migrator,
        ),
        record=DayRecord(release, environment, clock, evidence),
    ).play()


class _EndedError(Exception):
    """The day is over; carries its outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.summary)
        self.outcome = outcome


@dataclass(frozen=True, kw_only=True)
class _Day:
    """One day: the ports that its steps work on, and the record of what they came to."""

    release: Release
    environment: Environment
    run: Run
    verify: Callable[[], Outcome]
    preflight: Callable[[], Outcome]
    charts: Charts
    workloads: Workloads
    routes: Routes
    metrics: Metrics
    web: Web
    journal: Journal
    lock: Lock
    clock: Clock
    progress: Progress
    person: Person
    elsewhere: ExternalAnswers
    migration: MigratePhase
    record: DayRecord

    def play(self) -> Outcome:
        try:
            self._step("verify", self.verify)
            self._go_on()
        except _EndedError as ended:
            return ended.outcome
        except ReleaseError as error:
            return self.record.close_like(self._failed(STEP, error, self.clock.now()))
        return self.record.close(
            Verdict.PROCEED,
            f"{self.release.version} is promoted and serves everything",
            next_step="watch it: tarsrelease status",
        )

    def _go_on(self) -> None:
        """From where the cluster says that the day is, to the end."""
        entries = self.journal.entries()
        if not self._promotion_begun(entries):
            if not self._deployed(entries):
                if not self._cut_off(entries):
                    self._step("check preflight", self.preflight)
                for name, act in self.migration.steps():
                    self._step(name, act)
                widened = self.migration.applied > 0
                self._step("canary deploy", self._deploy, after_change=widened)
            standing: Stage | None = None
            with changing(_AGAIN), self._traffic_is_lent():
                for stage in self.release.rollout.stages:
                    standing = self._stage(stage, standing)
        self._step("promote", self._promote, after_change=True)

    # One step, and what follows from it

    def _step(
        self, name: str, act: Callable[[], Outcome], *, after_change: bool = False
    ) -> Outcome:
        """Run a step and record its outcome; anything but proceed ends the day here."""
        outcome = self._outcome(name, act, after_change=after_change)
        if outcome.verdict is not Verdict.PROCEED:
            raise _EndedError(self.record.close_like(outcome))
        return outcome

    def _outcome(self, name: str, act: Callable[[], Outcome], *, after_change: bool) -> Outcome:
        """A step's outcome, recorded. A foreseen error is an outcome, too, and ends the day."""
        started_at = self.clock.now()
        try:
            if after_change:
                with changing(_AGAIN):
                    outcome = act()
            else:
                outcome = act()
        except ReleaseError as error:
            outcome = self._failed(name, error, started_at)
            self.record.add(outcome)
            if isinstance(error, LockedError):
                raise _LockLostError(self.record.close_like(outcome)) from error
            raise _EndedError(self.record.close_like(outcome)) from error
        self.record.add(outcome)
        return outcome

    def _failed(self, step: str, error: ReleaseError, started_at: datetime) -> Outcome:
        return failed_step(
            step, error, self.release, self.environment, started_at, self.clock.now()
        )

    # Where the day is

    def _promotion_begun(self, entries: list[Entry]) -> bool:
        version = self.release.version
        begun = release_journal.has(entries, version, release_journal.PROMOTE, Phase.INTENT)
        return begun and not release_journal.rolled_back(entries, version)

    def _deployed(self, entries: list[Entry]) -> bool:
        """Whether this attempt's canary passed its smoke test, and stands as it should."""
        version = self.release.version
        verdicts = [
            entry.facts.get("verdict")
            for entry in release_journal.of_this_attempt(entries, version)
            if entry.action == release_journal.DEPLOY and entry.phase is Phase.RESULT
        ]
        if verdicts[-1:] != [str(Verdict.PROCEED)] or release_journal.rolled_back(entries, version):
            return False
        states = {state.name: state for state in self.workloads.deployments()}
        names = canary_names(self.release.rollout)
        return all(
            name in states and states[name].complete and states[name].version == version
            for name in names
        )

    def _cut_off(self, entries: list[Entry]) -> bool:
        """Whether a deploy was begun and never ended: what is half there is deploy's to see to."""
        version = self.release.version
        phases = [
            entry.phase
            for entry in release_journal.of_this_attempt(entries, version)
            if entry.action == release_journal.DEPLOY
        ]
        begun = phases[-1:] == [Phase.INTENT]
        return begun and not release_journal.rolled_back(entries, version)

    def _passed(self, stage: Stage) -> bool:
        """Whether the stage was passed in this attempt, and is not the one to come back to."""
        return release_journal.passed(self.journal.entries(), self.release.version, stage.weight)

    # A stage

    def _stage(self, stage: Stage, standing: Stage | None) -> Stage | None:
        """Take one stage until it proceeds; the stage whose traffic then stands."""
        last = stage is self.release.rollout.stages[-1]
        if not last and self._passed(stage):
            self.progress.say(f"{stage.name}: passed before")
            return self._at(stage, standing)
        if stage.approval:
            also = "".join(f" {question}" for question in stage.questions.values())
            self._ask(f"Take {self.release.version} to {stage.weight} %?{also}", standing)
            for check in stage.questions:
                self.elsewhere.answered(check, True)
        release = self.release
        while True:
            outcome = self._outcome(
                stage.name, partial(self._gate, release, stage.weight), after_change=True
            )
            self.record.stages.append(stage_row(stage, outcome))
            if outcome.verdict is Verdict.PROCEED:
                return stage
            if outcome.verdict is Verdict.ROLLBACK:
                self._roll_back(outcome.summary, outcome)
            if not self.person.attended:
                self._off(f"{stage.name} holds and nobody is there to decide")
                raise _EndedError(self.record.close_like(outcome, next_step=self._held(stage)))
            self._ask(
                f"{outcome.summary}. Look on for up to {stage.max_extension:g} s more "
                "(no: roll back)?",
                self._at(stage, standing),
            )
            release = self._extended(stage)

    def _at(self, stage: Stage, before: Stage | None) -> Stage | None:
        """The stage whose traffic stands in the routes: this one, the one before, or none."""
        weights = {route.weight for route in self.routes.read(self.release.rollout.services)}
        if weights == {stage.weight}:
            return stage
        return before if before is not None and weights == {before.weight} else None

    def _extended(self, stage: Stage) -> Release:
        """The release with as much extension again for a stage that is looked at once more."""
        written = [
            route.written_at
            for route in self.routes.read(self.release.rollout.services)
            if route.written_at is not None
        ]
        stood = (self.clock.now() - min(written)).total_seconds() if written else 0.0
        longer = stage.model_copy(update={"max_extension": stood + stage.max_extension})
        rollout = self.release.rollout
        stages = tuple(longer if each is stage else each for each in rollout.stages)
        return self.release.model_copy(
            update={"rollout": rollout.model_copy(update={"stages": stages})}
        )

    def _held(self, stage: Stage) -> str:
        return (
            f"the traffic is off the canary; tarsrelease canary gate --stage {stage.weight} looks "
            "again, tarsrelease rollback goes back"
        )

    # Asking

    def _ask(self, question: str, standing: Stage | None) -> None:
        """Return on a yes. A no rolls back, as does a failure meanwhile; no answer ends the day."""
        answer, seen = ask_watched(
            question,
            self.release,
            self.environment,
            standing,
            person=self.person,
            metrics=self.metrics,
            workloads=self.workloads,
            routes=self.routes,
            journal=self.journal,
            lock=self.lock,
            clock=self.clock,
            progress=self.progress,
            elsewhere=self.elsewhere,
        )
        if answer is Answer.YES:
            return
        if answer is Answer.NO and self.person.attended:
            self._roll_back(f"the person at the terminal said no: {question}", None)
        if answer is Answer.FAILED_MEANWHILE and seen is not None:
            cause = Cause.of(seen.checks)
            why = show_cause(cause) if cause is not None else "a check failed"
            self._roll_back(f"while waiting for a person: {why}", None)
        limits = self.environment.limits
        why = {
            Answer.NO: "nobody is there to approve",
            Answer.UNSEEN: f"no metrics for {limits.metrics_outage:g} s while waiting",
        }.get(answer, f"no answer within {limits.wait:g} s")
        self._off(f"{why}: {question}")
        raise _EndedError(
            self.record.close(
                Verdict.HOLD,
                f"{why}: {question}",
                next_step="the canary has no traffic; run `tarsrelease run` at a terminal, or "
                "with --yes, or roll back",
            )
        )

    def _off(self, reason: str) -> None:
        """The canary's traffic back to stable; the canary stays. This is no rollback."""
        with changing(_AGAIN):
            traffic.take_off(
                self.release,
                self.environment,
                self.run,
                reason,
                to=Track.STABLE,
                routes=self.routes,
                journal=self.journal,
                clock=self.clock,
                progress=self.progress,
            )

    @contextmanager
    def _traffic_is_lent(self) -> Iterator[None]:
        """Traffic off the canary when the day ends in a stage with an error or is interrupted.

        Not when another run has taken the lock: that one decides where the traffic is.
        """
        try:
            yield
        except _LockLostError:
            raise
        except _EndedError as ended:
            if ended.outcome.exit_code is ExitCode.STOPPED and not self.record.rolled_back:
                self._off("the day stopped here")
            raise
        except (ReleaseError, KeyboardInterrupt):
            self._off("the day was interrupted")
            raise

    # Going back

    def _roll_back(self, reason: str, decided: Outcome | None) -> None:
        self.record.rolled_back = True
        outcome = self._outcome(
            "rollback",
            lambda: rollback(
                self.release,
                self.environment,
                self.run,
                reason,
                charts=self.charts,
                workloads=self.workloads,
                routes=self.routes,
                metrics=self.metrics,
                web=self.web,
                journal=self.journal,
                lock=self.lock,
                clock=self.clock,
                progress=self.progress,
            ),
            after_change=True,
        )
        checks = (*(decided.checks if decided else ()), *outcome.checks)
        details = {"rollback": outcome.details}
        if outcome.verdict is not Verdict.PROCEED:
            raise _EndedError(self.record.close_like(outcome, checks=checks, details=details))
        raise _EndedError(
            self.record.close(
                Verdict.ROLLBACK,
                outcome.summary,
                checks=checks,
                details=details,
                next_step=outcome.next,
            )
        )

    # The steps with their ports

    def _deploy(self) -> Outcome:
        return deploy(
            self.release,
            self.environment,
            self.run,
            charts=self.charts,
            workloads=self.workloads,
            routes=self.routes,
            web=self.web,
            journal=self.journal,
            lock=self.lock,
            clock=self.clock,
            progress=self.progress,
        )

    def _gate(self, release: Release, weight: int) -> Outcome:
        return gate(
            release,
            self.environment,
            self.run,
            weight,
            metrics=self.metrics,
            workloads=self.workloads,
            routes=self.routes,
            journal=self.journal,
            lock=self.lock,
            clock=self.clock,
            progress=self.progress,
            elsewhere=self.elsewhere,
        )

    def _promote(self) -> Outcome:
        outcome = promote(
            self.release,
            self.environment,
            self.run,
            charts=self.charts,
            workloads=self.workloads,
            routes=self.routes,
            metrics=self.metrics,
            journal=self.journal,
            lock=self.lock,
            clock=self.clock,
            progress=self.progress,
        )
        rows = outcome.details.get("stages")
        if isinstance(rows, list):
            self.record.stages.extend(rows)
        return outcome


class _LockLostError(_EndedError):
    """The day is over because another run has the lock."""
