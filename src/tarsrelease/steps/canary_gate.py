"""One canary stage: capacity, traffic, looking, and the verdict; on a rollback, traffic off.

(1) Look: may this release have traffic, where does it stand, do the metrics answer?
(2) Capacity before weight.
(3) Shift, unless the routes already stand there (a run that was killed and started again).
(4) Observe until decided.
(5) Act on the verdict in this very process, and journal it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from tarsrelease.gates import evaluation_times
from tarsrelease.gates.lifted_hold import lifted
from tarsrelease.gates.measure.pods import restart_counts
from tarsrelease.gates.measure.queries import queries_of
from tarsrelease.model.cluster import RouteState
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import (
    ReleaseError,
    StoppedError,
    UnreachableError,
    UsageError,
)
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, exit_code_of
from tarsrelease.model.release import Release, Run
from tarsrelease.model.rollout import Stage
from tarsrelease.operations import traffic
from tarsrelease.operations.decision import METRICS, Decision
from tarsrelease.operations.evaluation import as_they_are, observe
from tarsrelease.operations.past_requests import read_burstiness
from tarsrelease.operations.scaling import make_room
from tarsrelease.operations.snapshot import refuse_rolled_back, standing_routes
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Journal, Lock, Routes, Workloads, holding
from tarsrelease.ports.metrics import ExternalAnswers, Metrics
from tarsrelease.ports.people import Progress
from tarsrelease.rollout import release_journal, stage_list


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
    lifting: Lifting | None = None,
    elsewhere: ExternalAnswers | None = None,
) -> Outcome:
    """Take the canary to `weight` percent, look, and decide: proceed, hold or rollback.

    On rollback the traffic is off when this returns. `lifting`: a person has decided that the
    stage, which held, may go on; it is looked at once more, and what is merely inconclusive does
    not hold it again (gates/lifted_hold.py). Raises RefusedError for a release that was
    rolled back, UsageError for an unknown stage or routes that no deploy has made,
    UnreachableError where nothing was changed yet, StoppedError where something was, LockedError
    where another run holds the lock or takes it.
    """
    started_at = clock.now()
    stage = _stage(release, weight)
    with holding(lock):
        entries = journal.entries()
        refuse_rolled_back(f"giving {release.version} traffic", release, entries)
        standing = standing_routes(release, routes)
        keep = traffic.keeper(release, environment, routes=routes, lock=lock, clock=clock)
        since = _standing_since(release, stage, standing)
        if lifting is not None:
            _lift(release, run, stage, entries, lifting, journal, clock)
            progress.say(f"{stage.name}: lifted by {lifting.by}: {lifting.reason}")
        has_traffic = any(route.weight > 0 for route in standing)
        lacking = _wait_for_metrics(
            release, environment, stage, has_traffic, metrics, workloads, clock, progress, keep
        )
        if since is not None:
            progress.say(f"{stage.name}: the routes stand at {weight} % since {since:%H:%M:%S}")
            baseline = release_journal.restarts_at_shift(entries, release.version, since)
            _journal_entry(release, run, stage, journal, clock, {})
        elif lacking is None:
            lacking = make_room(
                release, environment, stage, entries, workloads, clock, progress, keep
            )
        if lacking is not None:
            decision = Decision.on(lacking, clock.now())
        else:
            past = read_burstiness(
                release.rollout,
                environment,
                stage,
                history=metrics,
                clock=clock,
                progress=progress,
            )
            if since is None:
                baseline = restart_counts(p for p in workloads.pods() if p.track is Track.CANARY)
                _journal_entry(release, run, stage, journal, clock, {"restarts": baseline})
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
                stage if lifting is None else _looked_at_again(stage, since, clock),
                since,
                track=Track.CANARY,
                weight=weight,
                metrics=metrics,
                workloads=workloads,
                clock=clock,
                progress=progress,
                alive=keep,
                restarts_before=baseline,
                elsewhere=elsewhere,
                past=past,
                seen_as=as_they_are if lifting is None else partial(lifted, lifting=lifting),
            )
            decision = Decision.of(seen)
        details = decision.details(release, stage, since)
        if lifting is not None:
            details |= {"lifted_by": lifting.by, "lifted_for": lifting.reason}
        off = _why_off(decision, environment, has_traffic=has_traffic or since is not None)
        if off is not None:
            written = traffic.take_off(
                release,
                environment,
                run,
                off,
                to=Track.STABLE,
                routes=routes,
                journal=journal,
                clock=clock,
                progress=progress,
            )
            details["seconds_from_verdict_to_write"] = (written - decision.at).total_seconds()
            if since is not None:
                details["seconds_from_shift_to_write"] = (written - since).total_seconds()
        _journal_verdict(release, run, stage, decision, journal, clock, progress)
        return Outcome(
            step="gate",
            release=release.version,
            environment=environment.name,
            verdict=decision.verdict,
            exit_code=exit_code_of(decision.verdict),
            summary=f"{stage.name}: {_said(decision, off, lifting)}",
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
    keep: Callable[[], None],
) -> Check | None:
    """The metrics server answers the very queries of the stage, before anything is changed.

    Before the first stage a server that is away is an error at once. Later an outage is waited
    for, as it would be within a stage; the canary keeps the traffic that it was given. None is
    well, a check is an outage beyond its limit.
    """
    versions = {release.version, *(each.version for each in workloads.deployments())}
    asked = queries_of(stage, release.rollout, environment.kubernetes.namespace, versions)
    started, said = clock.now(), False
    while True:
        try:
            metrics.series(asked.selectors, environment.prometheus.scrape_interval)
        except UnreachableError as error:
            if not has_traffic:
                raise
            waited = (clock.now() - started).total_seconds()
            if not said:
                progress.say(f"{stage.name}: no metrics: {error}; waiting before traffic is raised")
                said = True
            if waited >= environment.limits.metrics_outage:
                return Check(
                    id=METRICS,
                    status=Status.ERROR,
                    expected=f"an answer within {environment.limits.metrics_outage:g} s",
                    reason=f"no metrics for {waited:.0f} s: {error}",
                    source=environment.prometheus.url,
                    window=waited,
                )
            keep()
            clock.sleep(evaluation_times.TICK)
        else:
            return None


# (3) What a run that starts again must find


def _journal_entry(
    release: Release,
    run: Run,
    stage: Stage,
    journal: Journal,
    clock: Clock,
    facts: Mapping[str, object],
) -> None:
    """Note that the stage is entered; before a shift with the canary's restart counts, so that
    those before it never count. Whoever watches a wait learns from it that the wait is over."""
    journal.append(
        Entry(
            at=clock.now(),
            run=run.id,
            release=release.version,
            step=stage.name,
            action=release_journal.GATE,
            phase=Phase.INTENT,
            facts={"weight": stage.weight, **stage_list.facts(release.rollout, stage), **facts},
        )
    )


# (4) A hold that was lifted


def _lift(
    release: Release,
    run: Run,
    stage: Stage,
    entries: Sequence[Entry],
    lifting: Lifting,
    journal: Journal,
    clock: Clock,
) -> None:
    """Journal who lifted the hold, and why. Raises UsageError where the stage does not hold."""
    verdict = release_journal.verdict(entries, release.version, stage.weight)
    if verdict != Verdict.HOLD:
        raise UsageError(
            doing=f"lifting the hold of {stage.name}",
            found=f"its last verdict is {verdict}" if verdict else "it has no verdict yet",
            expected="a stage that holds",
            next_step=f"`tarsrelease canary gate --stage {stage.weight}`, without --lifted-by",
        )
    journal.append(
        Entry(
            at=clock.now(),
            run=run.id,
            release=release.version,
            step=stage.name,
            action=release_journal.LIFT,
            phase=Phase.RESULT,
            facts={"weight": stage.weight, "by": lifting.by, "reason": lifting.reason},
        )
    )


def _looked_at_again(stage: Stage, since: datetime, clock: Clock) -> Stage:
    """The stage with its extension anew, for what has to be measured once more."""
    stood = (clock.now() - since).total_seconds()
    return stage.model_copy(update={"max_extension": stood + stage.max_extension})


# (5) Act and tell


_NEXT = {
    Verdict.PROCEED: "the next stage, or validate and promote after the last",
    Verdict.HOLD: "find out why it cannot be told; then run this stage again, or "
    "`tarsrelease rollback`",
    Verdict.ROLLBACK: "`tarsrelease rollback` removes the canary; the traffic is off it",
}


def _why_off(decision: Decision, environment: Environment, *, has_traffic: bool) -> str | None:
    """Why the traffic must come off the canary now; None where it stays."""
    if decision.verdict is Verdict.ROLLBACK:
        return decision.why
    limits, blind = environment.limits, decision.without_metrics
    unwatched = decision.verdict is Verdict.HOLD and blind >= limits.metrics_outage
    if unwatched and has_traffic and limits.after_metrics_outage == "traffic-off":
        return f"no metrics for {blind:.0f} s; this is no rollback"
    return None


def _said(decision: Decision, off: str | None, lifting: Lifting | None) -> str:
    said = decision.why
    if off is not None and decision.verdict is Verdict.HOLD:
        said += f"; traffic taken off the canary: {off}"
    if lifting is not None:
        said += f"; the hold was lifted by {lifting.by}: {lifting.reason}"
    return said


def _journal_verdict(
    release: Release,
    run: Run,
    stage: Stage,
    decision: Decision,
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
        action=release_journal.GATE,
        phase=Phase.RESULT,
        facts={
            "weight": stage.weight,
            "verdict": str(decision.verdict),
            **release_journal.cause_facts(decision.checks),
        },
    )
    try:
        journal.append(entry)
    except ReleaseError as error:
        if decision.verdict is Verdict.PROCEED:
            raise StoppedError(
                doing=f"journaling the verdict of {stage.name}",
                found=str(error),
                expected="a journal that can be written",
                next_step="run this stage again: it looks again at the traffic that stands",
            ) from error
        progress.say(f"journal: the verdict could not be written: {error}")
