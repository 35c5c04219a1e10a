"""Promote: bring stable to the new version, move traffic back to it in steps, remove the canary.

(1) Look, and refuse unless the last stage's gate proceeded, or a promotion was cut off.
(2) Upgrade stable by Helm while the canary, which is proven, serves everything.
(3) Move the traffic back in steps, with an evaluation of stable at each.
(4) Let the canary's last requests end; then take it out of the routes and remove it.

Killed at any point it can be run again: what is done shows on the cluster and is not done twice.
An evaluation that fails moves all traffic to the canary.
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
from tarsrelease.operations.snapshot import refuse_rolled_back, take_snapshot
from tarsrelease.ports.cluster import holding
from tarsrelease.rollout import release_journal
from tarsrelease.rollout.release_journal import Pins
from tarsrelease.rollout.rollback_plan import last_good, same_version, stable_names
from tarsrelease.rollout.standing import at_stage_since, standing_since

STEP = "promote"
PROMOTED = "promoted"
"""The stage written to the routes when the canary has left them after a promotion."""
_AGAIN = "run `tarsrelease promote` again, or `tarsrelease rollback`"


def promote(context: Context) -> Outcome:
    """Promote. Raises RefusedError unless the 100 % stage proceeded, StoppedError where the way
    forward is blocked after something was changed; ends in hold where an evaluation cannot be
    decided.
    """
    report, release = StepReport(context, STEP), context.release
    steps: list[PromotionStep] = []

    def outcome(verdict: Verdict, summary: str, next_step: str) -> Outcome:
        return report.outcome(
            verdict,
            summary,
            checks=steps[-1].seen.checks if steps else (),
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
            since = standing_since(seen.routes) or context.clock.now()
            for weight in _weights_left(release, seen):
                with report.phase(stage_name(weight)):
                    since, step = _step_back(context, weight, seen, keep)
                steps.append(step)
                if step.seen.verdict is Verdict.ROLLBACK:
                    _move_to_canary(context, step)
                if step.seen.verdict is Verdict.HOLD:
                    return outcome(
                        Verdict.HOLD,
                        f"{step.stage.name} cannot be decided; the canary has {weight} %, and "
                        "both sides run the new version",
                        "tarsrelease promote goes on from here",
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
        f"{context.rollout.application} {release.version} is stable and serves everything; "
        "nothing of the canary is left",
        "watch it: tarsrelease status",
    )


# (1) Look


def _refuse_unproven(release: Release, seen: Snapshot, entries: Sequence[Entry]) -> None:
    """Refuse unless the last stage's gate proceeded and the routes are there; a promotion that
    was begun may go on, wherever its traffic is."""
    doing = f"promoting {release.version}"
    last = release.rollout.stages[-1]
    refuse_rolled_back(doing, release, entries)
    begun = release_journal.has(entries, release.version, release_journal.PROMOTE, Phase.INTENT)
    if begun and _stable_touched(release, seen):
        return
    if not release_journal.passed(entries, release.version, last.weight):
        raise RefusedError(
            doing=doing,
            found=f"the journal has no {last.name} that proceeded",
            expected=f"the {last.weight} % stage to have proceeded",
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
    """Helm upgrade of stable, with the feature flags that the canary was proven with.

    Nothing where it is done already.
    """
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
        context.say(f"an upgrade of {rollout.application} was cut off ({current[0].status})")
        if good is not None:
            charts.rollback(rollout.application, good.number, deadline=limits.deploy, wait=False)
    context.say(f"upgrading {rollout.application} to {release.version}; the canary serves")
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
            expected="all of stable's replicas ready at the new version",
            next_step=f"the canary serves all requests; {_AGAIN}",
        )


# (3) Traffic back


def _weights_left(release: Release, seen: Snapshot) -> list[int]:
    """The promotion's weights, from the one at which the routes are, if they are at one."""
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
    """One step: the shift, unless the routes are there, and the evaluation of stable."""
    rollout = context.rollout
    stage = promotion_stage(rollout.stages[-1], weight, rollout.promotion.look)
    past = read_burstiness(context, stage)
    since = at_stage_since(context.release, stage, seen.routes)
    if since is None:
        since = traffic.shift(context, weight, stage.name)
    else:
        context.say(f"{stage.name}: the routes are there since {since:%H:%M:%S}")
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
    """Stable fails at the new version: the canary, which is proven, serves again. Raises."""
    why = step.seen.why
    traffic.move_all(context, Track.CANARY, why)
    raise StoppedError(
        doing=f"moving the traffic back to stable ({step.stage.name})",
        found=why,
        expected="an upgraded stable that passes what the canary passed",
        next_step="the canary serves all requests; find out what differs between the two, then "
        + _AGAIN,
    )
