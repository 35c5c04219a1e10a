"""One canary stage: capacity, traffic, looking, and the verdict; on a rollback, traffic off.

(1) Look: may this release have traffic, where does it stand, do the metrics answer?
(2) Capacity before weight.
(3) Shift, unless the routes already stand there (a run that was killed and started again).
(4) Observe until decided.
(5) Act on the verdict in this very process, and journal it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from tarsrelease.gates import day_journal, stage_list
from tarsrelease.gates.budget import alpha_per_check
from tarsrelease.gates.ledger import plan
from tarsrelease.gates.pods import restart_counts
from tarsrelease.model.cluster import RouteState
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import (
    RefusedError,
    ReleaseError,
    StoppedError,
    UnreachableError,
    UsageError,
)
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, exit_code_of
from tarsrelease.model.release import Release, Run
from tarsrelease.model.rollout import Stage
from tarsrelease.ports import Clock, Journal, Lock, Metrics, Progress, Routes, Workloads, holding
from tarsrelease.steps import traffic
from tarsrelease.steps.observe import Observation, observe
from tarsrelease.steps.room import make_room

_HISTORY = 120


def gate(
    release: Release,
    environment: Environment,
    run: Run,
    weight: int,
    *,
    metrics: Metrics,
    workloads: Workloads,
    routes: Routes,
    journal: Journal,
    lock: Lock,
    clock: Clock,
    progress: Progress,
) -> Outcome:
    """Take the canary to `weight` percent, look, and decide: proceed, hold or rollback.

    On rollback the traffic is off when this returns. Raises RefusedError for a release that was
    rolled back, UsageError for an unknown stage or routes that no deploy has made,
    UnreachableError where nothing was changed yet, StoppedError where something was, LockedError
    where another run holds the lock or takes it.
    """
    started_at = clock.now()
    stage = _stage(release, weight)
    with holding(lock):
        entries = journal.entries()
        _refuse_rolled_back(release, entries)
        standing = _standing(release, routes)
        has_traffic = any(route.weight > 0 for route in standing)
        _wait_for_metrics(
            release, environment, stage, has_traffic, metrics, workloads, clock, progress
        )
        keep = traffic.keeper(release, environment, routes=routes, lock=lock, clock=clock)
        since = _standing_since(release, stage, standing)
        baseline = _restarts_at_shift(entries, release, since)
        lacking = None
        if since is None:
            lacking = make_room(
                release, environment, stage, entries, workloads, clock, progress, keep
            )
        else:
            progress.say(f"{stage.name}: the routes stand at {weight} % since {since:%H:%M:%S}")
        if lacking is not None:
            decision = _Decision.on(lacking, clock.now())
        else:
            if since is None:
                baseline = _journal_restarts(release, run, stage, workloads, journal, clock)
                since = traffic.shift(
                    release,
                    environment,
                    run,
                    weight,
                    stage.name,
                    routes=routes,
                    journal=journal,
                    lock=lock,
                    clock=clock,
                    progress=progress,
                )
            seen = observe(
                release,
                environment,
                stage,
                since,
                track=Track.CANARY,
                weight=weight,
                metrics=metrics,
                workloads=workloads,
                clock=clock,
                progress=progress,
                alive=keep,
                restarts_before=baseline,
            )
            decision = _Decision.of(seen)
        details = _details(release, stage, decision, since)
        if decision.verdict is Verdict.ROLLBACK:
            written = traffic.take_off(
                release,
                environment,
                run,
                decision.why,
                to=Track.STABLE,
                routes=routes,
                journal=journal,
                clock=clock,
                progress=progress,
            )
            details["seconds_from_verdict_to_write"] = (written - decision.at).total_seconds()
            if since is not None:
                details["seconds_from_shift_to_write"] = (written - since).total_seconds()
        _journal_verdict(release, run, stage, decision.verdict, journal, clock, progress)
        return Outcome(
            step="gate",
            release=release.version,
            environment=environment.name,
            verdict=decision.verdict,
            exit_code=exit_code_of(decision.verdict),
            summary=f"{stage.name}: {decision.verdict}: {decision.why}",
            checks=decision.checks,
            details=details,
            started_at=started_at,
            finished_at=clock.now(),
            next=_NEXT[decision.verdict],
        )


# (1) Look


def _stage(release: Release, weight: int) -> Stage:
    try:
        return release.rollout.stage(weight)
    except KeyError as error:
        raise UsageError(
            doing="choosing the stage",
            found=str(error.args[0]),
            expected="the weight of a stage in rollout.yaml",
            next_step="give one of them",
        ) from error


def _refuse_rolled_back(release: Release, entries: Sequence[Entry]) -> None:
    if day_journal.rolled_back(entries, release.version):
        raise RefusedError(
            doing=f"giving {release.version} traffic",
            found="the journal says that it was rolled back",
            expected="a release that was deployed since",
            next_step="`tarsrelease canary deploy` starts it afresh, once it is repaired",
        )


def _standing(release: Release, routes: Routes) -> list[RouteState]:
    services = release.rollout.services
    found = routes.read(services)
    missing = sorted({each.name for each in services} - {each.service for each in found})
    if missing:
        raise UsageError(
            doing="reading the routes",
            found=f"there is none for {', '.join(missing)}",
            expected="a route for each service, as deploy makes them",
            next_step="run `tarsrelease canary deploy` first",
        )
    return found


def _standing_since(
    release: Release, stage: Stage, standing: Sequence[RouteState]
) -> datetime | None:
    """Since when every route has stood at this stage for this release; None where not all do."""
    times = [
        route.written_at
        for route in standing
        if route.weight == stage.weight
        and route.stage == stage.name
        and route.release == release.version
        and route.written_at is not None
    ]
    return min(times) if len(times) == len(standing) else None


def _wait_for_metrics(
    release: Release,
    environment: Environment,
    stage: Stage,
    has_traffic: bool,
    metrics: Metrics,
    workloads: Workloads,
    clock: Clock,
    progress: Progress,
) -> None:
    """The metrics server answers the very queries of the stage, before anything is changed.

    Before the first stage a server that is away is an error at once. Later an outage is waited
    for, as it would be within a stage; the canary keeps the traffic that it was given.
    """
    versions = {release.version, *(each.version for each in workloads.deployments())}
    asked = plan(stage, release.rollout, environment.kubernetes.namespace, versions)
    deadline = environment.limits.metrics_outage if has_traffic else 0.0
    started = clock.now()
    while True:
        try:
            metrics.series(asked.selectors, environment.prometheus.scrape_interval)
        except UnreachableError as error:
            if (clock.now() - started).total_seconds() >= deadline:
                raise
            progress.say(f"{stage.name}: no metrics: {error}; waiting before traffic is raised")
            clock.sleep(1.0)
        else:
            return


# (3) What a run that starts again must find


def _journal_restarts(
    release: Release,
    run: Run,
    stage: Stage,
    workloads: Workloads,
    journal: Journal,
    clock: Clock,
) -> dict[str, int]:
    """Note the canary's restart counts, so that those before the shift never count."""
    counts = restart_counts(pod for pod in workloads.pods() if pod.track is Track.CANARY)
    facts: dict[str, object] = {"weight": stage.weight, "restarts": counts}
    facts |= stage_list.facts(release.rollout, stage)
    journal.append(
        Entry(
            at=clock.now(),
            run=run.id,
            release=release.version,
            step=stage.name,
            action=day_journal.GATE,
            phase=Phase.INTENT,
            facts=facts,
        )
    )
    return counts


def _restarts_at_shift(
    entries: Sequence[Entry], release: Release, since: datetime | None
) -> dict[str, int] | None:
    """The counts noted before the shift that is standing; None where the journal has none."""
    noted = [
        entry.facts.get("restarts")
        for entry in day_journal.of_this_attempt(entries, release.version)
        if entry.action == day_journal.GATE and entry.phase is Phase.INTENT
        if since is not None and entry.at <= since
    ]
    if not noted or not isinstance(noted[-1], dict):
        return None
    return {str(name): int(count) for name, count in noted[-1].items()}


# (5) Act and tell


@dataclass(frozen=True, slots=True)
class _Decision:
    verdict: Verdict
    checks: tuple[Check, ...]
    at: datetime
    looks: int = 0
    history: tuple[dict[str, object], ...] = ()

    @classmethod
    def of(cls, seen: Observation) -> _Decision:
        every = max(1, len(seen.history) // _HISTORY)
        kept = tuple(asdict(look) for look in seen.history[::-1][::every][::-1])
        return cls(seen.verdict, seen.checks, seen.decided_at, seen.looks, kept)

    @classmethod
    def on(cls, check: Check, at: datetime) -> _Decision:
        verdict = Verdict.ROLLBACK if check.status is Status.FAIL else Verdict.HOLD
        return cls(verdict, (check,), at)

    @property
    def why(self) -> str:
        """The gravest result, in one line."""
        grave = [
            check
            for status in (Status.FAIL, Status.ERROR, Status.INCONCLUSIVE)
            for check in self.checks
            if check.status is status
        ]
        if not grave:
            return f"{len(self.checks)} checks passed"
        first = grave[0]
        whose = f" of {first.service}" if first.service else ""
        more = f" (and {len(grave) - 1} more)" if len(grave) > 1 else ""
        return f"{first.id}{whose}: {first.reason}{more}"


_NEXT = {
    Verdict.PROCEED: "the next stage, or validate and promote after the last",
    Verdict.HOLD: "find out why it cannot be told; then run this stage again, or "
    "`tarsrelease rollback`",
    Verdict.ROLLBACK: "`tarsrelease rollback` removes the canary; the traffic is off it",
}


def _details(
    release: Release, stage: Stage, decision: _Decision, since: datetime | None
) -> dict[str, object]:
    """Facts for the evidence and for plots; times in seconds."""
    details: dict[str, object] = {
        "weight": stage.weight,
        "stage": stage.name,
        "looks": decision.looks,
        "false_rollback_budget": release.rollout.statistics.false_rollback_budget,
        "alpha_per_check": alpha_per_check(release.rollout),
        "history": list(decision.history),
    }
    if since is not None:
        seconds = (decision.at - since).total_seconds()
        details |= {
            "shifted_at": traffic.timestamp(since),
            "seconds_from_shift_to_verdict": seconds,
            "extended_seconds": max(0.0, seconds - stage.duration),
        }
    return details


def _journal_verdict(
    release: Release,
    run: Run,
    stage: Stage,
    verdict: Verdict,
    journal: Journal,
    clock: Clock,
    progress: Progress,
) -> None:
    """The verdict in the journal. After a rollback a journal that is away is only reported.

    To proceed without it would leave the promotion without its proof: that stops.
    """
    entry = Entry(
        at=clock.now(),
        run=run.id,
        release=release.version,
        step=stage.name,
        action=day_journal.GATE,
        phase=Phase.RESULT,
        facts={"weight": stage.weight, "verdict": str(verdict)},
    )
    try:
        journal.append(entry)
    except ReleaseError as error:
        if verdict is Verdict.PROCEED:
            raise StoppedError(
                doing=f"journaling the verdict of {stage.name}",
                found=str(error),
                expected="a journal that can be written",
                next_step="run this stage again: it looks again at the traffic that stands",
            ) from error
        progress.say(f"journal: the verdict could not be written: {error}")
