"""Promote: upgrade stable, move traffic back to it in steps, remove the canary.

(1) Check that the last stage proceeded, or that a promotion was interrupted.
(2) Upgrade stable with Helm while the canary serves all requests.
(3) Move traffic back in steps, and evaluate stable at each.
(4) Wait for the canary's last requests, then remove it from the routes and the cluster.

A killed promotion can be run again: it skips what is done. If an evaluation fails, all traffic
moves to the canary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from tarsrelease.context import Context
from tarsrelease.model.cluster import Snapshot
from tarsrelease.model.details import Details
from tarsrelease.model.errors import RefusedError, StoppedError
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.release import Release
from tarsrelease.operations import pinning, traffic
from tarsrelease.operations.drain import drain
from tarsrelease.operations.evaluation import StageEvaluation, evaluate_stage
from tarsrelease.operations.journaling import journal
from tarsrelease.operations.outcome import StepReport, changing
from tarsrelease.operations.past_requests import read_burstiness
from tarsrelease.operations.promotion_evaluation import PromotionStep, promotion_stage, stage_name
from tarsrelease.operations.removal import remove_canary, retire
from tarsrelease.operations.scaling import complete_stable
from tarsrelease.operations.snapshot import refuse_other_bytes, refuse_rolled_back, take_snapshot
from tarsrelease.ports.cluster import holding
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.release_journal import Pins
from tarsrelease.rollout.rollback_plan import last_good, same_version, stable_names
from tarsrelease.rollout.weights_since import at_stage_since, weights_since

STEP = "promote"
PROMOTED = "promoted"
"""The stage written to the routes when the canary has left them after a promotion."""
_AGAIN = "run `tarsrelease promote` again, or `tarsrelease rollback`"


def promote(context: Context) -> Outcome:
    """Promote. Hold if an evaluation is inconclusive.

    Raises RefusedError unless the last stage proceeded, StoppedError if it fails after a change.
    """
    report, release = StepReport(context, STEP), context.release
    steps: list[PromotionStep] = []

    def outcome(verdict: Verdict, summary: str, next_step: str) -> Outcome:
        return report.outcome(
            verdict,
            summary,
            checks=steps[-1].observation.checks if steps else (),
            details=Details(phases=report.seconds, stages=tuple(each.row() for each in steps)),
            next_step=next_step,
        )

    with holding(context.cluster.lock):
        seen, entries = take_snapshot(context), context.cluster.journal.entries()
        if release_journal.has(entries, release.version, release_journal.PROMOTE, Phase.RESULT):
            return outcome(Verdict.PROCEED, "promoted already", "tarsrelease status")
        _refuse_unproven(release, seen, entries)
        pins = release_journal.pins(entries, release.version)
        keep = traffic.lease_and_lock_keeper(context)
        with changing(_AGAIN):
            journal(context, STEP, release_journal.PROMOTE, Phase.INTENT)
            with report.phase("upgrade stable"):
                _upgrade_stable(context, seen, entries, pins)
                _complete_stable(context, pins, keep)
            since = weights_since(seen.routes) or context.clock.now()
            for weight in _weights_left(release, seen):
                with report.phase(stage_name(weight)):
                    since, step = _step_back(context, weight, seen, keep)
                steps.append(step)
                if step.observation.verdict is Verdict.ROLLBACK:
                    _move_to_canary(context, step)
                if step.observation.verdict is Verdict.HOLD:
                    return outcome(
                        Verdict.HOLD,
                        f"{step.stage.name} is inconclusive; the canary has {weight} %, and "
                        f"stable and canary run {release.version}",
                        "run `tarsrelease promote` to continue from here",
                    )
            with report.phase("drain"):
                drain(context, since, keep)
            with report.phase("remove canary"):
                retire(context, PROMOTED)
                remove_canary(context)
                pinning.unpin(context, pins)
            journal(context, STEP, release_journal.PROMOTE, Phase.RESULT)
    return outcome(
        Verdict.PROCEED,
        f"{context.rollout.application} {release.version} is stable and serves all requests; "
        "the canary is removed",
        "tarsrelease watch",
    )


# (1) Read-only checks


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


def _upgrade_stable(
    context: Context, seen: Snapshot, entries: Sequence[Entry], pins: Pins | None
) -> None:
    """Upgrade stable with Helm and the canary's feature flags, unless that is done already."""
    release, rollout, limits = context.release, context.rollout, context.environment.limits
    charts, current = context.cluster.charts, seen.stable_history[-1:]
    if any(
        revision.status == "deployed" and same_version(revision.app_version, release.version)
        for revision in current
    ):
        return
    # Helm may take as long as its deadline, and nothing extends the lease meanwhile.
    traffic.extend_lease(context, 2 * limits.deploy + traffic.lease_seconds(context.environment))
    if current and current[0].status.startswith("pending"):
        good = last_good(seen.stable_history, release.version, pins)
        context.say(f"an upgrade of {rollout.application} was interrupted ({current[0].status})")
        if good is not None:
            charts.rollback(rollout.application, good.number, deadline=limits.deploy, wait=False)
    context.say(
        f"upgrading {rollout.application} to {release.version}; the canary serves all requests"
    )
    flags_on = release_journal.feature_flags(entries, release.version)
    charts.upgrade(
        rollout.application,
        release.chart,
        [context.environment.helm.values, *([rollout.feature_flags] if flags_on else [])],
        values_from=rollout.application,
        deadline=limits.deploy,
        wait=False,
    )


def _complete_stable(context: Context, pins: Pins | None, keep: Callable[[], None]) -> None:
    version = context.release.version
    problem = complete_stable(
        context,
        pins,
        version=version,
        deadline=context.environment.limits.deploy,
        each_tick=keep,
    )
    if problem is not None:
        raise StoppedError(
            doing=f"upgrading {context.rollout.application} to {version}",
            found=problem,
            expected=f"all of stable's replicas ready at {version}",
            next_step=f"the canary serves all requests; {_AGAIN}",
        )


# (3) Move traffic back


def _weights_left(release: Release, seen: Snapshot) -> list[int]:
    """The promotion's weights that are left, including the one that the routes are at."""
    weights = list(release.rollout.promotion.weights)
    stages = {route.stage for route in seen.routes}
    if stages == {PROMOTED}:
        return []
    for number, weight in enumerate(weights):
        if stages == {stage_name(weight)}:
            return weights[number:]
    return weights


def _step_back(
    context: Context, weight: int, seen: Snapshot, keep: Callable[[], None]
) -> tuple[datetime, PromotionStep]:
    """One step: shift, unless the routes are at this weight already, and evaluate stable."""
    rollout = context.rollout
    stage = promotion_stage(rollout.stages[-1], weight, rollout.promotion.look)
    past = read_burstiness(context, stage)
    since = at_stage_since(context.release, stage, seen.routes)
    if since is None:
        since = traffic.shift(context, weight, stage.name)
    else:
        context.say(f"{stage.name}: at {weight} % since {since:%H:%M:%S} UTC; evaluating")
    found = evaluate_stage(
        context,
        StageEvaluation(
            stage=stage,
            since=since,
            weight=weight,
            track=Track.STABLE,
            past=past,
            each_tick=keep,
        ),
    )
    seconds = (found.decided_at - since).total_seconds()
    return since, PromotionStep(stage, round(seconds, 3), found)


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
