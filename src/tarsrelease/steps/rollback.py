"""Back to the version of before: traffic first, then everything else, and a proof at the end.

(1) Traffic, to the side that is proven good. Needs only the Deployments and the routes: neither
    lock nor journal nor Helm is waited for.
(2) The lock is taken from whoever holds it; a shift that was on its way is undone.
(3) The rest of the plan, as `gates.rollback_plan` orders it.
(4) Proof: measured share and errors, pods, health.

All phases share one budget. Killed at any point it can be run again: what is done already shows
in what is observed, and drops out of the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tarsrelease.model.cluster import Snapshot
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ReleaseError, StoppedError
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check, ErrorDetail, ExitCode, Outcome, Status, Verdict
from tarsrelease.model.release import Release, Run
from tarsrelease.operations import pinning, traffic
from tarsrelease.operations.outcome import Stopwatch, changing, ended
from tarsrelease.operations.proof import prove
from tarsrelease.operations.removal import remove_canary, retire
from tarsrelease.operations.snapshot import look, wait_until_complete
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Charts, Journal, Lock, Routes, Web, Workloads
from tarsrelease.ports.metrics import Metrics
from tarsrelease.ports.people import Progress
from tarsrelease.report.words import show_cause
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.release_journal import Pins
from tarsrelease.rollout.rollback_plan import (
    Action,
    PlannedPhase,
    RollbackPlan,
    plan,
    same_version,
    serving_side,
    stable_names,
)
from tarsrelease.steps.rollback_plan import plan_rollback

__all__ = ["plan_rollback", "rollback"]

STEP = "rollback"
_AGAIN = "run `tarsrelease rollback` again: it goes on from here"
_LEAST = 15.0
"""Seconds that every phase gets, even when the budget is used up: stopping would not be faster."""
_LONGEST_PROOF = 60.0


def rollback(
    release: Release,
    environment: Environment,
    run: Run,
    reason: str,
    *,
    charts: Charts,
    workloads: Workloads,
    routes: Routes,
    metrics: Metrics,
    web: Web,
    journal: Journal,
    lock: Lock,
    clock: Clock,
    progress: Progress,
) -> Outcome:
    """Roll back. Proceed (exit 0) when it is done and proven; exit 12 when it is done but could
    not be proven, or when it stopped on its way. Raises StoppedError on the latter, and
    UnreachableError or UsageError while nothing was changed.
    """
    return _Rollback(
        release, environment, run, reason, charts, workloads, routes, metrics, web, journal, lock,
        clock, progress,
    ).carry_out()  # fmt: skip


class _Rollback:
    """One rollback: the ports it works on, and what its phases hand on to each other."""

    def __init__(
        self,
        release: Release,
        environment: Environment,
        run: Run,
        reason: str,
        charts: Charts,
        workloads: Workloads,
        routes: Routes,
        metrics: Metrics,
        web: Web,
        journal: Journal,
        lock: Lock,
        clock: Clock,
        progress: Progress,
    ) -> None:
        self.release, self.environment, self.run, self.reason = release, environment, run, reason
        self.charts, self.workloads, self.routes = charts, workloads, routes
        self.metrics, self.web = metrics, web
        self.journal, self.lock = journal, lock
        self.clock, self.progress = clock, progress
        self.started_at = clock.now()
        self.watch = Stopwatch(clock)
        self.moved_at = self.started_at
        self.pins: Pins | None = None
        self.why = reason

    def carry_out(self) -> Outcome:
        self._read_journal()
        with self.watch.phase("traffic"):
            side = serving_side(self.release.rollout, self.workloads.deployments(), self.pins)
            self.progress.say(f"rollback: {side.reason}")
            self._move(side.track)
        try:
            with changing(_AGAIN):
                self._take_over(side.track)
                self._note(Phase.INTENT, reason=self.reason)
                seen = self._look()
                made = plan(seen, self.release.rollout, self.pins)
                version = made.version or _stable_version(self.release, seen)
                for phase in made.phases[1:]:
                    if phase.action is not Action.PROVE:
                        with self.watch.phase(_PHASE[phase.action]):
                            self._do(phase, version)
                self._note(Phase.RESULT, reason=self.reason, version=version)
                with self.watch.phase("proof"):
                    checks = self._prove(version)
        finally:
            self._give_up_lock()
        return self._outcome(made, version, checks)

    # (1) Traffic

    def _read_journal(self) -> None:
        try:
            entries = self.journal.entries()
        except ReleaseError as error:
            self.progress.say(f"journal: cannot be read ({error}); going by what is observed")
            return
        self.pins = release_journal.pins(entries, self.release.version)
        self.why = _why(self.reason, entries, self.release.version)

    def _move(self, to: Track) -> None:
        self.moved_at = traffic.take_off(
            self.release,
            self.environment,
            self.run,
            self.reason,
            to=to,
            routes=self.routes,
            journal=self.journal,
            clock=self.clock,
            progress=self.progress,
        )

    # (2) Lock

    def _take_over(self, track: Track) -> None:
        """Take the lock, and undo what its former holder may have written in between."""
        try:
            self.lock.acquire(preempt=True)
        except ReleaseError as error:
            self.progress.say(f"lock: could not be taken ({error}); going on without it")
        services = self.release.rollout.services
        wanted = 0 if track is Track.STABLE else 100
        if any(route.weight != wanted for route in self.routes.read(services)):
            self.progress.say("traffic: another run had moved it; once more")
            self._move(track)
        problem = traffic.wait_until_accepted(
            services, self.routes, self.clock, self.environment.gateway.settle
        )
        if problem is not None:
            self.progress.say(f"traffic: the gateway has not accepted the routes yet: {problem}")

    def _give_up_lock(self) -> None:
        try:
            self.lock.release()
        except ReleaseError as error:
            self.progress.say(f"lock: could not be given up ({error}); it expires by itself")

    # (3) The rest

    def _look(self) -> Snapshot:
        return look(
            self.release,
            charts=self.charts,
            workloads=self.workloads,
            routes=self.routes,
            clock=self.clock,
        )

    def _do(self, phase: PlannedPhase, version: str) -> None:
        match phase.action:
            case Action.TRAFFIC:
                self._move(phase.to or Track.STABLE)
            case Action.RESTORE:
                self._restore(phase, version)
                self.moved_at = self.clock.now()  # the proof counts from where stable is restored
            case Action.STOP_WORKERS:
                self._stop_workers()
            case Action.RETIRE:
                retire(
                    self.release,
                    self.run,
                    self.environment.gateway.settle,
                    routes=self.routes,
                    clock=self.clock,
                    progress=self.progress,
                    stage="rolled-back",
                )
            case Action.REMOVE:
                remove_canary(
                    self.release,
                    self._left(),
                    charts=self.charts,
                    workloads=self.workloads,
                    progress=self.progress,
                )
            case Action.UNPIN:
                self._unpin()
            case Action.PROVE:
                raise AssertionError("the proof comes after the journal's last entry")

    def _restore(self, phase: PlannedPhase, version: str) -> None:
        application = self.release.rollout.application
        self.progress.say(f"stable: {phase.reason}")
        if phase.revision is not None:
            self.charts.rollback(application, phase.revision, deadline=self._left(), wait=False)
        elif self._stable_runs_the_new_version():
            raise StoppedError(
                doing=f"restoring {application} at {version}",
                found="Helm's history has no revision that worked at another version",
                expected="a revision that is deployed or superseded",
                next_step=f"helm history {application} shows what there is; install {version} by "
                "hand, then " + _AGAIN,
            )
        names = stable_names(self.release.rollout)
        least = dict.fromkeys(names, 1) | dict(self.pins.replicas if self.pins else {})
        scaled = {scaler.deployment for scaler in self.workloads.autoscalers()}
        for state in self.workloads.deployments():
            if state.replicas < least.get(state.name, 0) and state.name not in scaled:
                self.workloads.scale(state.name, least[state.name])
        problem = wait_until_complete(
            {name: 1 if name in scaled else number for name, number in least.items()},
            version=version,
            workloads=self.workloads,
            clock=self.clock,
            deadline=self._left(),
            alive=lambda: None,
        )
        if problem is not None:
            raise StoppedError(
                doing=f"restoring {application} at {version}",
                found=problem,
                expected="all of stable's replicas ready at the version of before",
                next_step="the traffic is where it was proven good; look at the pods, then "
                + _AGAIN,
            )

    def _stable_runs_the_new_version(self) -> bool:
        names = stable_names(self.release.rollout)
        return any(
            same_version(state.version, self.release.version)
            for state in self.workloads.deployments()
            if state.name in names
        )

    def _stop_workers(self) -> None:
        canaries = {worker.canary for worker in self.release.rollout.workers}
        for state in self.workloads.deployments():
            if state.name in canaries and state.replicas > 0:
                self.progress.say(f"workers: {state.name} to zero")
                self.workloads.scale(state.name, 0)

    def _unpin(self) -> None:
        for line in pinning.unpin(
            self.pins,
            self.release,
            self.run,
            workloads=self.workloads,
            journal=self.journal,
            clock=self.clock,
        ):
            self.progress.say(f"unpinned {line}")

    def _left(self) -> float:
        """Seconds of the budget that are left, and some in any case."""
        spent = (self.clock.now() - self.started_at).total_seconds()
        return max(_LEAST, self.environment.limits.rollback - spent)

    def _note(self, phase: Phase, **facts: object) -> None:
        try:
            self.journal.append(
                Entry(
                    at=self.clock.now(),
                    run=self.run.id,
                    release=self.release.version,
                    step=STEP,
                    action=release_journal.ROLLBACK,
                    phase=phase,
                    facts=facts,
                )
            )
        except ReleaseError as error:
            self.progress.say(f"journal: could not be written ({error}); going on")

    # (4) Proof

    def _prove(self, version: str) -> tuple[Check, ...]:
        return prove(
            self.release,
            self.environment,
            version,
            self.moved_at,
            min(_LONGEST_PROOF, self._left()),
            metrics=self.metrics,
            workloads=self.workloads,
            web=self.web,
            clock=self.clock,
            progress=self.progress,
        )

    def _outcome(self, made: RollbackPlan, version: str, checks: Sequence[Check]) -> Outcome:
        spent = (self.clock.now() - self.started_at).total_seconds()
        details: dict[str, object] = {
            "phases": self.watch.seconds,
            "plan": made.lines(),
            "reason": self.why,
            "version": version,
            "budget": self.environment.limits.rollback,
            "seconds": round(spent, 3),
            "within_budget": spent <= self.environment.limits.rollback,
            "traffic_moved_at": traffic.timestamp(self.moved_at),
        }
        open_ = [check for check in checks if check.status is not Status.PASS]
        if not open_ and checks:
            return ended(
                STEP,
                self.release,
                self.environment,
                Verdict.PROCEED,
                f"{self.why}; rolled back in {spent:.1f} s; {version} serves all requests",
                started_at=self.started_at,
                clock=self.clock,
                checks=checks,
                details=details,
                next_step="find out what was wrong; a repaired release can be deployed at once",
            )
        first = open_[0]
        return _unproven(
            self.release, self.environment, self.why, version, first, checks, details,
            self.started_at, self.clock.now(),
        )  # fmt: skip


def _why(reason: str, entries: Sequence[Entry], version: str) -> str:
    """What the journal says led to this rollback, and the reason given for it."""
    cause = release_journal.cause(entries, version)
    if cause is not None:
        return reason if cause.reason in reason else f"{show_cause(cause)}; {reason}"
    promotion = release_journal.kept_on_canary_because(entries, version)
    return reason if promotion is None or promotion in reason else f"{promotion}; {reason}"


def _unproven(
    release: Release,
    environment: Environment,
    why: str,
    version: str,
    first: Check,
    checks: Sequence[Check],
    details: dict[str, object],
    started_at: datetime,
    finished_at: datetime,
) -> Outcome:
    """Rolled back, but the proof is lacking: exit 12, with all that was seen."""
    whose = f" of {first.service}" if first.service else ""
    next_step = "tarsrelease rollback repeats the proof; nothing else is left to be done"
    return Outcome(
        step=STEP,
        release=release.version,
        environment=environment.name,
        verdict=None,
        exit_code=ExitCode.STOPPED,
        summary=f"{why}; rolled back to {version}, but not proven: "
        f"{first.id}{whose}: {first.reason}",
        checks=tuple(checks),
        error=ErrorDetail(
            doing=f"proving that {version} serves",
            found=f"{first.id}{whose} is {first.status}: {first.reason}",
            expected=first.expected,
            next=next_step,
        ),
        details=details,
        started_at=started_at,
        finished_at=finished_at,
        next=next_step,
    )


_PHASE = {
    Action.TRAFFIC: "traffic home",
    Action.RESTORE: "restore stable",
    Action.STOP_WORKERS: "stop workers",
    Action.RETIRE: "routes",
    Action.REMOVE: "remove canary",
    Action.UNPIN: "unpin",
}


def _stable_version(release: Release, seen: Snapshot) -> str:
    """The version that stable runs where the histories do not tell; it may not be the new one."""
    for name in stable_names(release.rollout):
        state = seen.deployment(name)
        if state is not None and not same_version(state.version, release.version):
            return state.version
    raise StoppedError(
        doing=f"finding the version to go back to from {release.version}",
        found="Helm's history has no revision that worked at another version, and nothing runs one",
        expected="a revision that is deployed or superseded, of another version",
        next_step="deploy a version that works; the traffic is on the side that is ready",
    )
