"""One canary stage: scale, shift, evaluate, decide; on rollback move all traffic to stable.

(1) Check that the release may have traffic, read the routes, test the metrics queries.
(2) Scale the canary before its weight rises.
(3) Shift traffic, unless an earlier run has done so.
(4) Evaluate until there is a verdict; after a protection, a quiet period and one more try.
(5) Act on the verdict, and journal it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from tarsrelease.context import Context
from tarsrelease.gates import evaluation_times
from tarsrelease.gates.lifted_hold import lifted
from tarsrelease.gates.measure.pods import restart_counts
from tarsrelease.gates.measure.queries import queries_of
from tarsrelease.gates.protection import chances
from tarsrelease.model.cluster import DeploymentState, RouteState
from tarsrelease.model.errors import (
    LostError,
    RefusedError,
    ReleaseError,
    StoppedError,
    UnreachableError,
    UsageError,
)
from tarsrelease.model.format import duration
from tarsrelease.model.journal import Cause, Entry, GateFacts, LiftFacts, PersonFacts, Phase
from tarsrelease.model.lifting import Lifting
from tarsrelease.model.measurement import Track
from tarsrelease.model.notice import Event
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict
from tarsrelease.model.rollout import Stage
from tarsrelease.model.step_details import GateDetails
from tarsrelease.operations import traffic
from tarsrelease.operations.announcing import announce
from tarsrelease.operations.answering import RETRY, Outage, patiently
from tarsrelease.operations.evaluation import StageEvaluation, as_measured, evaluate_stage
from tarsrelease.operations.interventions import (
    HELD,
    IMAGES,
    held_until,
    other_template,
    requested,
)
from tarsrelease.operations.journaling import journal
from tarsrelease.operations.locking import refuse_overtaken, under_lock
from tarsrelease.operations.observation import METRICS, Observation
from tarsrelease.operations.outcome import StepReport, changing
from tarsrelease.operations.past_requests import read_burstiness
from tarsrelease.operations.protecting import (
    protect,
    protect_while_waiting,
    rest_of_quiet_period,
    tried_once_more,
    wait_quietly,
)
from tarsrelease.operations.readings import read_before_shift
from tarsrelease.operations.scaling import scaling
from tarsrelease.operations.snapshot import (
    all_routes,
    refuse_other_bytes,
    refuse_rolled_back,
    refuse_without_journal,
)
from tarsrelease.operations.tasks import result_of, with_each_tick
from tarsrelease.operations.waiting import evaluate_meanwhile
from tarsrelease.ports.clock import Task
from tarsrelease.rollout import release_journal, stage_list
from tarsrelease.rollout.open_incident import open_incident
from tarsrelease.rollout.rollback_plan import changed_by_others
from tarsrelease.rollout.weights_since import at_stage_since, weights_since

T = TypeVar("T")

STEP = "gate"
_AGAIN = "run this stage again, or `tarsrelease rollback`"
_SLOW_SHIFT = 5.0
"""Seconds after which the canary is evaluated although the shift is not done."""


def gate(
    context: Context,
    weight: int,
    lifting: Lifting | None = None,
    skipping: Lifting | None = None,
) -> Outcome:
    """Shift `weight` percent to the canary, evaluate, and decide: proceed, hold or rollback.

    On rollback all traffic is on stable when this returns. With `lifting`, a person has lifted
    the stage's hold: the stage is evaluated again, and inconclusive checks do not hold it
    (gates/lifted_hold.py). With `skipping`, a person enters the stage although the one before has
    not proceeded. Raises RefusedError if the release was rolled back or the stage is entered too
    early, UsageError for an unknown stage or missing routes, UnreachableError before any change,
    StoppedError after one, LockedError if another process holds or takes the lock.
    """
    report, stage = StepReport(context, STEP), _stage(context, weight)
    _read(context, stage, partial(all_routes, context))
    with under_lock(context) as locked:
        entries = _read(context, stage, context.cluster.journal.entries)
        refuse_rolled_back(
            f"shifting traffic to {context.release.version}", context.release, entries
        )
        refuse_other_bytes(
            f"shifting traffic to {context.release.version}", context.release, entries
        )
        routes = _read(context, stage, partial(all_routes, context))
        refuse_without_journal(context, entries, routes)
        _refuse_early(context, stage, entries, skipping)
        if lifting is not None:
            _lift(context, stage, entries, lifting)
        has_traffic = any(route.weight > 0 for route in routes)
        since = at_stage_since(context.release, stage, routes)
        seen, since = _take(locked, stage, entries, routes, lifting)
        refuse_overtaken(context)
        details = seen.details(context.release, stage, since)
        incident = open_incident(entries, context.release.version, context.clock.now())
        if incident:
            details = GateDetails(**{**details.given(), "warnings": (*details.warnings, *incident)})
        if lifting is not None:
            details = GateDetails(
                **details.given(), lifted_by=lifting.by, lifted_for=lifting.reason
            )
        off = _why_off(context, seen, has_traffic=has_traffic or since is not None)
        if off is not None:
            written = traffic.move_all(context, Track.STABLE, off)
            details = GateDetails(
                **details.given(),
                seconds_from_verdict_to_write=(written - seen.decided_at).total_seconds(),
            )
            if since is not None:
                took = (written - since).total_seconds()
                details = GateDetails(**details.given(), seconds_from_shift_to_write=took)
        if seen.verdict is not Verdict.PROCEED:  # which is in the journal already
            _journal_verdict(context, stage, seen)
        if lifting is None or seen.verdict is not Verdict.PROCEED:
            _announce_verdict(context, stage, seen, off)
        return report.outcome(
            seen.verdict,
            f"{stage.name}: {_summary(seen, off, lifting)}",
            checks=seen.checks,
            details=details,
            next_step=_NEXT[seen.verdict],
        )


def _take(
    context: Context,
    stage: Stage,
    entries: Sequence[Entry],
    routes: Sequence[RouteState],
    lifting: Lifting | None,
) -> tuple[Observation, datetime | None]:
    """(1) to (4). Returns the observation, and since when the routes are at the stage, if so."""
    keep = traffic.lease_and_lock_keeper(context)
    since = at_stage_since(context.release, stage, routes)
    has_traffic = any(route.weight > 0 for route in routes)
    deployments = _read(context, stage, context.cluster.workloads.deployments)
    lacking = _wait_for_metrics(context, stage, deployments, has_traffic, keep)
    lacking = lacking or _read(context, stage, partial(_changed_by_others, context, entries))
    if since is None:
        lacking = lacking or _template_changed(context, entries, deployments)
    early = None if lacking is None else Observation.of(lacking, context.clock.now())
    if since is not None:
        context.say(f"{stage.name}: at {stage.weight} % since {since:%H:%M:%S} UTC; evaluating")
        restarts = release_journal.restarts_at_shift(entries, context.release.version, since)
        entering = partial(_journal_entry, context, stage)
        result_of(context.clock, patiently(context, stage.name, entering))
    elif early is None:
        rest = rest_of_quiet_period(context, stage, entries)
        lacking = result_of(context.clock, with_each_tick(rest, keep))
        early = None if lacking is None else Observation.of(lacking, context.clock.now())
        early = early or _await_capacity(context, stage, entries, routes, keep)
    if early is not None:
        return early, since
    past = read_burstiness(context, stage)
    if since is None:
        with changing(_AGAIN):  # the canary is scaled
            before = _present(context, stage, entries, routes, keep)
            shifted = _shift(context, stage, before)
        if isinstance(shifted, Observation):
            return shifted, before.since
        since, restarts = shifted
        keep = traffic.lease_and_lock_keeper(context, since)  # the shift has written the lease
    judged = StageEvaluation(
        stage=stage if lifting is None else _extended_anew(context, stage, since),
        since=since,
        weight=stage.weight,
        restarts_before=restarts,
        past=past,
        present=as_measured if lifting is None else partial(lifted, lifting=lifting),
        each_tick=keep,
        protects=chances(context.rollout),
    )
    seen = _evaluate(context, judged)
    if seen.protection is None:
        return seen, since
    with changing(_AGAIN):
        return _protected(context, judged, seen, _capacity_and_consent(context, stage, entries))


def _protected(
    context: Context, judged: StageEvaluation, seen: Observation, consent: Task[Check | None]
) -> tuple[Observation, datetime]:
    """Traffic to stable, a quiet period, one more try. Since when the last try had traffic, too."""
    first = protect(context, judged, seen)
    if first.verdict is Verdict.ROLLBACK or seen.protection is None:
        return first, judged.since
    stopped = wait_quietly(context, judged, first, consent)
    if stopped is not None:
        return stopped, judged.since
    shifted = _shift(context, judged.stage, replace(judged, since=context.clock.now()))
    if isinstance(shifted, Observation):
        return shifted, judged.since
    since, restarts = shifted
    judged = replace(judged, since=since, restarts_before=restarts)
    second = _evaluate(context, judged)
    if second.protection is not None:
        return protect(context, judged, second), since
    return tried_once_more(seen.protection, second, first), since


def _evaluate(context: Context, judged: StageEvaluation) -> Observation:
    """The observation of a stage; a verdict of proceed is in the journal when this returns.

    If it cannot be written because the API server goes away, the evaluation goes on, for
    `limits.deploy` at most. Raises StoppedError then, because the promotion requires the entry.
    """
    outage = Outage(context, judged.stage.name)
    while True:
        seen = evaluate_stage(context, judged)
        if seen.verdict is Verdict.PROCEED and judged.stage.weight < _last_weight(context):
            seen = _unless_changed_meanwhile(context, seen)
        if seen.verdict is not Verdict.PROCEED:
            return seen
        refuse_overtaken(context)
        try:
            _journal_verdict(context, judged.stage, seen)
        except LostError as error:
            outage.failed(error, "evaluating until its verdict can be journaled")
            if outage.seconds >= context.environment.limits.deploy:
                raise
            context.clock.sleep(RETRY)
        else:
            return seen


def _last_weight(context: Context) -> int:
    return context.rollout.stages[-1].weight


# (1) Read-only checks


def _stage(context: Context, weight: int) -> Stage:
    try:
        return context.rollout.stage(weight)
    except KeyError as error:
        raise UsageError(
            doing="choosing the stage",
            found=str(error.args[0]),
            expected="the weight of a stage in rollout.yaml",
            next_step="use `--stage` with one of them",
        ) from error


def _read(context: Context, stage: Stage, act: Callable[[], T]) -> T:
    """The result of `act`, when the API server answers."""
    return result_of(context.clock, patiently(context, stage.name, act))


def _wait_for_metrics(
    context: Context,
    stage: Stage,
    deployments: Iterable[DeploymentState],
    has_traffic: bool,
    keep: Callable[[], None],
) -> Check | None:
    """Send the stage's queries to the metrics server before anything is changed.

    Returns None if it answers, or a result if the outage exceeds its limit. Raises
    UnreachableError at once if the canary has no traffic yet; later waits, as within a stage.
    """
    environment, clock = context.environment, context.clock
    limit = environment.limits.metrics_outage
    versions = {context.release.version, *(each.version for each in deployments)}
    asked = queries_of(stage, context.rollout, environment.kubernetes.namespace, versions)
    started, said = clock.now(), False
    while True:
        try:
            context.metrics.samples.series(asked.asked, environment.prometheus.scrape_interval)
        except UnreachableError as error:
            if not has_traffic:
                raise
            waited = (clock.now() - started).total_seconds()
            if not said:
                context.say(f"{stage.name}: no metrics: {error}; waiting before the next shift")
                said = True
            if waited >= limit:
                return Check(
                    id=METRICS,
                    status=Status.ERROR,
                    expected=f"an answer within {duration(limit)}",
                    reason=f"no metrics for {duration(waited)}: {error}",
                    source=environment.prometheus.url,
                    window=waited,
                )
            keep()
            clock.sleep(evaluation_times.TICK)
        else:
            return None


def _refuse_early(
    context: Context, stage: Stage, entries: Sequence[Entry], skipping: Lifting | None
) -> None:
    """Refuse a stage whose predecessor has not proceeded, unless a person skips it (journaled)."""
    version, before = context.release.version, context.rollout.stage_before(stage)
    if before is None or release_journal.passed(entries, version, before.weight):
        return
    if skipping is not None:
        facts = PersonFacts(weight=stage.weight, by=skipping.by, reason=skipping.reason)
        journal(context, stage.name, release_journal.SKIP, Phase.RESULT, facts)
        context.say(f"{stage.name}: {before.name} skipped by {skipping.by}: {skipping.reason}")
        return
    if release_journal.skipped(entries, version, stage.weight):
        return
    verdict = release_journal.verdict(entries, version, before.weight)
    raise RefusedError(
        doing=f"entering {stage.name}",
        found=f"the last verdict of {before.name} is {verdict}"
        if verdict
        else f"the journal has no verdict of {before.name}",
        expected=f"{before.name} to have proceeded",
        next_step=f"`tarsrelease canary gate --stage {before.weight}`, or "
        f"`--stage {stage.weight} --skip-stages REASON`, which is recorded",
    )


def _changed_by_others(context: Context, entries: Sequence[Entry]) -> Check | None:
    """An inconclusive result if others made a revision of stable since the release began."""
    version, application = context.release.version, context.rollout.application
    pins = release_journal.pins(entries, version)
    if pins is None:
        return None
    history = context.cluster.charts.history(application)
    accepted = release_journal.accepted_revision(entries, version)
    changed = changed_by_others(history, version, pins, accepted)
    if changed is None:
        return None
    return Check(
        id="stable.revision",
        status=Status.INCONCLUSIVE,
        expected=f"revision {pins.revision}, which served when the release began",
        reason=f"somebody made revision {changed.number} of {application} "
        f"({changed.app_version}); `tarsrelease resume` accepts it",
        source=f"helm history {application}",
    )


def _template_changed(
    context: Context, entries: Sequence[Entry], deployments: Iterable[DeploymentState]
) -> Check | None:
    """An error if a canary Deployment is not as it was installed."""
    installed = release_journal.installed(entries, context.release.version)
    found = {state.name: state for state in deployments}
    states = [(each, found.get(each.canary.deployment)) for each in context.rollout.services]
    checks = [other_template(each, state, installed) for each, state in states if state]
    return next((check for check in checks if check is not None), None)


def _unless_changed_meanwhile(context: Context, seen: Observation) -> Observation:
    """A hold if others made a revision of stable during the stage.

    Promote compares the revisions again, so what cannot be read now is found there.
    """
    try:
        changed = _changed_by_others(context, context.cluster.journal.entries())
    except ReleaseError as error:
        context.say(f"the revisions of stable cannot be read: {error}")
        return seen
    if changed is None:
        return seen
    return replace(seen, verdict=Verdict.HOLD, checks=(*seen.checks, changed))


# (2) Capacity


def _await_capacity(
    context: Context,
    stage: Stage,
    entries: Sequence[Entry],
    routes: Sequence[RouteState],
    keep: Callable[[], None],
) -> Observation | None:
    """Scale the canary and wait until it is ready and nobody holds the release; None then.

    The traffic that the canary has stays evaluated meanwhile by the checks of its stage. Else the
    observation that keeps the stage from being entered.
    """
    clock = context.clock
    pending = _capacity_and_consent(context, stage, entries)
    if max(route.weight for route in routes) == 0:
        lacking = result_of(clock, with_each_tick(pending, keep))
        return None if lacking is None else Observation.of(lacking, clock.now())
    evaluation = _present(context, stage, entries, routes, keep)
    limits = context.environment.limits
    until = clock.now() + timedelta(seconds=limits.wait + limits.deploy)
    found = evaluate_meanwhile(context, evaluation, until, pending)
    if found is None:
        return None
    if not isinstance(found, Observation):
        return Observation.of(found, clock.now())
    return _ended_meanwhile(context, evaluation, found)


def _present(
    context: Context,
    stage: Stage,
    entries: Sequence[Entry],
    routes: Sequence[RouteState],
    keep: Callable[[], None],
) -> StageEvaluation:
    """The evaluation of the traffic that the canary has before `stage`, by its stage's checks."""
    weight, version = max(route.weight for route in routes), context.release.version
    current = stage_list.stage_for(context.rollout, weight) if weight else stage
    since = (weights_since(routes) if weight else None) or context.clock.now()
    # The replicas that are waited for are not ready yet.
    measured = [c for c in current.measured_checks if c.kind not in ("ready", "capacity")]
    return StageEvaluation(
        stage=current.model_copy(update={"checks": tuple(measured)}),
        since=since,
        weight=weight,
        restarts_before=release_journal.restarts_at_shift(entries, version, since),
        each_tick=keep,
        protects=chances(context.rollout),
    )


def _ended_meanwhile(
    context: Context, evaluation: StageEvaluation, found: Observation
) -> Observation:
    if found.protection is not None:
        return protect_while_waiting(context, evaluation, found)
    return found if found.verdict is Verdict.ROLLBACK else replace(found, verdict=Verdict.HOLD)


def _capacity_and_consent(
    context: Context, stage: Stage, entries: Sequence[Entry]
) -> Task[Check | None]:
    """Until the canary is ready and no person holds the release; a result that says why not."""
    lacking = yield from scaling(context, stage, entries)
    while lacking is None:
        with changing(_AGAIN):  # the canary is scaled
            entries = yield from patiently(context, stage.name, context.cluster.journal.entries)
        requests = requested(entries, context.release.version)
        until = held_until(context, entries)
        if not requests:
            return None
        if requests[0].status is Status.FAIL or (until and context.clock.now() >= until):
            return requests[0]
        yield 2 * evaluation_times.TICK
    return lacking


# (3) Shift


def _shift(
    context: Context, stage: Stage, before: StageEvaluation
) -> tuple[datetime, dict[str, int]] | Observation:
    """When the shift began, and the canary's restart counts before it.

    If it takes long, because the API server does not answer, the canary is evaluated meanwhile as
    in `before`; the observation if that ends it.
    """
    limits, clock = context.environment.limits, context.clock
    until = clock.now() + timedelta(seconds=limits.wait + limits.deploy)
    # Some routes may be written already, so no weight is expected.
    evaluation = replace(before, weight=None)
    pending = _shifting(context, stage)
    found = evaluate_meanwhile(context, evaluation, until, pending, after=_SLOW_SHIFT)
    return _ended_meanwhile(context, before, found) if isinstance(found, Observation) else found


def _shifting(context: Context, stage: Stage) -> Task[tuple[datetime, dict[str, int]]]:
    pods = yield from patiently(context, stage.name, context.cluster.workloads.pods)
    restarts = restart_counts(pod for pod in pods if pod.track is Track.CANARY)
    entering = partial(_journal_entry, context, stage, restarts=restarts)
    yield from patiently(context, stage.name, entering)
    read_before_shift(context, stage)
    since = yield from traffic.shifting(context, stage.weight, stage.name)
    announce(context, Event.STAGE, about=stage.name, reason=f"{stage.weight} % of the traffic")
    return since, restarts


def _journal_entry(context: Context, stage: Stage, restarts: dict[str, int] | None = None) -> None:
    """Journal that the stage starts; before a shift with the canary's restart counts, because
    earlier restarts do not count. It also ends the wait of `canary gate --wait`."""
    journal(
        context,
        stage.name,
        release_journal.GATE,
        Phase.INTENT,
        stage_list.facts(context.rollout, stage, restarts),
    )


# (4) A hold that was lifted


def _lift(context: Context, stage: Stage, entries: Sequence[Entry], lifting: Lifting) -> None:
    """Journal who lifted the hold, and why. Raises UsageError if the stage does not hold."""
    verdict = release_journal.verdict(entries, context.release.version, stage.weight)
    if verdict != Verdict.HOLD:
        raise UsageError(
            doing=f"lifting the hold of {stage.name}",
            found=f"its last verdict is {verdict}" if verdict else "it has no verdict yet",
            expected="a stage whose last verdict is hold",
            next_step=f"run `tarsrelease canary gate --stage {stage.weight}` without --lifted-by",
        )
    journal(
        context,
        stage.name,
        release_journal.LIFT,
        Phase.RESULT,
        LiftFacts(weight=stage.weight, by=lifting.by, reason=lifting.reason),
    )
    context.say(f"{stage.name}: {lifting.by} lifted the hold: {lifting.reason}")


def _extended_anew(context: Context, stage: Stage, since: datetime) -> Stage:
    """The stage with its full extension again, counted from now."""
    so_far = (context.clock.now() - since).total_seconds()
    return stage.model_copy(update={"max_extension": so_far + stage.max_extension})


# (5) Act on the verdict


_NEXT = {
    Verdict.PROCEED: "the next stage, or validate and promote after the last",
    Verdict.HOLD: "find out why it cannot be decided; then run this stage again, or "
    "`tarsrelease rollback`",
    Verdict.ROLLBACK: "`tarsrelease rollback` removes the canary; all traffic is on stable",
}


def _why_off(context: Context, seen: Observation, *, has_traffic: bool) -> str | None:
    """Why all traffic must move to stable now; None if it stays."""
    if seen.verdict is Verdict.ROLLBACK:
        return seen.why
    limits, blind = context.environment.limits, seen.without_metrics
    unseen = seen.verdict is Verdict.HOLD and blind >= limits.metrics_outage
    if seen.verdict is Verdict.HOLD and has_traffic and any(c.id == HELD for c in seen.checks):
        return f"a person's hold lasted longer than {duration(limits.wait)}; this is no rollback"
    if seen.verdict is Verdict.HOLD and has_traffic and any(c.id == IMAGES for c in seen.checks):
        return "the canary's Deployments are not as they were installed; this is no rollback"
    if unseen and has_traffic and limits.after_metrics_outage == "traffic-off":
        return f"no metrics for {duration(blind)}; this is not a rollback"
    return None


def _announce_verdict(context: Context, stage: Stage, seen: Observation, off: str | None) -> None:
    if seen.verdict is Verdict.ROLLBACK:
        announce(context, Event.ROLLBACK_STARTED, reason=f"{stage.name}: {seen.why}")
    elif seen.verdict is Verdict.HOLD:
        reason = seen.why if off is None else f"{seen.why}; all traffic is on stable: {off}"
        announce(context, Event.HOLD, about=stage.name, reason=reason)
    else:
        _announce_approval(context, stage)


def _announce_approval(context: Context, stage: Stage) -> None:
    """Announce that the pipeline waits for the approval of the next stage, if it needs one."""
    higher = [each for each in context.rollout.stages if each.weight > stage.weight]
    if higher and higher[0].approval:
        announce(context, Event.WAITING, about=higher[0].name, reason=f"{stage.name} proceeded")


def _summary(seen: Observation, off: str | None, lifting: Lifting | None) -> str:
    summary = seen.why
    if off is not None and seen.verdict is Verdict.HOLD:
        summary += f"; all traffic moved to stable: {off}"
    if seen.protected is not None and seen.verdict is Verdict.PROCEED:
        summary += f"; the first try was stopped to protect users: {seen.protected.why}"
    if lifting is not None:
        summary += f"; {lifting.by} lifted the hold: {lifting.reason}"
    return summary


def _journal_verdict(context: Context, stage: Stage, seen: Observation) -> None:
    """Journal the verdict. If that fails, raises StoppedError on proceed, and only reports it
    otherwise, because the promotion requires the journal's proceed."""
    try:
        journal(
            context,
            stage.name,
            release_journal.GATE,
            Phase.RESULT,
            GateFacts(weight=stage.weight, verdict=seen.verdict, cause=Cause.of(seen.checks)),
        )
    except ReleaseError as error:
        if seen.verdict is Verdict.PROCEED:
            raise (LostError if isinstance(error, UnreachableError) else StoppedError)(
                doing=f"journaling the verdict of {stage.name}",
                found=str(error),
                expected="a writable journal (ConfigMap)",
                next_step="run this stage again; it evaluates the same traffic",
            ) from error
        context.say(f"journal: cannot write the verdict: {error}")
