"""`canary gate --observe`: judge a rollout that another tool moves, without changing anything.

Argo Rollouts, a mesh or a person sets the weights; the checks are those of a stage. Does not
check the traffic share, take the lock or read the journal.
"""

from __future__ import annotations

from functools import partial

from tarsrelease.context import Context
from tarsrelease.gates.checks import judged
from tarsrelease.gates.external_rollout import without_pods
from tarsrelease.model.format import duration
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.step_details import GateDetails
from tarsrelease.operations.evaluation import StageEvaluation, evaluate_stage
from tarsrelease.operations.outcome import StepReport
from tarsrelease.operations.past_requests import read_burstiness

STEP = "gate"


def judge_external(context: Context, weight: int | None, seconds: float | None) -> Outcome:
    """Judge the canary for `seconds` from now (None: the stage's duration) by a stage's checks.

    The stage is that of `weight`, or the last. Inconclusive checks at the end mean hold, without
    an extension, because the tool that moves the traffic waits for the verdict.
    """
    report, rollout = StepReport(context, STEP), context.rollout
    stage = rollout.stages[-1] if weight is None else rollout.stage(weight)
    stage = stage.model_copy(update={"duration": seconds or stage.duration, "max_extension": 0.0})
    there = {found.name for found in context.cluster.workloads.deployments()}
    unknown = frozenset(
        name
        for name, deployment in judged(rollout, Track.CANARY).items()
        if deployment not in there
    )
    if unknown:
        context.say(f"no Deployment of {', '.join(sorted(unknown))}: checking requests only")
    seen = evaluate_stage(
        context,
        StageEvaluation(
            stage=stage,
            since=report.started_at,
            weight=None,
            past=read_burstiness(context, stage),
            present=partial(without_pods, stage=stage, unknown=unknown),
        ),
    )
    took = (seen.decided_at - report.started_at).total_seconds()
    return report.outcome(
        seen.verdict,
        f"observed for {duration(took)} by the checks of {stage.name}: {seen.verdict}: {seen.why}",
        checks=seen.checks,
        details=GateDetails(
            mode="observe", **seen.details(context.release, stage, report.started_at).given()
        ),
        next_step=_NEXT[seen.verdict],
    )


_NEXT = {
    Verdict.PROCEED: "continue the rollout in the tool that moves the traffic",
    Verdict.HOLD: "find out why it cannot be decided; nothing was changed",
    Verdict.ROLLBACK: "move all traffic back to stable; --observe changes nothing",
}
