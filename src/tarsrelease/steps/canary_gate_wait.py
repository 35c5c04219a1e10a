"""`canary gate --wait`: a stage that has traffic is watched while a person decides elsewhere.

The approval is another job's or another person's: that it has come is read from the journal and
from the routes, and until it shows there somebody looks. The lock stays free for whoever goes on.

(1) Look: which stage waits, since when, and what stands in the routes?
(2) Watch, until somebody has acted, the canary is proven bad, or the wait is too long.
(3) Only then change something: traffic off the canary.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from tarsrelease.model.cluster import RouteState
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import LockedError, ReleaseError, UsageError
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check, Outcome, Verdict
from tarsrelease.model.release import Release, Run
from tarsrelease.model.rollout import Stage
from tarsrelease.operations import traffic
from tarsrelease.operations.decision import Decision
from tarsrelease.operations.evaluation import Observation
from tarsrelease.operations.outcome import ended
from tarsrelease.operations.snapshot import standing_routes
from tarsrelease.operations.waiting import watch_standing
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Journal, Lock, Routes, Workloads, holding
from tarsrelease.ports.metrics import ExternalAnswers, Metrics, NoExternalAnswers
from tarsrelease.ports.people import Progress
from tarsrelease.rollout import release_journal, stage_list, waits
from tarsrelease.rollout.waits import How, Over

_ASK_AGAIN = 2.0
"""Seconds between two looks at the journal and the routes."""
_LOCKED = 10.0
"""Seconds more to watch where another run holds the lock when the wait has become too long."""


def wait(
    release: Release,
    environment: Environment,
    run: Run,
    weight: int | None,
    limit: float | None,
    *,
    metrics: Metrics,
    workloads: Workloads,
    routes: Routes,
    journal: Journal,
    lock: Lock,
    clock: Clock,
    progress: Progress,
    elsewhere: ExternalAnswers | None = None,
) -> Outcome:
    """Watch the traffic that stands until somebody has gone on, or back: proceed, exit 0.

    Rollback (exit 11): the canary is proven bad, and the traffic is off. Hold (exit 10): the wait
    was longer than `limit` seconds since the stage's verdict (None: the environment's
    `limits.wait`), and the traffic is off; that is no rollback. `weight` is the stage that waits;
    where another has been taken since, the wait is over. Raises UsageError where none waits.
    """
    return _Wait(
        release, environment, run, limit or environment.limits.wait,
        metrics, workloads, routes, journal, lock, clock, progress,
        elsewhere or NoExternalAnswers(),
    ).carry_out(weight)  # fmt: skip


class _Wait:
    """One wait: the ports it works on, and what it found when it began."""

    def __init__(
        self,
        release: Release,
        environment: Environment,
        run: Run,
        limit: float,
        metrics: Metrics,
        workloads: Workloads,
        routes: Routes,
        journal: Journal,
        lock: Lock,
        clock: Clock,
        progress: Progress,
        elsewhere: ExternalAnswers,
    ) -> None:
        self.release, self.environment, self.run, self.limit = release, environment, run, limit
        self.metrics, self.workloads, self.routes = metrics, workloads, routes
        self.journal, self.lock = journal, lock
        self.clock, self.progress, self.elsewhere = clock, progress, elsewhere
        self.started_at = clock.now()

    def carry_out(self, weight: int | None) -> Outcome:
        entries = self.journal.entries()
        opened = waits.opened(entries, self.release.version)
        if opened is None:
            raise UsageError(
                doing="watching a stage that waits for a person",
                found=f"no stage of {self.release.version} has come to a verdict",
                expected="a stage that was looked at by `tarsrelease canary gate --stage WEIGHT`",
                next_step="run it; --wait is for the time after it",
            )
        # The day may have stages of its own choosing, which whoever watches need not know.
        played, _ = stage_list.played(self.release.rollout, entries)
        self.release = self.release.model_copy(update={"rollout": played})
        standing = standing_routes(self.release, self.routes)
        if (before := self._decided_before(entries, opened)) is not None:
            return before
        over = waits.over(
            entries, standing, self.release.version, since=opened, routes_then=standing
        ) or _over_at_once(opened, standing, self.release, weight)
        if over is not None:
            return self._over(over, opened)
        stage, since = self._standing(standing)
        return self._watch(opened, standing, stage, since)

    # (1) Look

    def _decided_before(self, entries: list[Entry], opened: Entry) -> Outcome | None:
        """What this very wait came to, where it was ended between its decision and its outcome."""
        if opened.run == self.run.id and opened.facts.get("waiting") is True:
            why = str(opened.facts.get("why", ""))
            return self._ended(Verdict.ROLLBACK, f"while waiting: {why}", opened, {})
        given_up = [
            entry
            for entry in entries[entries.index(opened) :]
            if entry.action == release_journal.WAIT and entry.release == self.release.version
        ]
        if given_up and given_up[-1].run == self.run.id:
            return self._ended(Verdict.HOLD, str(given_up[-1].facts.get("why", "")), opened, {})
        return None

    def _standing(self, standing: list[RouteState]) -> tuple[Stage, datetime]:
        """The stage whose traffic stands in the routes, and since when."""
        written = [route.written_at for route in standing if route.written_at is not None]
        return self.release.rollout.stage(standing[0].weight), min(written)

    def _is_over(self, opened: Entry, standing: list[RouteState]) -> Over | None:
        """What has ended the wait, as of now; an API server that is away has ended nothing."""
        try:
            entries = self.journal.entries()
            now = self.routes.read(self.release.rollout.services)
        except ReleaseError:
            return None
        version = self.release.version
        return waits.over(entries, now, version, since=opened, routes_then=standing)

    def _asking(self, opened: Entry, standing: list[RouteState]) -> Callable[[], Over | None]:
        """`_is_over`, asked no more often than every few seconds."""
        asked: datetime | None = None

        def over() -> Over | None:
            nonlocal asked
            now = self.clock.now()
            if asked is not None and (now - asked).total_seconds() < _ASK_AGAIN:
                return None
            asked = now
            return self._is_over(opened, standing)

        return over

    # (2) Watch

    def _watch(
        self, opened: Entry, standing: list[RouteState], stage: Stage, since: datetime
    ) -> Outcome:
        entries = self.journal.entries()
        until = opened.at + timedelta(seconds=self.limit)
        self.progress.say(
            f"{stage.name}: watched while a person decides, until {until:%H:%M:%S} UTC at most"
        )
        while True:
            seen = watch_standing(
                self.release,
                self.environment,
                stage,
                since,
                until,
                self._asking(opened, standing),
                traffic.lender(
                    self.release, self.environment, routes=self.routes, clock=self.clock
                ),
                restarts_before=release_journal.restarts_at_shift(
                    entries, self.release.version, since
                ),
                metrics=self.metrics,
                workloads=self.workloads,
                clock=self.clock,
                progress=self.progress,
                elsewhere=self.elsewhere,
            )
            if isinstance(seen, Observation):
                decision = Decision.of(seen)
                if seen.verdict is Verdict.ROLLBACK:
                    return self._failed(opened, standing, stage, since, decision)
                ended_here = self._give_up(opened, standing, stage, since, decision)
                if ended_here is not None:
                    return ended_here
                until = self.clock.now() + timedelta(seconds=_LOCKED)
            else:
                return self._over(seen, opened)

    # (3) Traffic off

    def _failed(
        self,
        opened: Entry,
        standing: list[RouteState],
        stage: Stage,
        since: datetime,
        decision: Decision,
    ) -> Outcome:
        """Traffic off at once, whoever holds the lock, unless somebody has acted already."""
        over = self._is_over(opened, standing)
        if over is not None:
            return self._over(over, opened)
        try:
            self.lock.acquire(preempt=True)
        except ReleaseError as error:
            self.progress.say(f"lock: could not be taken ({error}); going on without it")
        try:
            written = self._off(f"while waiting for a person: {decision.why}")
            if any(route.weight for route in self.routes.read(self.release.rollout.services)):
                self.progress.say("traffic: another run had moved it; once more")
                written = self._off(f"while waiting for a person: {decision.why}")
            self._note(
                release_journal.GATE,
                stage,
                {
                    "verdict": str(Verdict.ROLLBACK),
                    "waiting": True,
                    "why": decision.why,
                    **release_journal.cause_facts(decision.checks),
                },
            )
        finally:
            self._give_up_lock()
        seconds = (written - decision.at).total_seconds()
        details = decision.details(self.release, stage, since)
        return self._ended(
            Verdict.ROLLBACK,
            f"{stage.name}, while waiting for a person: {decision.why}",
            opened,
            details | {"seconds_from_verdict_to_write": seconds},
            decision.checks,
        )

    def _give_up(
        self,
        opened: Entry,
        standing: list[RouteState],
        stage: Stage,
        since: datetime,
        decision: Decision,
    ) -> Outcome | None:
        """Traffic off because nobody came; None where another run holds the lock: it is acting."""
        blind = decision.without_metrics
        if blind >= self.environment.limits.metrics_outage and decision.at < (
            opened.at + timedelta(seconds=self.limit)
        ):
            why = f"no metrics for {blind:.0f} s while waiting for a person"
        else:
            why = f"nobody went on within {self.limit:g} s"
        try:
            with holding(self.lock):
                over = self._is_over(opened, standing)
                if over is not None:
                    return self._over(over, opened)
                self._off(f"{why}; this is no rollback")
                self._note(release_journal.WAIT, stage, {"verdict": str(Verdict.HOLD), "why": why})
        except LockedError as error:
            self.progress.say(f"{stage.name}: {why}, but {error.detail.found}; watching on")
            return None
        details = decision.details(self.release, stage, since)
        return self._ended(Verdict.HOLD, why, opened, details, decision.checks)

    def _off(self, reason: str) -> datetime:
        return traffic.take_off(
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

    def _note(self, action: str, stage: Stage, facts: dict[str, object]) -> None:
        """Journal what was done; the traffic is off all the same where that fails."""
        try:
            self.journal.append(
                Entry(
                    at=self.clock.now(),
                    run=self.run.id,
                    release=self.release.version,
                    step=stage.name,
                    action=action,
                    phase=Phase.RESULT,
                    facts={"weight": stage.weight, **facts},
                )
            )
        except ReleaseError as error:
            self.progress.say(f"journal: could not be written ({error}); going on")

    def _give_up_lock(self) -> None:
        try:
            self.lock.release()
        except ReleaseError as error:
            self.progress.say(f"lock: could not be given up ({error}); it expires by itself")

    # Telling

    def _over(self, over: Over, opened: Entry) -> Outcome:
        by = f" by run {over.run}" if over.run else ""
        return self._ended(
            Verdict.PROCEED,
            f"the wait is over: {over.why}{by}",
            opened,
            {"over": str(over.how), "by": over.run},
        )

    def _ended(
        self,
        verdict: Verdict,
        summary: str,
        opened: Entry,
        details: dict[str, object],
        checks: tuple[Check, ...] = (),
    ) -> Outcome:
        said = {
            Verdict.PROCEED: summary,
            Verdict.ROLLBACK: f"{summary}; the traffic is off the canary",
            Verdict.HOLD: f"{summary}; the traffic was taken off the canary, which is no rollback",
        }[verdict]
        waited = (self.clock.now() - opened.at).total_seconds()
        return ended(
            "gate",
            self.release,
            self.environment,
            verdict,
            said,
            started_at=self.started_at,
            clock=self.clock,
            checks=checks,
            details={"mode": "wait", "waited_seconds": waited, "limit": self.limit, **details},
            next_step=_NEXT[verdict].format(weight=opened.facts.get("weight")),
        )


def _over_at_once(
    opened: Entry, standing: list[RouteState], release: Release, weight: int | None
) -> Over | None:
    """Why there is nothing to watch, though the journal has nothing newer."""
    if opened.facts.get("verdict") == Verdict.ROLLBACK:
        return Over(How.ROLLED_BACK, opened.run, "the gate decided to roll back")
    if weight is not None and opened.facts.get("weight") != weight:
        return Over(How.WENT_ON, opened.run, f"{opened.step} was taken since")
    if all(route.weight == 0 for route in standing):
        return Over(How.TAKEN_OFF, standing[0].run, "the canary has no traffic")
    stages = {stage.name: stage.weight for stage in release.rollout.stages}
    for route in standing:
        known = route.written_at is not None and stages.get(route.stage or "") == route.weight
        if route.release != release.version or not known or route.weight != standing[0].weight:
            return Over(How.WENT_ON, route.run, f"the routes stand at {route.stage}")
    return None


_NEXT = {
    Verdict.PROCEED: "",
    Verdict.HOLD: "`tarsrelease canary gate --stage {weight}` gives the canary traffic again, "
    "`tarsrelease rollback` removes it",
    Verdict.ROLLBACK: "`tarsrelease rollback` removes the canary; the traffic is off it",
}
