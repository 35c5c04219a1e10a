"""`canary gate --wait`: keep evaluating a stage while a person decides elsewhere.

The journal and the routes show when another run has continued. The lock stays free for that run.

(1) Read which stage waits, since when, and the routes.
(2) Evaluate until another run has acted, the canary fails, or the wait exceeds its limit.
(3) Only then move all traffic to stable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from tarsrelease.context import Context
from tarsrelease.gates.protection import chances
from tarsrelease.model.cluster import RouteState
from tarsrelease.model.errors import LockedError, ReleaseError, UnreachableError, UsageError
from tarsrelease.model.format import duration
from tarsrelease.model.journal import Cause, Entry, GateFacts, Phase, WaitFacts
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Status, Verdict
from tarsrelease.model.release import Release
from tarsrelease.model.rollout import Stage
from tarsrelease.model.step_details import GateDetails
from tarsrelease.operations import traffic
from tarsrelease.operations.answering import patiently
from tarsrelease.operations.evaluation import StageEvaluation
from tarsrelease.operations.interventions import DEPLOYMENTS, IMAGES, ROUTES
from tarsrelease.operations.journaling import journal_if_possible
from tarsrelease.operations.locking import taking_over
from tarsrelease.operations.observation import Observation
from tarsrelease.operations.outcome import StepReport
from tarsrelease.operations.protecting import protect_while_waiting
from tarsrelease.operations.snapshot import all_routes
from tarsrelease.operations.tasks import result_of
from tarsrelease.operations.waiting import evaluate_while_waiting
from tarsrelease.ports.cluster import holding
from tarsrelease.rollout import release_journal, stage_list, waits
from tarsrelease.rollout.waits import How, Over
from tarsrelease.rollout.weights_since import weights_since

STEP = "gate"
_ASK_AGAIN = 2.0
"""Seconds between two readings of the journal and the routes."""
_BY_HAND = (ROUTES, DEPLOYMENTS, IMAGES)
_LOCKED = 10.0
"""Seconds to wait longer if another run holds the lock when the wait exceeds its limit."""


def wait(context: Context, weight: int | None, limit: float | None) -> Outcome:
    """Evaluate the waiting stage until another run has continued or rolled back: proceed.

    Rollback: the canary is proven bad, and all traffic is on stable. Hold: there was strong
    evidence against the canary (a protection), or the wait was longer than `limit` seconds since
    the stage's verdict (None: `limits.wait`); all traffic is on stable, without a rollback.
    `weight` is the waiting stage; the wait is over if another stage has started since. Raises
    UsageError if no stage waits, UnreachableError if the API server does not answer for
    `limits.deploy` before the first evaluation.
    """
    report = StepReport(context, STEP)
    entries = _read_first(context)
    opened = waits.opened(entries, context.release.version)
    if opened is None:
        raise UsageError(
            doing="evaluating a stage while a person decides",
            found=f"no stage of {context.release.version} has a verdict yet",
            expected="a stage that `tarsrelease canary gate --stage WEIGHT` has evaluated",
            next_step="run `tarsrelease canary gate --stage WEIGHT` first",
        )
    # The release may run with other stages than rollout.yaml; the journal has them.
    played, _ = stage_list.played(context.rollout, entries)
    context = context.with_release(context.release.model_copy(update={"rollout": played}))
    routes = result_of(context.clock, patiently(context, "wait", partial(all_routes, context)))
    waiting = _Wait(context, report, opened, routes, limit or context.environment.limits.wait)
    return (
        waiting.decided_before(entries)
        or waiting.over_before(entries, weight)
        or waiting.evaluate(entries)
    )


def _read_first(context: Context) -> list[Entry]:
    """The journal. Waits as long for the first answer as for any other: traffic depends on it."""
    longest = context.environment.limits.deploy
    read = patiently(context, "wait", context.cluster.journal.entries, first_answer=longest)
    try:
        return result_of(context.clock, read)
    except UnreachableError as error:
        raise UnreachableError(
            doing=error.detail.doing,
            found=error.detail.found,
            expected=f"an answer within {duration(longest)}",
            next_step="the canary may have traffic that nobody evaluates: run `tarsrelease canary "
            "gate --wait` again when the API server answers, or `tarsrelease rollback`",
        ) from error


@dataclass(slots=True)
class _Wait:
    """One wait: the verdict that opened it, the routes at its beginning, and its longest time.

    `asked_at` is when the journal and the routes were last read.
    """

    context: Context
    report: StepReport
    opened: Entry
    routes: Sequence[RouteState]
    limit: float
    asked_at: datetime | None = None

    # (1) Read-only checks

    def decided_before(self, entries: list[Entry]) -> Outcome | None:
        """The outcome of this run's wait if it was killed after its decision; else None."""
        opened, run = self.opened, self.context.run.id
        gate = GateFacts.of(opened.facts)
        if opened.run == run and gate is not None and gate.waiting:
            verdict = Verdict(gate.verdict or Verdict.ROLLBACK)
            return self._ended(verdict, f"while waiting: {gate.why}")
        given_up = [
            (entry.run, wait.why)
            for entry in entries[entries.index(opened) :]
            if (wait := WaitFacts.of(entry.facts)) and entry.release == self.context.release.version
        ]
        if given_up and given_up[-1][0] == run:
            return self._ended(Verdict.HOLD, given_up[-1][1])
        return None

    def over_before(self, entries: list[Entry], weight: int | None) -> Outcome | None:
        """The outcome if the wait is over before it begins; else None."""
        over = self._over(entries, self.routes) or _over_at_once(
            self.opened, self.routes, self.context.release, weight
        )
        return None if over is None else self._ended_by(over)

    def _over(self, entries: Sequence[Entry], routes: Sequence[RouteState]) -> Over | None:
        version = self.context.release.version
        return waits.over(entries, routes, version, since=self.opened, routes_then=self.routes)

    def _over_now(self) -> Over | None:
        """What has ended the wait; None if nothing has, or the API server does not answer."""
        cluster = self.context.cluster
        try:
            entries = cluster.journal.entries()
            routes = cluster.routes.read(self.context.rollout.services)
        except ReleaseError:
            return None
        return self._over(entries, routes)

    def _over_every_few_seconds(self) -> Over | None:
        now = self.context.clock.now()
        if self.asked_at is not None and (now - self.asked_at).total_seconds() < _ASK_AGAIN:
            return None
        self.asked_at = now
        return self._over_now()

    # (2) Evaluate

    def evaluate(self, entries: Sequence[Entry]) -> Outcome:
        """Evaluate until another run acts, the canary is proven bad, or the limit is reached."""
        context, stage = self.context, self.context.rollout.stage(self.routes[0].weight)
        since = weights_since(self.routes) or self.opened.at
        version = context.release.version
        judged = StageEvaluation(
            stage=stage,
            since=since,
            weight=stage.weight,
            restarts_before=release_journal.restarts_at_shift(entries, version, since),
            each_tick=traffic.lease_keeper(context),
            protects=chances(context.rollout),
        )
        until = self.opened.at + timedelta(seconds=self.limit)
        context.say(
            f"{stage.name}: evaluating while the release waits, until {until:%H:%M:%S} UTC at most"
        )
        while True:
            self.asked_at = None
            seen = evaluate_while_waiting(context, judged, until, self._over_every_few_seconds)
            if not isinstance(seen, Observation):
                return self._ended_by(seen)
            if seen.protection is not None:
                return self._protected(judged, seen)
            if seen.verdict is Verdict.ROLLBACK:
                return self._failed(stage, since, seen)
            given_up = self._give_up(stage, since, seen)
            if given_up is not None:
                return given_up
            until = context.clock.now() + timedelta(seconds=_LOCKED)

    # (3) Traffic to stable

    def _failed(self, stage: Stage, since: datetime, seen: Observation) -> Outcome:
        """Move all traffic to stable at once, even if another run holds the lock. Does nothing
        if another run has acted already."""
        context, over = self.context, self._over_now()
        if over is not None:
            return self._ended_by(over)
        reason = f"while the release waited: {seen.why}"
        with taking_over(context):
            written = traffic.move_all(context, Track.STABLE, reason)
            written = traffic.move_all_again(context, Track.STABLE, reason) or written
            journal_if_possible(
                context,
                stage.name,
                release_journal.GATE,
                Phase.RESULT,
                GateFacts(
                    weight=stage.weight,
                    verdict=Verdict.ROLLBACK,
                    waiting=True,
                    why=seen.why,
                    cause=Cause.of(seen.checks),
                ),
            )
        seconds = (written - seen.decided_at).total_seconds()
        return self._ended(
            Verdict.ROLLBACK,
            f"{stage.name}, while the release waited: {seen.why}",
            GateDetails(
                **seen.details(context.release, stage, since).given(),
                seconds_from_verdict_to_write=seconds,
            ),
            seen,
        )

    def _protected(self, judged: StageEvaluation, seen: Observation) -> Outcome:
        """Move all traffic to stable at once, even if another run holds the lock. Does nothing
        if another run has acted already."""
        context, over = self.context, self._over_now()
        if over is not None:
            return self._ended_by(over)
        with taking_over(context):
            seen = protect_while_waiting(context, judged, seen)
        return self._ended(
            seen.verdict,
            f"{judged.stage.name}, while the release waited: {seen.why}",
            seen.details(context.release, judged.stage, judged.since),
            seen,
        )

    def _give_up(self, stage: Stage, since: datetime, seen: Observation) -> Outcome | None:
        """Move all traffic to stable because nobody decided; None if another run holds the lock."""
        context, blind = self.context, seen.without_metrics
        in_time = seen.decided_at < self.opened.at + timedelta(seconds=self.limit)
        if in_time and any(c.id in _BY_HAND and c.status is Status.ERROR for c in seen.checks):
            why = f"while the release waited: {seen.why}"
        elif blind >= context.environment.limits.metrics_outage and in_time:
            why = f"no metrics for {duration(blind)} while the release waited"
        else:
            why = f"nobody approved or rolled back within {duration(self.limit)}"
        try:
            with holding(context.cluster.lock):
                over = self._over_now()
                if over is not None:
                    return self._ended_by(over)
                traffic.move_all(context, Track.STABLE, f"{why}; this is not a rollback")
                journal_if_possible(
                    context,
                    stage.name,
                    release_journal.WAIT,
                    Phase.RESULT,
                    WaitFacts(weight=stage.weight, verdict=Verdict.HOLD, why=why),
                )
        except LockedError as error:
            context.say(f"{stage.name}: {why}, but {error.detail.found}; waiting longer")
            return None
        details = seen.details(context.release, stage, since)
        return self._ended(Verdict.HOLD, why, details, seen)

    # Outcomes

    def _ended_by(self, over: Over) -> Outcome:
        by = f" by run {over.run}" if over.run else ""
        return self._ended(
            Verdict.PROCEED,
            f"the wait is over: {over.why}{by}",
            GateDetails(over=over.how, by=over.run),
        )

    def _ended(
        self,
        verdict: Verdict,
        why: str,
        details: GateDetails | None = None,
        seen: Observation | None = None,
    ) -> Outcome:
        waited = (self.context.clock.now() - self.opened.at).total_seconds()
        return self.report.outcome(
            verdict,
            f"{why}{_AFTER[verdict]}",
            checks=seen.checks if seen is not None else (),
            details=GateDetails(
                mode="wait",
                waited_seconds=waited,
                limit=self.limit,
                **(details.given() if details else {}),
            ),
            next_step=_NEXT[verdict].format(weight=self.opened.facts.weight),
        )


def _over_at_once(
    opened: Entry, routes: Sequence[RouteState], release: Release, weight: int | None
) -> Over | None:
    """Why there is nothing to evaluate although the journal has no newer entry."""
    if opened.facts.verdict == Verdict.ROLLBACK:
        return Over(How.ROLLED_BACK, opened.run, "the gate decided to roll back")
    if weight is not None and opened.facts.weight != weight:
        return Over(How.WENT_ON, opened.run, f"{opened.step} has started since")
    if all(route.weight == 0 for route in routes):
        return Over(How.MOVED_TO_STABLE, routes[0].run, "the canary has no traffic")
    stages = {stage.name: stage.weight for stage in release.rollout.stages}
    for route in routes:
        known = route.written_at is not None and stages.get(route.stage or "") == route.weight
        if route.release != release.version or not known or route.weight != routes[0].weight:
            return Over(How.WENT_ON, route.run, f"the routes are at {route.stage}")
    return None


_AFTER = {
    Verdict.PROCEED: "",
    Verdict.ROLLBACK: "; all traffic is on stable",
    Verdict.HOLD: "; all traffic is on stable, and the canary is kept (not a rollback)",
}
_NEXT = {
    Verdict.PROCEED: "",
    Verdict.HOLD: "run `tarsrelease canary gate --stage {weight}` to shift traffic to the canary "
    "again, or `tarsrelease rollback` to remove it",
    Verdict.ROLLBACK: "run `tarsrelease rollback` to remove the canary; all traffic is on stable",
}
