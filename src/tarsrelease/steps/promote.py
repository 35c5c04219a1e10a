"""Promote: upgrade stable, move traffic back to it in steps, remove the canary.

(1) Check that the last stage proceeded, or that a promotion was interrupted.
(2) Upgrade stable with Helm while the canary serves all requests.
(3) Move traffic back in steps, and evaluate stable at each.
(4) Wait for the canary's last requests, then remove it from the routes and the cluster.

A killed promotion can be run again: it skips what is done. If an evaluation fails, all traffic
moves to the canary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from tarsrelease.context import Context
from tarsrelease.model.cluster import RouteState, Snapshot
from tarsrelease.model.details import Details
from tarsrelease.model.errors import RefusedError, StoppedError, UnreachableError
from tarsrelease.model.journal import Cause, Entry, GateFacts, Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.notice import Event
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.release import Release
from tarsrelease.model.versions import same_version
from tarsrelease.operations import pinning, traffic
from tarsrelease.operations.announcing import announce
from tarsrelease.operations.answering import patiently
from tarsrelease.operations.applied_as_checked import refuse_unchecked
from tarsrelease.operations.drain import drain
from tarsrelease.operations.evaluation import StageEvaluation, evaluating, nothing_to_keep
from tarsrelease.operations.interventions import ABORTED
from tarsrelease.operations.journaling import journal, journal_if_possible
from tarsrelease.operations.locking import refuse_overtaken, under_lock
from tarsrelease.operations.observation import Observation
from tarsrelease.operations.outcome import StepReport, changing
from tarsrelease.operations.past_requests import read_burstiness
from tarsrelease.operations.promotion_evaluation import (
    SLOW,
    FailedSide,
    PromotionStep,
    evaluate_beside,
    promotion_stage,
    sides_with_traffic,
    stage_name,
)
from tarsrelease.operations.removal import remove_canary, retire
from tarsrelease.operations.scaling import completing, scale_stable
from tarsrelease.operations.snapshot import (
    refuse_other_bytes,
    refuse_rolled_back,
    refuse_without_journal,
    take_snapshot,
)
from tarsrelease.operations.tasks import result_of, with_each_tick
from tarsrelease.operations.waiting import evaluate_meanwhile
from tarsrelease.ports.clock import Task
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.release_journal import Pins
from tarsrelease.rollout.rollback_plan import (
    changed_by_others,
    last_good,
    serving_side,
    stable_names,
)
from tarsrelease.rollout.weights_since import at_stage_since, weights_since

T = TypeVar("T")

STEP = "promote"
PROMOTED = "promoted"
"""The stage written to the routes when the canary has left them after a promotion."""
_ROLL_BACK = "`tarsrelease rollback` restores stable and removes the canary"
_AGAIN = "run `tarsrelease promote` again, or `tarsrelease rollback`"


def promote(context: Context) -> Outcome:
    """Promote. Hold if an evaluation is inconclusive.

    While the API server does not answer, tries again for `limits.deploy`, and the sides that have
    traffic stay evaluated. Raises RefusedError unless the last stage proceeded, UnreachableError
    before a change, StoppedError if it fails after one.
    """
    report = StepReport(context, STEP)
    steps: list[PromotionStep] = []
    found = _await_routes(context)
    with under_lock(context) as locked:
        verdict, summary, next_step = (
            _end_before_return(context, found.observation)
            if isinstance(found, FailedSide)
            else _promote(context, locked, report, steps)
        )
    return report.outcome(
        verdict,
        summary,
        checks=steps[-1].observation.checks if steps else (),
        details=Details(phases=report.seconds, stages=tuple(each.row() for each in steps)),
        next_step=next_step,
    )


def _promote(
    context: Context, locked: Context, report: StepReport, steps: list[PromotionStep]
) -> tuple[Verdict, str, str]:
    """Promote from where the cluster is: verdict, summary and next step; adds to `steps`."""
    release = context.release
    seen = _patiently(context, partial(take_snapshot, context))
    entries = _patiently(context, context.cluster.journal.entries)
    if release_journal.has(entries, release.version, release_journal.PROMOTE, Phase.RESULT):
        return (Verdict.PROCEED, "promoted already", "tarsrelease status")
    refuse_without_journal(context, entries, seen.routes)
    _refuse_unproven(release, seen, entries)
    if not _upgraded(release, seen) and not _interrupted(seen):
        _patiently(context, lambda: _refuse_unchecked_stable(context, entries))
    pins = release_journal.pins(entries, release.version)
    keep = traffic.lease_and_lock_keeper(locked)
    with changing(_AGAIN):
        begins = partial(journal, context, STEP, release_journal.PROMOTE, Phase.INTENT)
        _patiently(context, begins)
        with report.phase("upgrade stable"):
            failed = _bring_up_stable(locked, seen, entries, keep)
        if failed is not None:
            refuse_overtaken(context)
            return _end_before_return(context, failed)
        at = max((route.weight for route in seen.routes), default=0)
        since = weights_since(seen.routes) or context.clock.now()
        good = {Track.STABLE, Track.CANARY}
        for weight in _weights_left(release, seen):
            if weight > 0 and Track.CANARY not in good:
                continue
            before = sides_with_traffic(locked, at if Track.CANARY in good else 0, since, keep)
            with report.phase(stage_name(weight)):
                since, step = _step_back(locked, weight, seen, before, keep)
            at = weight
            steps.append(step)
            if step.observation.verdict is Verdict.PROCEED:
                continue
            refuse_overtaken(context)
            if _aborted(step.observation):
                return _end_before_return(context, step.observation)
            if step.failed is Track.CANARY:
                context.say(f"{step.stage.name}: the canary fails; all traffic to stable")
                good.remove(Track.CANARY)
                continue
            if Track.CANARY not in good:
                return _both_fail(context, step)
            if step.observation.verdict is Verdict.ROLLBACK:
                _move_to_canary(context, step)
            traffic.move_all(context, Track.CANARY, step.observation.why)
            return (
                Verdict.HOLD,
                f"{step.stage.name} is inconclusive: {step.observation.why}; the canary, "
                f"which is proven, serves all requests",
                "run `tarsrelease promote` to try again",
            )
        with report.phase("drain"):
            drain(locked, since, partial(_keep_off, locked, keep))
        with report.phase("remove canary"):
            _patiently(context, partial(_finish, locked, pins))
    announce(context, Event.PROMOTED, reason=f"all traffic is on stable, {release.version}")
    return (
        Verdict.PROCEED,
        f"{context.rollout.application} {release.version} is stable and serves all requests; "
        "the canary is removed",
        "tarsrelease watch",
    )


def _patiently(context: Context, act: Callable[[], T]) -> T:
    return result_of(context.clock, patiently(context, STEP, act))


# (1) Read-only checks


def _await_routes(context: Context) -> list[RouteState] | FailedSide:
    """The routes; the side that fails meanwhile if the API server does not answer for long."""
    read = partial(context.cluster.routes.read, context.rollout.services)
    last, now = context.rollout.stages[-1].weight, context.clock.now()
    sides = sides_with_traffic(context, last, now, nothing_to_keep)
    return evaluate_beside(context, patiently(context, STEP, read), sides, after=SLOW)


def _refuse_unproven(release: Release, seen: Snapshot, entries: Sequence[Entry]) -> None:
    """Raise RefusedError unless the last stage proceeded and the routes are at it, or a promotion
    has already changed stable."""
    doing = f"promoting {release.version}"
    last = release.rollout.stages[-1]
    refuse_rolled_back(doing, release, entries)
    refuse_other_bytes(doing, release, entries)
    begun = release_journal.has(entries, release.version, release_journal.PROMOTE, Phase.INTENT)
    if begun and _stable_touched(release, seen):
        return
    changed = changed_by_others(
        seen.stable_history,
        release.version,
        release_journal.pins(entries, release.version),
        release_journal.accepted_revision(entries, release.version),
    )
    if changed is not None:
        raise RefusedError(
            doing=doing,
            found=f"somebody made revision {changed.number} of stable ({changed.app_version}) "
            "during the release",
            expected="the revision that served when the release began; a promotion replaces it",
            next_step="check that the release contains this change, then `tarsrelease resume "
            "--reason TEXT` accepts the revision; or `tarsrelease rollback`, which keeps it",
        )
    if not release_journal.passed(entries, release.version, last.weight):
        raise RefusedError(
            doing=doing,
            found=f"{last.name} has not proceeded",
            expected=f"verdict proceed of {last.name} in the journal",
            next_step=f"tarsrelease canary gate --stage {last.weight}",
        )
    elsewhere = [
        route
        for route in seen.routes
        if route.weight != last.weight or route.release != release.version
    ]
    if elsewhere or not seen.routes:
        where = f"{elsewhere[0].service} is at {elsewhere[0].weight} %" if elsewhere else "no route"
        raise RefusedError(
            doing=doing,
            found=where,
            expected=f"every route at {last.weight} % for {release.version}",
            next_step=f"tarsrelease canary gate --stage {last.weight}",
        )


def _stable_touched(release: Release, seen: Snapshot) -> bool:
    current = seen.stable_history[-1:]
    return any(same_version(revision.app_version, release.version) for revision in current) or any(
        same_version(state.version, release.version)
        for state in seen.deployments
        if state.name in stable_names(release.rollout)
    )


# (2) Stable


def _bring_up_stable(
    context: Context, seen: Snapshot, entries: Sequence[Entry], keep: Callable[[], None]
) -> Observation | None:
    """Upgrade stable and wait until it is complete; evaluate the canary, which has the traffic.

    None if stable is complete. The observation if the canary fails, or cannot be evaluated.
    Raises StoppedError if stable does not become complete.
    """
    version, limits, clock = context.release.version, context.environment.limits, context.clock
    pending = _bringing_up_stable(context, entries)
    weight = max((route.weight for route in seen.routes), default=0)
    found: Observation | str | None
    if weight == 0:
        found = result_of(clock, with_each_tick(pending, keep))
    else:
        last = context.rollout.stages[-1]
        since = weights_since(seen.routes) or clock.now()
        evaluation = StageEvaluation(
            stage=last.model_copy(update={"checks": last.measured_checks})
            if weight == last.weight
            else promotion_stage(last, weight, context.rollout.promotion.look),
            since=since,
            weight=weight,
            restarts_before=release_journal.restarts_at_shift(entries, version, since),
            each_tick=keep,
        )
        until = clock.now() + timedelta(seconds=limits.wait + limits.deploy)
        found = evaluate_meanwhile(context, evaluation, until, pending)
    if isinstance(found, Observation):
        return found
    if found is not None:
        problem = found
        raise StoppedError(
            doing=f"upgrading {context.rollout.application} to {version}",
            found=problem,
            expected=f"all of stable's replicas ready at {version}",
            next_step=f"the canary serves all requests; {_AGAIN}",
        )
    return None


def _bringing_up_stable(context: Context, entries: Sequence[Entry]) -> Task[str | None]:
    """The reason why stable is not complete, or None. Tries again without the API server."""
    version, limits = context.release.version, context.environment.limits
    pins = release_journal.pins(entries, version)
    yield from patiently(context, STEP, partial(_upgrade_stable, context, entries, pins))
    wanted = yield from patiently(context, STEP, partial(scale_stable, context, pins))
    return (yield from completing(context, wanted, version=version, deadline=limits.deploy))


def _upgrade_stable(context: Context, entries: Sequence[Entry], pins: Pins | None) -> None:
    """Upgrade stable with Helm and the canary's feature flags, unless that is done already."""
    release, rollout, limits = context.release, context.rollout, context.environment.limits
    charts, seen = context.cluster.charts, take_snapshot(context)
    current = seen.stable_history[-1:]
    if _upgraded(release, seen):
        return
    # Helm may take as long as its deadline, and nothing extends the lease meanwhile.
    traffic.extend_lease(context, 2 * limits.deploy + traffic.lease_seconds(context.environment))
    if _interrupted(seen):
        good = last_good(seen.stable_history, release.version, pins)
        context.say(f"an upgrade of {rollout.application} was interrupted ({current[0].status})")
        if good is not None:
            charts.rollback(rollout.application, good.number, deadline=limits.deploy, wait=False)
        _refuse_unchecked_stable(context, entries)
    context.say(
        f"upgrading {rollout.application} to {release.version}; the canary serves all requests"
    )
    charts.upgrade(
        rollout.application,
        release.chart,
        _stable_values(context, entries),
        values_from=rollout.application,
        deadline=limits.deploy,
        wait=False,
    )


def _upgraded(release: Release, seen: Snapshot) -> bool:
    return any(
        revision.status == "deployed" and same_version(revision.app_version, release.version)
        for revision in seen.stable_history[-1:]
    )


def _interrupted(seen: Snapshot) -> bool:
    return any(each.status.startswith("pending") for each in seen.stable_history[-1:])


def _stable_values(context: Context, entries: Sequence[Entry]) -> list[Mapping[str, Any]]:
    flags_on = release_journal.feature_flags(entries, context.release.version)
    own, pins = context.environment.helm.values, context.release.manifest.image_values
    return [own, *([context.rollout.feature_flags] if flags_on else []), pins]


def _refuse_unchecked_stable(context: Context, entries: Sequence[Entry]) -> None:
    """Raise RefusedError if the upgrade would apply an image from elsewhere, or other objects than
    the chart renders."""
    application = context.rollout.application
    values = _stable_values(context, entries)
    checked = context.cluster.charts.render(
        application, context.release.chart, values, values_from=application
    )
    refuse_unchecked(context, application, values, checked)


def _aborted(observation: Observation) -> bool:
    return any(check.id == ABORTED for check in observation.checks)


def _end_before_return(context: Context, failed: Observation) -> tuple[Verdict, str, str]:
    """The end of a promotion whose canary fails before traffic is back on stable.

    Moves all traffic to stable if that has ready pods, which run the old version or the new one.
    An abort has moved the traffic already.
    """
    if failed.protection is not None:
        traffic.move_all(context, Track.STABLE, failed.protection.reason)
        return Verdict.HOLD, f"the canary lost its pods: {failed.protection.reason}", _AGAIN
    if failed.verdict is not Verdict.ROLLBACK:
        return Verdict.HOLD, f"the canary, which serves: {failed.why}", _AGAIN
    if not _aborted(failed):
        states = _patiently(context, context.cluster.workloads.deployments)
        _journal_failure(context, failed)
        side = serving_side(context.rollout, states, None, Track.CANARY)
        traffic.move_all(context, side.track, failed.why)
        return Verdict.ROLLBACK, f"while stable is upgraded: {failed.why}", _ROLL_BACK
    return Verdict.ROLLBACK, failed.why, _ROLL_BACK


def _both_fail(context: Context, step: PromotionStep) -> tuple[Verdict, str, str]:
    """The end of a promotion whose canary failed and whose stable is not proven, either."""
    why = f"the canary failed, and {step.stage.name}: {step.observation.why}"
    _journal_failure(context, step.observation)
    return Verdict.ROLLBACK, why, _ROLL_BACK


def _journal_failure(context: Context, failed: Observation) -> None:
    last = context.rollout.stages[-1]
    facts = GateFacts(weight=last.weight, verdict=Verdict.ROLLBACK, cause=Cause.of(failed.checks))
    journal_if_possible(context, STEP, release_journal.GATE, Phase.RESULT, facts)


# (3) Move traffic back


def _weights_left(release: Release, seen: Snapshot) -> list[int]:
    """The promotion's weights that are left, including the one that the routes are at."""
    weights = list(release.rollout.promotion.weights)
    stages = {route.stage for route in seen.routes}
    if stages == {PROMOTED}:
        return []
    if stages == {traffic.OFF}:
        return [weight for weight in weights if weight == 0]
    for number, weight in enumerate(weights):
        if stages == {stage_name(weight)}:
            return weights[number:]
    return weights


def _step_back(
    context: Context,
    weight: int,
    seen: Snapshot,
    before: Sequence[StageEvaluation],
    keep: Callable[[], None],
) -> tuple[datetime, PromotionStep]:
    """One step: shift, unless the routes are at this weight already, and evaluate stable.

    The canary is evaluated, too, while it has traffic, until stable has a verdict. `before` are
    the evaluations of the sides that have traffic before a shift, if that takes long.
    """
    rollout, began = context.rollout, context.clock.now()
    stage = promotion_stage(rollout.stages[-1], weight, rollout.promotion.seconds_at(weight))
    past = read_burstiness(context, stage)
    since = at_stage_since(context.release, stage, seen.routes)
    if since is None:
        shifting = traffic.shifting(context, weight, stage.name)
        shifted = evaluate_beside(context, shifting, before, after=SLOW)
        if isinstance(shifted, FailedSide):
            return began, PromotionStep.of(stage, began, shifted.observation, shifted.track)
        since = shifted
    else:
        context.say(f"{stage.name}: at {weight} % since {since:%H:%M:%S} UTC; evaluating")
    judged = StageEvaluation(
        stage=stage, since=since, weight=weight, track=Track.STABLE, past=past, each_tick=keep
    )
    sides = []
    if weight > 0:
        as_long = stage.model_copy(update={"duration": stage.duration + stage.max_extension})
        beside = replace(judged, stage=as_long, track=Track.CANARY, each_tick=nothing_to_keep)
        sides.append(beside)
    found = evaluate_beside(context, evaluating(context, judged), sides)
    if isinstance(found, FailedSide):
        return since, PromotionStep.of(stage, since, found.observation, Track.CANARY)
    failed = Track.STABLE if found.verdict is Verdict.ROLLBACK else None
    return since, PromotionStep.of(stage, since, found, failed)


def _move_to_canary(context: Context, step: PromotionStep) -> None:
    """Stable failed at the new version: move all traffic to the canary. Raises StoppedError."""
    why = step.observation.why
    traffic.move_all(context, Track.CANARY, why)
    raise StoppedError(
        doing=f"moving traffic back to stable ({step.stage.name})",
        found=why,
        expected="stable passes the checks that the canary passed",
        next_step="the canary serves all requests; compare stable with the canary, then " + _AGAIN,
    )


# (4) Remove the canary


def _keep_off(context: Context, keep: Callable[[], None]) -> None:
    """Extend the lease; move traffic again that somebody gave to the canary while it drains."""
    keep()
    try:
        traffic.move_all_again(context, Track.STABLE, "the canary is being removed")
    except UnreachableError as error:
        context.say(f"drain: the routes cannot be read ({error})")


def _finish(context: Context, pins: Pins | None) -> None:
    """Remove the canary, release the pins, and journal the end; can be done again."""
    retire(context, PROMOTED)
    remove_canary(context)
    pinning.unpin(context, pins)
    journal(context, STEP, release_journal.PROMOTE, Phase.RESULT)
