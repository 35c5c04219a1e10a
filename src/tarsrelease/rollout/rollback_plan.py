"""What a rollback does, in which order, and why: a pure function of what was observed.

Traffic goes first, to the side that is proven good. Before promotion that is stable. Once stable
has been touched, the canary, if it is ready, serves while Helm restores stable, and the traffic
goes home after that. A side without ready pods never gets the traffic while the other has some,
and nothing is removed that still serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from tarsrelease.model.base import Value
from tarsrelease.model.cluster import DeploymentState, Revision, Snapshot
from tarsrelease.model.measurement import Track
from tarsrelease.model.rollout import Rollout
from tarsrelease.rollout.release_journal import Pins

_GOOD = ("deployed", "superseded")


class Action(StrEnum):
    """What a phase does."""

    TRAFFIC = "traffic"
    RESTORE = "restore-stable"
    STOP_WORKERS = "stop-canary-workers"
    RETIRE = "routes-without-canary"
    REMOVE = "remove-canary"
    UNPIN = "unpin"
    PROVE = "prove"


class PlannedPhase(Value):
    """One phase. `to` is where traffic goes, `revision` what Helm goes back to (None: stays)."""

    action: Action
    reason: str
    to: Track | None = None
    revision: int | None = None


class Side(Value):
    """The side that serves first, and why it."""

    track: Track
    reason: str


class RollbackPlan(Value):
    """The phases in order, and the version that serves afterwards."""

    version: str | None
    phases: tuple[PlannedPhase, ...]

    def lines(self) -> list[str]:
        """The plan for people, one line a phase."""
        return [f"{_words(phase)}: {phase.reason}" for phase in self.phases]


def same_version(one: str, other: str) -> bool:
    """Whether two versions are the same; a leading v does not matter."""
    return one.removeprefix("v") == other.removeprefix("v")


def last_good(history: Sequence[Revision], new: str, pinned: Pins | None) -> Revision | None:
    """The newest revision of stable that worked and is not the new version.

    Worked is what Helm calls deployed or superseded; failed and pending ones are passed over.
    Where the journal says which revision was serving, complete, when the release began, it is
    that one; else, after a rollback has made a new one of it, the newest of that version.
    """
    candidates = [
        revision
        for revision in history
        if revision.status in _GOOD and not same_version(revision.app_version, new)
    ]
    if pinned is not None:
        serving = [c for c in candidates if same_version(c.app_version, pinned.version)]
        exactly = [c for c in serving if c.number == pinned.revision]
        candidates = exactly or serving or candidates
    return max(candidates, key=lambda revision: revision.number, default=None)


def _capacities(
    rollout: Rollout, found: dict[str, DeploymentState], pinned: Pins | None
) -> tuple[float, float]:
    """Ready replicas of (stable, canary) as a share of stable's pinned ones, worst service."""
    stable, canary = [], []
    for service in rollout.services:
        state = found.get(service.stable.deployment)
        other = found.get(service.canary.deployment)
        known = pinned.replicas.get(service.stable.deployment) if pinned else None
        wanted = max(1, known or (state.replicas if state else 1))
        stable.append(state.ready / wanted if state else 0.0)
        canary.append(other.ready / wanted if other else 0.0)
    return min(stable), min(canary)


def stable_names(rollout: Rollout) -> list[str]:
    """Stable's Deployments, workers included."""
    return [service.stable.deployment for service in rollout.services] + [
        worker.stable for worker in rollout.workers
    ]


def canary_names(rollout: Rollout) -> list[str]:
    """The canary's Deployments, workers included."""
    return [service.canary.deployment for service in rollout.services] + [
        worker.canary for worker in rollout.workers
    ]


def serving_side(
    rollout: Rollout, deployments: Sequence[DeploymentState], pinned: Pins | None
) -> Side:
    """Where all traffic goes first. Needs the Deployments only, so that nothing delays it."""
    found = {state.name: state for state in deployments}
    touched = [
        name
        for name in stable_names(rollout)
        if (state := found.get(name)) and same_version(state.version, rollout.version)
    ]
    stable, canary = _capacities(rollout, found, pinned)
    if not touched:
        if stable > 0 or canary == 0:
            return Side(
                track=Track.STABLE, reason="stable was not touched and is proven by its past"
            )
        return Side(
            track=Track.CANARY,
            reason="stable has a service without a ready pod; the canary has not",
        )
    if canary > 0 and canary >= min(1.0, stable):
        return Side(
            track=Track.CANARY,
            reason=f"stable is being changed ({', '.join(touched)}); the canary serves meanwhile",
        )
    return Side(
        track=Track.STABLE,
        reason="stable was changed, but the canary cannot carry the traffic "
        f"({canary:.0%} of the replicas are ready, stable has {stable:.0%})",
    )


def plan(snapshot: Snapshot, rollout: Rollout, pinned: Pins | None) -> RollbackPlan:
    """The phases that lead from what was observed back to the version that served before."""
    found = {state.name: state for state in snapshot.deployments}
    side = serving_side(rollout, snapshot.deployments, pinned)
    good = last_good(snapshot.stable_history, rollout.version, pinned)
    version = good.app_version if good else pinned.version if pinned else None
    phases = [PlannedPhase(action=Action.TRAFFIC, to=side.track, reason=side.reason)]
    restore = _restore(snapshot, rollout, pinned, good, found)
    if restore is not None:
        phases.append(restore)
    if side.track is Track.CANARY:
        phases.append(
            PlannedPhase(
                action=Action.TRAFFIC, to=Track.STABLE, reason="stable is the old version again"
            )
        )
    workers = [
        worker.canary
        for worker in rollout.workers
        if (state := found.get(worker.canary)) and state.replicas > 0
    ]
    if workers:
        phases.append(
            PlannedPhase(
                action=Action.STOP_WORKERS,
                reason=f"{', '.join(workers)} must not go on working on what stable works on",
            )
        )
    phases.append(
        PlannedPhase(action=Action.RETIRE, reason="a route may not name a Service that is removed")
    )
    left = [name for name in canary_names(rollout) if name in found]
    if snapshot.canary_history or left:
        phases.append(
            PlannedPhase(
                action=Action.REMOVE,
                reason=f"Helm release {rollout.canary_release}"
                + (f" with {', '.join(left)}" if left else "")
                + ("" if snapshot.canary_history else ", of which Helm knows nothing"),
            )
        )
    if pinned is not None and pinned.minimums:
        phases.append(
            PlannedPhase(
                action=Action.UNPIN,
                reason="the minimum of "
                + ", ".join(f"{name} was {least}" for name, least in pinned.minimums.items()),
            )
        )
    phases.append(
        PlannedPhase(
            action=Action.PROVE,
            reason=f"version {version or 'of before'} must be seen to serve all requests",
        )
    )
    return RollbackPlan(version=version, phases=tuple(phases))


def _restore(
    snapshot: Snapshot,
    rollout: Rollout,
    pinned: Pins | None,
    good: Revision | None,
    found: dict[str, DeploymentState],
) -> PlannedPhase | None:
    """Helm back to the last good revision where stable was touched; missing replicas back."""
    current = snapshot.stable_history[-1] if snapshot.stable_history else None
    changed = [
        name
        for name in stable_names(rollout)
        if name in found and same_version(found[name].version, rollout.version)
    ]
    if current is not None and same_version(current.app_version, rollout.version):
        why = f"revision {current.number} is {rollout.version} ({current.status})"
    elif current is not None and current.status != "deployed":
        why = f"revision {current.number} is {current.status}"
    elif changed:
        why = f"{', '.join(changed)} run {rollout.version}"
    else:
        short = [
            name
            for name, wanted in (pinned.replicas if pinned else {}).items()
            if name in found and (found[name].replicas < wanted or not found[name].complete)
        ]
        if not short:
            return None
        return PlannedPhase(
            action=Action.RESTORE, reason=f"{', '.join(short)} lack replicas; Helm is not needed"
        )
    number = good.number if good else None
    target = f"back to revision {number}" if number else "no good revision is known"
    return PlannedPhase(action=Action.RESTORE, reason=f"{why}: {target}", revision=number)


_WORDS = {
    Action.RESTORE: "restore stable",
    Action.STOP_WORKERS: "stop the canary's workers",
    Action.RETIRE: "take the canary out of the routes",
    Action.REMOVE: "remove the canary",
    Action.UNPIN: "give the autoscalers their minimum back",
    Action.PROVE: "prove it",
}


def _words(phase: PlannedPhase) -> str:
    return _WORDS.get(phase.action) or f"all traffic to {phase.to}"
