"""What a rollback does, in which order, and why: a pure function of the snapshot.

Traffic moves first. Before promotion, it moves to stable. Once the promotion has changed stable,
the canary serves if it is ready, while Helm restores stable; then traffic moves to stable. A side
without ready pods never gets traffic while the other side has some. Nothing that still serves is
removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from tarsrelease.model.base import Value
from tarsrelease.model.cluster import DeploymentState, Revision, Snapshot
from tarsrelease.model.measurement import Track
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.versions import same_version
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
    """One phase. `to`: the side that gets traffic. `revision`: the one Helm restores, or None."""

    action: Action
    reason: str
    to: Track | None = None
    revision: int | None = None


class Side(Value):
    """The side that serves first, and the reason."""

    track: Track
    reason: str


class RollbackPlan(Value):
    """The phases in order, and the version that serves afterwards."""

    version: str | None
    phases: tuple[PlannedPhase, ...]

    def lines(self) -> list[str]:
        """The plan as text, one line per phase."""
        return [f"{_words(phase)}: {phase.reason}" for phase in self.phases]


def last_good(history: Sequence[Revision], new: str, pinned: Pins | None) -> Revision | None:
    """The newest revision of stable that worked and is not the new version.

    A revision worked if Helm calls it deployed or superseded. If the journal says which revision
    served when the release began, it is that one or a later one: a hot fix that a person installed
    during the release stays.
    """
    candidates = [
        revision
        for revision in history
        if revision.status in _GOOD and not same_version(revision.app_version, new)
    ]
    if pinned is not None:
        serving = [c for c in candidates if same_version(c.app_version, pinned.version)]
        later = [c for c in candidates if c.number >= pinned.revision]
        candidates = later or serving or candidates
    return max(candidates, key=lambda revision: revision.number, default=None)


def changed_by_others(
    history: Sequence[Revision], release: str, pinned: Pins | None, accepted: int | None
) -> Revision | None:
    """Stable's current revision if others made it since the release began; else None.

    `accepted`: the revision that a person accepted.
    """
    current = history[-1] if history else None
    if current is None or pinned is None or same_version(current.app_version, release):
        return None
    return None if current.number in (pinned.revision, accepted) else current


def _capacities(
    rollout: Rollout, found: dict[str, DeploymentState], pinned: Pins | None
) -> tuple[float, float]:
    """Ready replicas of (stable, canary) over stable's pinned count, of the worst service."""
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
    rollout: Rollout,
    deployments: Sequence[DeploymentState],
    pinned: Pins | None,
    failed: Track | None = None,
) -> Side:
    """The side to move all traffic to first. Needs only the Deployments, to be fast.

    `failed` is the side that was proven bad, if the journal could be read and says so.
    """
    found = {state.name: state for state in deployments}
    touched = [
        name
        for name in stable_names(rollout)
        if (state := found.get(name)) and same_version(state.version, rollout.version)
    ]
    stable, canary = _capacities(rollout, found, pinned)
    if not touched:
        if stable > 0 or canary == 0:
            return Side(track=Track.STABLE, reason="the release has not changed stable")
        return Side(
            track=Track.CANARY,
            reason="a service of stable has no ready pod; every service of the canary has one",
        )
    if failed is Track.CANARY and stable > 0:
        return Side(track=Track.STABLE, reason="the canary fails; stable has ready pods")
    if canary > 0 and canary >= min(1.0, stable):
        return Side(
            track=Track.CANARY,
            reason=f"the release has changed stable ({', '.join(touched)}); "
            "the canary serves until stable is restored",
        )
    return Side(
        track=Track.STABLE,
        reason="the release has changed stable, but the canary cannot serve all traffic "
        f"(ready replicas: canary {canary:.0%}, stable {stable:.0%})",
    )


def plan(
    snapshot: Snapshot, rollout: Rollout, pinned: Pins | None, failed: Track | None = None
) -> RollbackPlan:
    """The phases from the snapshot back to the version that served before the release."""
    found = {state.name: state for state in snapshot.deployments}
    side = serving_side(rollout, snapshot.deployments, pinned, failed)
    good = last_good(snapshot.stable_history, rollout.version, pinned)
    version = good.app_version if good else pinned.version if pinned else None
    phases = [PlannedPhase(action=Action.TRAFFIC, to=side.track, reason=side.reason)]
    restore = _restore(snapshot, rollout, pinned, good, found)
    if restore is not None:
        phases.append(restore)
    if side.track is Track.CANARY:
        phases.append(
            PlannedPhase(
                action=Action.TRAFFIC,
                to=Track.STABLE,
                reason="stable runs the previous version again",
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
                reason=f"{', '.join(workers)} must not process the same jobs as stable's workers",
            )
        )
    phases.append(
        PlannedPhase(action=Action.RETIRE, reason="a route must not name a removed Service")
    )
    left = [name for name in canary_names(rollout) if name in found]
    if snapshot.canary_history or left:
        phases.append(
            PlannedPhase(
                action=Action.REMOVE,
                reason=f"Helm release {rollout.canary_release}"
                + (f" with {', '.join(left)}" if left else "")
                + ("" if snapshot.canary_history else ", which is not in Helm's history"),
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
    served = f"version {version}" if version else "the previous version"
    phases.append(
        PlannedPhase(
            action=Action.PROVE,
            reason=f"{served} must serve all requests",
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
    """Restore the last good revision if stable was changed, and stable's missing replicas."""
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
            action=Action.RESTORE,
            reason=f"{', '.join(short)} lack replicas; Helm has nothing to restore",
        )
    number = good.number if good else None
    target = f"restore revision {number}" if number else "no good revision is known"
    return PlannedPhase(action=Action.RESTORE, reason=f"{why}: {target}", revision=number)


_WORDS = {
    Action.RESTORE: "restore stable",
    Action.STOP_WORKERS: "stop the canary's workers",
    Action.RETIRE: "remove the canary from the routes",
    Action.REMOVE: "remove the canary",
    Action.UNPIN: "restore the autoscalers' minimums",
    Action.PROVE: "verify it",
}


def _words(phase: PlannedPhase) -> str:
    return _WORDS.get(phase.action) or f"all traffic to {phase.to}"
