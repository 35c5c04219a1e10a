"""Roll back to the previous version: traffic first, then everything else, then a proof.

(1) Move all traffic to the track that is proven good. This reads only Deployments and routes, and
    does not wait for lock, journal or Helm.
(2) Take the lock from the run that holds it; undo a shift that it made meanwhile.
(3) Do the rest of the plan in the order of `rollout.rollback_plan`.
(4) Prove it: traffic share, errors, pods, health.

All phases share one time budget. A killed rollback can be run again: the plan omits what is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime

from tarsrelease.context import Context
from tarsrelease.model.cluster import Snapshot
from tarsrelease.model.errors import LostError, ReleaseError, StoppedError, UnreachableError
from tarsrelease.model.format import duration
from tarsrelease.model.journal import Entry, Phase, RollbackFacts
from tarsrelease.model.measurement import Track
from tarsrelease.model.notice import Event
from tarsrelease.model.outcome import Check, ErrorDetail, ExitCode, Outcome, Status, Verdict
from tarsrelease.model.release import Release
from tarsrelease.model.step_details import RollbackDetails, RollbackPlanDetails
from tarsrelease.model.versions import same_version
from tarsrelease.operations import pinning, traffic
from tarsrelease.operations.announcing import announce
from tarsrelease.operations.journaling import journal_if_possible
from tarsrelease.operations.locking import taking_over
from tarsrelease.operations.outcome import StepReport, changing
from tarsrelease.operations.proof import prove
from tarsrelease.operations.removal import remove_canary, retire
from tarsrelease.operations.scaling import complete_stable
from tarsrelease.operations.snapshot import take_snapshot
from tarsrelease.report.results import show_cause
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.release_journal import Pins
from tarsrelease.rollout.rollback_plan import (
    Action,
    PlannedPhase,
    Side,
    plan,
    serving_side,
    stable_names,
)

STEP = "rollback"
_AGAIN = "run `tarsrelease rollback` again; it continues from here"
_LEAST = 15.0
"""Seconds that every phase gets even if the budget is used up, because stopping is not faster."""
_LONGEST_PROOF = 60.0
"""Seconds for the proof; longer if three scrapes take longer, because it counts between two."""
_PAUSE = 2.0
"""Seconds before the API server is asked again."""


def plan_rollback(context: Context, undoing: Callable[[], Sequence[str]] | None = None) -> Outcome:
    """Show what a rollback would do now, and why, without changing anything.

    `undoing` gives the lines for the database, if it is to be rolled back, too.
    """
    report = StepReport(context, "rollback --plan")
    seen = take_snapshot(context)
    entries, version = context.cluster.journal.entries(), context.release.version
    failed = release_journal.failed_side(entries, version)
    made = plan(seen, context.rollout, release_journal.pins(entries, version), failed)
    lines = made.lines() + [f"database: {line}" for line in (undoing() if undoing else ())]
    return report.outcome(
        Verdict.PROCEED,
        f"{len(made.phases)} phases, back to {made.version or 'the previous version'}",
        details=RollbackPlanDetails(plan=tuple(lines), budget=context.environment.limits.rollback),
        next_step="tarsrelease rollback",
    )


def rollback(context: Context, reason: str) -> Outcome:
    """Roll back. Proceed (exit 0) if it is done and proven, exit 12 if done but not proven.

    Raises StoppedError if it stops after a change, UnreachableError or UsageError before one.
    Retries until the budget is used up if the API server does not answer.
    """
    report = StepReport(context, STEP)
    begun = False
    announce(context, Event.ROLLBACK_STARTED, reason=reason)
    while True:
        try:
            with changing(_AGAIN) if begun else nullcontext():
                outcome = _roll_back(context, reason, report)
        except (UnreachableError, LostError) as error:
            begun = begun or isinstance(error, LostError)
            left = context.environment.limits.rollback - report.elapsed
            if left <= _PAUSE:
                announce(context, Event.ROLLBACK_FAILED, reason=str(error))
                raise
            context.say(f"rollback: {error}; trying again for {duration(left)}")
            context.clock.sleep(_PAUSE)
        except ReleaseError as error:
            announce(context, Event.ROLLBACK_FAILED, reason=str(error))
            raise
        else:
            _announce_proof(context, outcome)
            return outcome


def _announce_proof(context: Context, outcome: Outcome) -> None:
    proven = outcome.verdict is Verdict.PROCEED
    event = Event.RESOLVED if proven else Event.ROLLBACK_FAILED
    announce(context, event, about="rollback" if proven else "", reason=outcome.summary)


def _roll_back(context: Context, reason: str, report: StepReport) -> Outcome:
    release = context.release
    pins, why, failed = _journaled(context, reason)
    rolling = _Rollback(context, report, reason, pins, report.started_at)
    with report.phase("traffic"):
        side = rolling.serving_side(failed)
        context.say(f"rollback: {side.reason}")
        rolling.moved_at = traffic.move_all(context, side.track, reason, rolling.seconds_left)
    with changing(_AGAIN), taking_over(context):
        # A promotion that had the lock until now may have removed the canary meanwhile.
        rolling.secure_traffic(rolling.serving_side(failed).track)
        journal_if_possible(
            context, STEP, release_journal.ROLLBACK, Phase.INTENT, RollbackFacts(reason=reason)
        )
        seen = take_snapshot(context)
        made = plan(seen, context.rollout, rolling.pins, failed)
        version = made.version or _stable_version(release, seen)
        for phase in made.phases[1:]:
            if phase.action is not Action.PROVE:
                with report.phase(_PHASE[phase.action]):
                    rolling.carry_out(phase, version)
        journal_if_possible(
            context,
            STEP,
            release_journal.ROLLBACK,
            Phase.RESULT,
            RollbackFacts(reason=reason, version=version),
        )
        restored = f"{why}; {version} serves again, which is being proven"
        announce(context, Event.ROLLBACK, reason=restored)
        with report.phase("proof"):
            scrapes = 3 * context.environment.prometheus.scrape_interval
            longest = min(max(_LONGEST_PROOF, scrapes), rolling.seconds_left)
            checks = prove(context, version, rolling.moved_at, longest)
    details = RollbackDetails(
        phases=report.seconds,
        plan=tuple(made.lines()),
        reason=why,
        version=version,
        budget=context.environment.limits.rollback,
        seconds=round(report.elapsed, 3),
        within_budget=report.elapsed <= context.environment.limits.rollback,
        traffic_moved_at=traffic.timestamp(rolling.moved_at),
    )
    return _outcome(report, why, version, checks, details)


def _journaled(context: Context, reason: str) -> tuple[Pins | None, str, Track | None]:
    """From the journal: stable's pins, the reason of this rollback, and the side that failed."""
    version = context.release.version
    try:
        entries = context.cluster.journal.entries()
    except ReleaseError as error:
        context.say(f"journal: cannot be read ({error}); using the cluster's state only")
        return None, reason, None
    deployed = release_journal.identity(entries, version)
    if deployed and context.release.identity not in (None, deployed):
        context.say("the bundle is not the one that was deployed; rolling back all the same")
    return (
        release_journal.pins(entries, version),
        _why(reason, entries, version),
        release_journal.failed_side(entries, version),
    )


def _why(reason: str, entries: Sequence[Entry], version: str) -> str:
    """The cause of this rollback in the journal, followed by the given reason."""
    cause = release_journal.cause(entries, version)
    if cause is not None:
        return reason if cause.reason in reason else f"{show_cause(cause)}; {reason}"
    promotion = release_journal.kept_on_canary_because(entries, version)
    return reason if promotion is None or promotion in reason else f"{promotion}; {reason}"


def _stable_version(release: Release, seen: Snapshot) -> str:
    """The version of stable's Deployments. Raises StoppedError if they run only the new one."""
    for name in stable_names(release.rollout):
        state = seen.deployment(name)
        if state is not None and not same_version(state.version, release.version):
            return state.version
    raise StoppedError(
        doing=f"finding the version to roll back to from {release.version}",
        found="neither Helm's history nor a Deployment has another version that worked",
        expected=f"a revision other than {release.version} that is deployed or superseded",
        next_step="deploy a version that works; all traffic is on the track that is ready",
    )


@dataclass(slots=True)
class _Rollback:
    """One rollback; `moved_at` is when all traffic was moved to the proven track."""

    context: Context
    report: StepReport
    reason: str
    pins: Pins | None
    moved_at: datetime

    @property
    def seconds_left(self) -> float:
        """Seconds left of the budget, at least `_LEAST`."""
        return max(_LEAST, self.context.environment.limits.rollback - self.report.elapsed)

    # (1) Traffic

    def serving_side(self, failed: Track | None) -> Side:
        """The side that can serve all requests now."""
        states = self.context.cluster.workloads.deployments()
        return serving_side(self.context.rollout, states, self.pins, failed)

    # (2) Lock

    def secure_traffic(self, to: Track) -> None:
        """Move traffic again if the lock's former holder has moved it meanwhile."""
        moved = traffic.move_all_again(self.context, to, self.reason, self.seconds_left)
        self.moved_at = moved or self.moved_at
        problem = traffic.wait_until_accepted(self.context)
        if problem is not None:
            self.context.say(f"traffic: the gateway has not accepted the routes yet: {problem}")

    # (3) The rest

    def carry_out(self, phase: PlannedPhase, version: str) -> None:
        """Do one phase of the plan."""
        match phase.action:
            case Action.TRAFFIC:
                to = phase.to or Track.STABLE
                self.moved_at = traffic.move_all(self.context, to, self.reason, self.seconds_left)
            case Action.RESTORE:
                self._restore(phase, version)
                # The proof counts requests from now, when stable is restored.
                self.moved_at = self.context.clock.now()
            case Action.STOP_WORKERS:
                self._stop_workers()
            case Action.RETIRE:
                retire(self.context, "rolled-back")
            case Action.REMOVE:
                remove_canary(self.context, self.seconds_left)
            case Action.UNPIN:
                pinning.unpin(self.context, self.pins)
            case Action.PROVE:
                raise AssertionError("the proof comes after the journal's last entry")

    def _restore(self, phase: PlannedPhase, version: str) -> None:
        context, application = self.context, self.context.rollout.application
        context.say(f"stable: {phase.reason}")
        if phase.revision is not None:
            context.cluster.charts.rollback(
                application, phase.revision, deadline=self.seconds_left, wait=False
            )
        elif self._stable_runs_the_new_version():
            raise StoppedError(
                doing=f"restoring {application} at {version}",
                found="Helm's history has no revision of another version that worked",
                expected="a revision that is deployed or superseded",
                next_step=f"see `helm history {application}`, install {version} by hand, then "
                + _AGAIN,
            )
        problem = complete_stable(
            context,
            self.pins,
            version=version,
            deadline=self.seconds_left,
            each_tick=lambda: None,
        )
        if problem is not None:
            raise StoppedError(
                doing=f"restoring {application} at {version}",
                found=problem,
                expected=f"all of stable's replicas ready at {version}",
                next_step="all traffic is on the track that is proven good; check the pods, then "
                + _AGAIN,
            )

    def _stable_runs_the_new_version(self) -> bool:
        names = stable_names(self.context.rollout)
        return any(
            same_version(state.version, self.context.release.version)
            for state in self.context.cluster.workloads.deployments()
            if state.name in names
        )

    def _stop_workers(self) -> None:
        workloads = self.context.cluster.workloads
        canaries = {worker.canary for worker in self.context.rollout.workers}
        for state in workloads.deployments():
            if state.name in canaries and state.replicas > 0:
                self.context.say(f"scaling {state.name} to 0 replicas")
                workloads.scale(state.name, 0)


_PHASE = {
    Action.TRAFFIC: "traffic home",
    Action.RESTORE: "restore stable",
    Action.STOP_WORKERS: "stop workers",
    Action.RETIRE: "routes",
    Action.REMOVE: "remove canary",
    Action.UNPIN: "unpin",
}


# (4) Proof


def _outcome(
    report: StepReport, why: str, version: str, checks: Sequence[Check], details: RollbackDetails
) -> Outcome:
    """Proceed if the rollback is proven; else exit 12."""
    done = report.outcome(
        Verdict.PROCEED,
        f"{why}; rolled back in {duration(report.elapsed)}; {version} serves all requests",
        checks=checks,
        details=details,
        next_step="find the cause; a fixed release can be deployed at once",
    )
    unproven = [check for check in checks if check.status is not Status.PASS]
    if checks and not unproven:
        return done
    first = unproven[0]
    whose = f" of {first.service}" if first.service else ""
    next_step = "run `tarsrelease rollback` to repeat the proof; everything else is done"
    return done.model_copy(
        update={
            "verdict": None,
            "exit_code": ExitCode.STOPPED,
            "summary": f"{why}; rolled back to {version}, but not proven: "
            f"{first.id}{whose}: {first.reason}",
            "error": ErrorDetail(
                doing=f"proving that {version} serves",
                found=f"{first.id}{whose} is {first.status}: {first.reason}",
                expected=first.expected,
                next=next_step,
            ),
            "next": next_step,
        }
    )
