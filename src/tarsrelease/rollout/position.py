"""Where a release is: a pure function of the snapshot and the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tarsrelease.model.cluster import Snapshot
from tarsrelease.model.journal import Entry, LockHolder, Phase
from tarsrelease.model.position import Position
from tarsrelease.model.rollout import Rollout
from tarsrelease.model.versions import same_version
from tarsrelease.rollout import release_journal, stage_list
from tarsrelease.rollout.lost_journal import lost_journal
from tarsrelease.rollout.rollback_plan import canary_names, stable_names
from tarsrelease.rollout.weights_since import weights_since

_ROLLBACK = "tarsrelease rollback"
_WEIGHTS = "set the canary's weight to 0 in the routes, see `kubectl get httproutes -o yaml`"


class _There(Protocol):
    def __call__(
        self, at: str, says: str, next_step: str, *, waits_for: str | None = None
    ) -> Position: ...


def position(
    rollout: Rollout, seen: Snapshot, entries: Sequence[Entry], holder: LockHolder | None
) -> Position:
    """Where the release of `rollout.version` is, with the stages recorded in the journal."""
    rollout, flags = stage_list.played(rollout, entries)
    weight = max((route.weight for route in seen.routes), default=0)
    stages = {route.stage for route in seen.routes}
    stage = stages.pop() if len(stages) == 1 else None
    since = weights_since(seen.routes)
    until = min((r.traffic_until for r in seen.routes if r.traffic_until), default=None)
    working = f"run {holder.run} of {holder.owner}, which holds the lock" if holder else None

    def there(at: str, says: str, next_step: str, *, waits_for: str | None = None) -> Position:
        return Position(
            at=at,
            says=says,
            next=next_step,
            weight=weight,
            stage=stage,
            since=since,
            waits_for=working or waits_for,
            until=holder.expires_at if holder else until if weight else None,
        )

    others = {r.release for r in seen.routes if r.release and r.weight} - {rollout.version}
    if others:
        return there(
            "another release", f"{min(others)} has {weight} % of the traffic", "tarsrelease status"
        )
    canary = bool(seen.canary_history) or any(
        seen.deployment(name) for name in canary_names(rollout)
    )
    begun = release_journal.of_this_attempt(entries, rollout.version)
    if release_journal.rolled_back(entries, rollout.version):
        done = release_journal.has(entries, rollout.version, release_journal.ROLLBACK, Phase.RESULT)
        if done and not canary and weight:
            return there("rolled back", _to_nobody(rollout.version, weight), _ROLLBACK)
        if done and not canary:
            return there(
                "rolled back",
                f"{rollout.version} was rolled back",
                "fix it and deploy it again",
            )
        return there("rolling back", "a rollback has begun and is not complete", _ROLLBACK)
    if release_journal.has(entries, rollout.version, release_journal.PROMOTE, Phase.INTENT):
        if release_journal.has(entries, rollout.version, release_journal.PROMOTE, Phase.RESULT):
            if weight and not canary:
                return there("promoted", _to_nobody(rollout.version, weight), _WEIGHTS)
            return there(
                "promoted", f"{rollout.version} is stable", "watch it; there is nothing else to do"
            )
        return there(
            "promoting",
            f"promotion has begun; the canary has {weight} %",
            f"tarsrelease promote, or {_ROLLBACK}",
            waits_for="a person to continue it",
        )
    if not canary:
        serving = {
            state.version for name in stable_names(rollout) if (state := seen.deployment(name))
        }
        if begun and not any(same_version(found, rollout.version) for found in serving):
            return there(
                "not deployed",
                "the last attempt left no canary",
                "tarsrelease canary deploy",
            )
        return there(
            "idle",
            f"no release is in progress; stable is {', '.join(sorted(serving)) or 'absent'}",
            "tarsrelease canary deploy",
        )
    lost = lost_journal(rollout, entries, seen.routes)
    if lost is not None:
        return there("without a journal", lost.found, lost.next_step, waits_for="a person")
    return _on_the_way(rollout, entries, weight, flags, there)


def _to_nobody(version: str, weight: int) -> str:
    return (
        f"the release of {version} is over, but somebody gave the removed canary {weight} % of the "
        "traffic"
    )


def _on_the_way(
    rollout: Rollout, entries: Sequence[Entry], weight: int, flags: str, there: _There
) -> Position:
    """`flags`: the options for a manual gate, so that it uses the stages of this release."""
    gate = "tarsrelease canary gate --stage"
    weights = [stage.weight for stage in rollout.stages]
    if weight == 0:
        passed = [w for w in weights if release_journal.passed(entries, rollout.version, w)]
        said = (
            f"the canary has no traffic; {passed[-1]} % has passed"
            if passed
            else "the canary is deployed and has no traffic"
        )
        following = next((w for w in weights if w not in passed), weights[-1])
        protected = release_journal.protection(entries, rollout.version)
        if protected is not None:
            entry, why = protected
            return there(
                "protected",
                f"all traffic moved to stable at {entry.at:%H:%M:%S} UTC, not as a rollback: "
                f"{why.reason}",
                f"{gate} {why.weight}{flags}, or {_ROLLBACK}",
                waits_for="one more try of the stage",
            )
        return there("deployed", said, f"{gate} {following}{flags}")
    verdict = _verdict(entries, rollout.version, weight)
    at, again = f"canary-{weight}", f"{gate} {weight}{flags}, or {_ROLLBACK}"
    if verdict == "proceed":
        later = [w for w in weights if w > weight]
        step = f"{gate} {later[0]}{flags}" if later else "tarsrelease promote"
        return there(at, f"{weight} % proceeded", step, waits_for="an approval, or the next step")
    if verdict == "hold":
        return there(at, f"the gate at {weight} % holds", again, waits_for="a person's decision")
    return there(at, f"{weight} % is being evaluated", again, waits_for="its gate to run")


def _verdict(entries: Sequence[Entry], release: str, weight: int) -> str | None:
    """The last verdict at this weight since the traffic was last shifted there."""
    verdict: str | None = None
    for entry in release_journal.of_this_attempt(entries, release):
        if entry.facts.weight != weight:
            continue
        if entry.action == release_journal.SHIFT and entry.phase is Phase.INTENT:
            verdict = None
        elif entry.action == release_journal.GATE and entry.phase is Phase.RESULT:
            verdict = entry.facts.verdict
    return verdict
