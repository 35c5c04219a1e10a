"""The whole release in one process: verify, preflight, migrate, deploy, stages, validate, promote.

Runs the same steps as the pipeline's jobs; the steps decide. This module asks people, acts on
verdicts and records outcomes. An interrupted release continues from the cluster's state. Traffic
is leased: if this process ends during a stage, traffic moves back to stable and the canary stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import NoReturn, TypeVar

from tarsrelease.context import Context
from tarsrelease.model.details import Details
from tarsrelease.model.errors import LockedError, ReleaseError
from tarsrelease.model.format import duration
from tarsrelease.model.journal import Entry
from tarsrelease.model.measurement import Track
from tarsrelease.model.notice import Event
from tarsrelease.model.outcome import Check, ExitCode, Outcome, Status, Verdict
from tarsrelease.model.overrides import describe_overrides
from tarsrelease.model.rollout import Stage
from tarsrelease.model.step_details import RollbackDetails, RunDetails
from tarsrelease.operations import traffic
from tarsrelease.operations.announcing import announce, announce_start
from tarsrelease.operations.canary_render import canary_values, check_render
from tarsrelease.operations.locking import keeping_lock, refuse_ended_since
from tarsrelease.operations.migrations.release_phase import MigratePhase, Migrator, why_not
from tarsrelease.operations.observation import Observation
from tarsrelease.operations.outcome import StepReport, changing
from tarsrelease.operations.release_record import ReleaseRecord, failed_step, stage_row
from tarsrelease.operations.snapshot import take_snapshot
from tarsrelease.operations.tasks import in_thread
from tarsrelease.operations.waiting import while_evaluating
from tarsrelease.ports.clock import Task
from tarsrelease.ports.evidence import Evidence
from tarsrelease.rollout import planned_changes, release_journal
from tarsrelease.rollout.position import position
from tarsrelease.rollout.rollback_plan import canary_names
from tarsrelease.rollout.weights_since import weights_since
from tarsrelease.steps.canary_deploy import deploy, refuse
from tarsrelease.steps.canary_gate import gate
from tarsrelease.steps.promote import promote
from tarsrelease.steps.rollback import rollback

T = TypeVar("T")

STEP = "run"
_AT_A_TERMINAL = "run `tarsrelease run` at a terminal or with --yes"
_AGAIN = "run `tarsrelease run` again to continue from there, or `tarsrelease rollback`"


# Planning


def plan_release(context: Context, migrator: Migrator) -> Outcome:
    """Show every change that is left, one line each, without changing anything.

    No-go if the migrations' plan refuses. For a release that has not started, raises what
    `deploy` and the migrations would raise.
    """
    report, release, environment = (
        StepReport(context, "run --plan"),
        context.release,
        context.environment,
    )
    seen, entries = take_snapshot(context), context.cluster.journal.entries()
    here = position(context.rollout, seen, entries, None)
    lines: list[str] = []
    checks: tuple[Check, ...] = ()
    verdict = Verdict.PROCEED
    if here.at != "promoting":
        if here.weight == 0:
            refuse(release, seen)
            check_render(context)
            lines, checks, verdict = _plan_migrations(context, migrator)
            made = context.cluster.charts.render(
                context.rollout.canary_release,
                release.chart,
                canary_values(release, environment),
                values_from=context.rollout.application,
            )
            autoscalers = context.cluster.workloads.autoscalers()
            lines += planned_changes.pinning(release, seen, autoscalers)
            lines += planned_changes.deploying(release, environment, made)
        lines += planned_changes.stages(release, seen, entries if here.weight else ())
    lines += planned_changes.promoting(release, environment)
    proceeds = verdict is Verdict.PROCEED
    return report.outcome(
        verdict,
        f"{here.says}; {len(lines)} changes planned, nothing was changed"
        if proceeds
        else "the migrations cannot be applied; nothing was changed",
        checks=checks,
        details=Details(plan=tuple(lines), overrides=describe_overrides(environment.overrides)),
        next_step="tarsrelease run" if proceeds else "tarsrelease migrate plan",
    )


def _plan_migrations(
    context: Context, migrator: Migrator
) -> tuple[list[str], tuple[Check, ...], Verdict]:
    """The statements with their locks, the plan's results, and no-go if the plan refuses."""
    reason = why_not(context.release, context.environment)
    if reason is not None:
        return [f"migrate: nothing; {reason}"], (), Verdict.PROCEED
    planned = migrator.plan()
    lines = [f"migrate: {line}" for line in planned.details.plan]
    verdict = Verdict.PROCEED if planned.verdict is Verdict.PROCEED else Verdict.NO_GO
    return lines or ["migrate: nothing left to apply"], planned.checks, verdict


# Running


@dataclass(frozen=True, slots=True)
class ReleaseSteps:
    """The steps of a release that its caller sets up, and where all outcomes are recorded.

    `validate` is a task, because the canary is evaluated while the release's own tests run.
    """

    verify: Callable[[], Outcome]
    preflight: Callable[[], Outcome]
    migrator: Migrator
    validate: Callable[[], Task[Outcome]]
    evidence: Evidence | None


def run_release(context: Context, steps: ReleaseSteps, began: datetime | None = None) -> Outcome:
    """Run the release; its outcome has one row per stage in ``details.stages``.

    `began`: when the release to all targets began, if this is one of several. If another run has
    ended the release here since then, it is not started again (LockedError).

    Proceed: promoted. Rollback: a gate, a failed test of `validate` or the person decided so;
    rolled back and proven. Hold: nobody decided within the limit, or the tests could not run; all
    traffic is on stable, the canary stays. No-go: verify, preflight, the migrations' plan or the
    smoke test failed. A ReleaseError ends the release with its exit code; after the first migration
    or the canary's deployment with 12 (75 if another run holds the lock).
    """
    return _release_run(context, steps, began).run()


def migrate_release(context: Context, steps: ReleaseSteps) -> Outcome:
    """What `run_release` does up to the migrations, for a database that other targets share.

    Proceed: it is migrated. Otherwise as `run_release`.
    """
    return _release_run(context, steps).migrate()


def _release_run(
    context: Context, steps: ReleaseSteps, began: datetime | None = None
) -> _ReleaseRun:
    migration = MigratePhase(context, context.cluster.journal, steps.migrator)
    return _ReleaseRun(context, steps, migration, ReleaseRecord(context, steps.evidence), began)


class _EndedError(Exception):
    """The release is over; carries its outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.summary)
        self.outcome = outcome


class _LockLostError(_EndedError):
    """The release is over because another run has the lock."""


@dataclass(frozen=True, slots=True)
class _ReleaseRun:
    """One run of a release: its steps, and the record of their outcomes."""

    context: Context
    steps: ReleaseSteps
    migration: MigratePhase
    record: ReleaseRecord
    began: datetime | None = None

    def run(self) -> Outcome:
        context = self.context
        try:
            self._step("verify", self.steps.verify)
            if self.began is not None:
                refuse_ended_since(self.context, self.began)
            with self._under_lock() as (locked, entries, deployed):
                locked._go_on(entries, deployed=deployed)
        except _EndedError as ended:
            return ended.outcome
        except ReleaseError as error:
            return self.record.close_like(failed_step(context, STEP, error, context.clock.now()))
        announce(context, Event.COMPLETE, reason=self.record.in_a_line)
        return self.record.close(
            Verdict.PROCEED,
            f"{context.release.version} is promoted and serves all requests",
            next_step="tarsrelease watch",
        )

    def migrate(self) -> Outcome:
        try:
            self._step("verify", self.steps.verify)
            with self._under_lock() as (locked, entries, deployed):
                if not deployed:
                    locked._migrate(entries)
        except _EndedError as ended:
            return ended.outcome
        except ReleaseError as error:
            now = self.context.clock.now()
            return self.record.close_like(failed_step(self.context, STEP, error, now))
        return self.record.close(
            Verdict.PROCEED, "the database is migrated", next_step="tarsrelease run"
        )

    def _migrate(self, entries: list[Entry]) -> None:
        """Preflight, unless the deployment was cut off, and the migrations."""
        if not release_journal.deploy_cut_off(entries, self.context.release.version):
            self._step("check preflight", self.steps.preflight)
        announce_start(self.context)
        for name, act in self.migration.steps():
            self._step(name, act)

    @contextmanager
    def _under_lock(self) -> Iterator[tuple[_ReleaseRun, list[Entry], bool]]:
        """This run with the lock, the journal, and whether the canary is deployed."""
        journal, version = self.context.cluster.journal, self.context.release.version
        before = journal.entries()
        left = release_journal.deployed(before, version)  # a run before may have left traffic
        left = left and not release_journal.promotion_begun(before, version)
        with ExitStack() as lock:
            with self._traffic_is_leased() if left else nullcontext():
                context = lock.enter_context(keeping_lock(self.context))
                entries = journal.entries()
                deployed = self._deployed(entries)
            yield replace(self, context=context), entries, deployed

    def _go_on(self, entries: list[Entry], *, deployed: bool) -> None:
        """Continue from the cluster's state to the end."""
        if not release_journal.promotion_begun(entries, self.context.release.version):
            if not deployed:
                self._migrate(entries)
                widened = self.migration.applied > 0
                self._step("canary deploy", self._deploy, after_change=widened)
            at: Stage | None = None
            with self._traffic_is_leased():
                for stage in self.context.rollout.stages:
                    at = self._stage(stage, at)
                self._validate()
        try:
            outcome = self._outcome("promote", self._promote, after_change=True)
        except _LockLostError:
            raise
        except (_EndedError, KeyboardInterrupt):
            self._leave_unpromoted()
            raise
        if outcome.verdict is Verdict.ROLLBACK:
            self._roll_back(outcome.summary, outcome)
        if outcome.verdict is not Verdict.PROCEED:
            raise _EndedError(self.record.close_like(outcome))

    def _deploy(self) -> Outcome:
        if self.began is not None:
            refuse_ended_since(self.context, self.began)
        return deploy(self.context)

    def _deployed(self, entries: list[Entry]) -> bool:
        """Whether this attempt's canary passed its smoke test and is still complete, or was
        promoted since."""
        context, version = self.context, self.context.release.version
        if release_journal.promotion_begun(entries, version):
            return True
        if not release_journal.deployed(entries, version):
            return False
        states = {state.name: state for state in context.cluster.workloads.deployments()}
        return all(
            name in states and states[name].complete and states[name].version == version
            for name in canary_names(context.rollout)
        )

    # One step

    def _step(
        self, name: str, act: Callable[[], Outcome], *, after_change: bool = False
    ) -> Outcome:
        """Run a step and record its outcome; any verdict but proceed ends the release."""
        outcome = self._outcome(name, act, after_change=after_change)
        if outcome.verdict is not Verdict.PROCEED:
            raise _EndedError(self.record.close_like(outcome))
        return outcome

    def _outcome(self, name: str, act: Callable[[], Outcome], *, after_change: bool) -> Outcome:
        """Run a step and record its outcome; a ReleaseError is recorded and ends the release."""
        started_at: datetime = self.context.clock.now()
        try:
            if after_change:
                with changing(_AGAIN):
                    outcome = act()
            else:
                outcome = act()
        except ReleaseError as error:
            outcome = failed_step(self.context, name, error, started_at)
            self.record.add(outcome)
            if isinstance(error, LockedError):
                raise _LockLostError(self.record.close_like(outcome)) from error
            raise _EndedError(self.record.close_like(outcome)) from error
        self.record.add(outcome)
        return outcome

    def _promote(self) -> Outcome:
        outcome = promote(self.context)
        self.record.stages.extend(outcome.details.stages)
        return outcome

    # A stage

    def _stage(self, stage: Stage, before: Stage | None) -> Stage | None:
        """Run one stage until it proceeds. Returns the stage that the routes are at then.

        `before` is the stage that they are at now. Skips a stage that proceeded in this attempt,
        unless it is the last.
        """
        context, version = self.context, self.context.release.version
        if stage is not context.rollout.stages[-1] and release_journal.passed(
            context.cluster.journal.entries(), version, stage.weight
        ):
            context.say(f"{stage.name}: proceeded before")
            return self._at(stage, before)
        if stage.approval:
            also = "".join(f" {question}" for question in stage.questions.values())
            self._ask(f"Take {version} to {stage.weight} %?{also}", before)
            for check in stage.questions:
                context.metrics.external.answered(check, True)
        while True:
            outcome = self._outcome(
                stage.name, partial(gate, context, stage.weight), after_change=True
            )
            self.record.stages.append(stage_row(stage, outcome))
            if outcome.verdict is Verdict.PROCEED:
                return stage
            if outcome.verdict is Verdict.ROLLBACK:
                self._roll_back(outcome.summary, outcome)
            if not context.people.person.attended:
                self._move_to_stable(f"{stage.name} holds, and nobody is at the terminal to decide")
                raise _EndedError(self.record.close_like(outcome, next_step=_after_hold(stage)))
            self._ask(
                f"{outcome.summary}. Extend it by up to {duration(stage.max_extension)} more "
                "(no: roll back)?",
                self._at(stage, before),
            )
            context = self._extended(stage)

    def _at(self, stage: Stage, before: Stage | None) -> Stage | None:
        """The stage that the routes are at: this one, the one before, or None."""
        routes = self.context.cluster.routes.read(self.context.rollout.services)
        weights = {route.weight for route in routes}
        if weights == {stage.weight}:
            return stage
        return before if before is not None and weights == {before.weight} else None

    def _extended(self, stage: Stage) -> Context:
        """The context with the stage's full extension again, counted from now."""
        context, rollout = self.context, self.context.rollout
        since = weights_since(context.cluster.routes.read(rollout.services))
        so_far = (context.clock.now() - since).total_seconds() if since else 0.0
        longer = stage.model_copy(update={"max_extension": so_far + stage.max_extension})
        stages = tuple(longer if each is stage else each for each in rollout.stages)
        extended = rollout.model_copy(update={"stages": stages})
        return context.with_release(context.release.model_copy(update={"rollout": extended}))

    def _validate(self) -> None:
        """Run the suite against the canary. A failed test rolls back; without an answer, hold."""
        self.context.say("the release's own tests run against the canary")
        last = self.context.rollout.stages[-1]
        measured = last.model_copy(update={"checks": last.measured_checks})
        with changing(_AGAIN):
            outcome = self._evaluated(measured, self.steps.validate(), "the release's own tests")
        self.record.add(outcome)
        if outcome.verdict is Verdict.PROCEED:
            return
        if any(check.status is Status.FAIL for check in outcome.checks):
            self._roll_back(outcome.summary, outcome)
        self._move_to_stable("the release's own tests could not be completed")
        raise self._held(outcome.summary, "run `tarsrelease run` to try again")

    # Waiting

    def _ask(self, question: str, at: Stage | None) -> None:
        """Return on yes. Roll back on no or a failure meanwhile; end the run without an answer.

        `at` is the stage that the routes are at; None if the canary has no traffic.
        """
        person = self.context.people.person
        if at is None or not person.attended:
            yes = person.approves(question)
        else:
            asking = in_thread("question", partial(person.approves, question))
            yes = self._evaluated(at, asking, "a person", question)
        if yes:
            return
        if person.attended:
            self._roll_back(f"the person at the terminal said no: {question}", None)
        why = f"nobody is at the terminal to approve: {question}"
        self._move_to_stable(why)
        raise self._held(why, _AT_A_TERMINAL)

    def _evaluated(self, stage: Stage, pending: Task[T], awaited: str, question: str = "") -> T:
        """The result of `pending`, with the canary evaluated meanwhile; a failure ends the run."""
        limits = self.context.environment.limits
        until = self.context.clock.now() + timedelta(seconds=limits.wait)
        found = while_evaluating(self.context, stage, pending, until)
        if not isinstance(found, Observation):
            return found
        why = f"while waiting for {awaited}: {found.why}"
        if found.verdict is Verdict.ROLLBACK:
            self._roll_back(why, None)
        if found.protection is not None:
            raise self._held(why, "run `tarsrelease run` to try the stage once more")
        missing = (
            f"no answer within {duration(limits.wait)}"
            if found.decided_at >= until
            else f"no metrics while waiting for {duration(limits.metrics_outage)}"
        )
        why = f"{missing}: {question or awaited}"
        self._move_to_stable(why)
        raise self._held(why, _AT_A_TERMINAL)

    def _held(self, why: str, remedy: str) -> _EndedError:
        """The end of a run that holds, with all traffic on stable; the canary is kept."""
        return _EndedError(
            self.record.close(
                Verdict.HOLD,
                why,
                next_step=f"all traffic is on stable; {remedy}, or `tarsrelease rollback`",
            )
        )

    def _move_to_stable(self, reason: str) -> None:
        """Move all traffic to stable and keep the canary; this is not a rollback."""
        with changing(_AGAIN):
            traffic.move_all(self.context, Track.STABLE, reason)

    @contextmanager
    def _traffic_is_leased(self) -> Iterator[None]:
        """Move all traffic to stable if a stage ends with an error or is interrupted.

        Not if another run has taken the lock, because that run moves the traffic.
        """
        with changing(_AGAIN):
            try:
                yield
            except (_LockLostError, LockedError):
                raise
            except _EndedError as ended:
                if ended.outcome.exit_code is ExitCode.STOPPED and not self.record.rolled_back:
                    self._move_to_stable("the release stopped here")
                raise
            except (ReleaseError, KeyboardInterrupt):
                self._move_to_stable("the release was interrupted")
                raise

    def _leave_unpromoted(self) -> None:
        """Move all traffic to stable if the promotion has not begun: nobody evaluates it now."""
        try:
            entries = self.context.cluster.journal.entries()
        except ReleaseError as error:
            self.context.say(f"journal: cannot be read ({error}); the traffic stays")
            return
        if not release_journal.promotion_begun(entries, self.context.release.version):
            self._move_to_stable("the release stopped before its promotion")

    # Rolling back

    def _roll_back(self, reason: str, decided: Outcome | None) -> NoReturn:
        self.record.rolled_back = True
        self.context.metrics.others.fails()
        outcome = self._outcome(
            "rollback", partial(rollback, self.context, reason), after_change=True
        )
        checks = (*(decided.checks if decided else ()), *outcome.checks)
        details = RunDetails(rollback=RollbackDetails.of(outcome.details) or RollbackDetails())
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


def _after_hold(stage: Stage) -> str:
    return (
        f"all traffic is on stable; run `tarsrelease canary gate --stage {stage.weight}` to "
        "evaluate the stage again, or `tarsrelease rollback`"
    )
