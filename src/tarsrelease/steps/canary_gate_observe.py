"""`canary gate --observe`: judges a rollout that something else moves, and changes nothing.

Argo Rollouts, a mesh, or a person sets the weights; the checks are those of a stage. No share of
the traffic is expected, no lock is taken, and no journal is asked.
"""

from __future__ import annotations

from functools import partial

from tarsrelease.gates.checks import judged
from tarsrelease.gates.external_rollout import without_pods
from tarsrelease.model.environment import Environment
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.release import Release
from tarsrelease.operations.decision import Decision
from tarsrelease.operations.evaluation import observe
from tarsrelease.operations.outcome import ended
from tarsrelease.operations.past_requests import read_burstiness
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Workloads
from tarsrelease.ports.metrics import ExternalAnswers, Metrics
from tarsrelease.ports.people import Progress


def watch(
    release: Release,
    environment: Environment,
    *,
    weight: int | None,
    seconds: float | None,
    metrics: Metrics,
    workloads: Workloads,
    clock: Clock,
    progress: Progress,
    elsewhere: ExternalAnswers | None = None,
) -> Outcome:
    """Judge the canary for `seconds` from now (None: the stage's duration) by a stage's checks.

    The stage is that of `weight`, or the last. What is inconclusive at the end is a hold; nothing
    is extended, as whoever moves the traffic waits for the answer.
    """
    started_at = clock.now()
    rollout = release.rollout
    stage = rollout.stages[-1] if weight is None else rollout.stage(weight)
    stage = stage.model_copy(update={"duration": seconds or stage.duration, "max_extension": 0.0})
    there = {found.name for found in workloads.deployments()}
    names = {
        n for n, deployment in judged(rollout, Track.CANARY).items() if deployment not in there
    }
    if names:
        progress.say(f"no Deployment of {', '.join(sorted(names))}: requests alone are judged")
    seen = observe(
        release,
        environment,
        stage,
        started_at,
        track=Track.CANARY,
        weight=None,
        metrics=metrics,
        workloads=workloads,
        clock=clock,
        progress=progress,
        alive=lambda: None,
        elsewhere=elsewhere,
        past=read_burstiness(
            release.rollout,
            environment,
            stage,
            history=metrics,
            clock=clock,
            progress=progress,
        ),
        seen_as=partial(without_pods, stage=stage, unknown=frozenset(names)),
    )
    decision = Decision.of(seen)
    return ended(
        "gate",
        release,
        environment,
        decision.verdict,
        f"observed for {(decision.at - started_at).total_seconds():.0f} s by the checks of "
        f"{stage.name}: {decision.verdict}: {decision.why}",
        started_at=started_at,
        clock=clock,
        checks=decision.checks,
        details={"mode": "observe", **decision.details(release, stage, started_at)},
        next_step=_NEXT[decision.verdict],
    )


_NEXT = {
    Verdict.PROCEED: "whatever moves the traffic may go on",
    Verdict.HOLD: "find out why it cannot be told; nothing was changed",
    Verdict.ROLLBACK: "take the traffic off the canary: nothing was changed here",
}
