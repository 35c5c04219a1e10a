"""Pin stable's replicas during a release, and restore the autoscalers afterwards."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.context import Context
from tarsrelease.model.cluster import Revision, Snapshot
from tarsrelease.model.journal import DeployFacts, Entry, Phase, UnpinFacts
from tarsrelease.operations.journaling import journal
from tarsrelease.rollout.release_journal import Pins
from tarsrelease.rollout.rollback_plan import stable_names

UNPIN = "unpin"


def observed_pins(
    context: Context, seen: Snapshot, serving: Revision, entries: Sequence[Entry]
) -> Pins:
    """Stable's current replicas and the autoscalers' minimums.

    If an earlier attempt raised a minimum, its journal entry has the user's value.
    """
    stable, raised = stable_names(context.rollout), _raised(entries)
    return Pins(
        version=serving.app_version,
        revision=serving.number,
        replicas={state.name: state.replicas for state in seen.deployments if state.name in stable},
        minimums={
            scaler.name: raised.get(scaler.name, scaler.min_replicas)
            for scaler in context.cluster.workloads.autoscalers()
            if scaler.deployment in stable
        },
    )


def pin(context: Context, pins: Pins) -> None:
    """Raise the autoscalers' minimums to stable's current replicas."""
    workloads = context.cluster.workloads
    for scaler in workloads.autoscalers():
        wanted = min(pins.replicas.get(scaler.deployment, 0), scaler.max_replicas)
        if scaler.name in pins.minimums and scaler.min_replicas < wanted:
            workloads.keep_at_least(scaler.name, wanted)
            context.say(f"pinned {scaler.name}: minReplicas {scaler.min_replicas} -> {wanted}")


def unpin(context: Context, pins: Pins | None) -> None:
    """Restore the autoscalers' minimums. Idempotent."""
    if pins is None or not pins.minimums:
        return
    workloads = context.cluster.workloads
    for scaler in workloads.autoscalers():
        before = pins.minimums.get(scaler.name)
        if before is not None and before != scaler.min_replicas:
            workloads.keep_at_least(scaler.name, before)
            context.say(f"unpinned {scaler.name}: minReplicas is {before} again")
    journal(context, UNPIN, UNPIN, Phase.RESULT, UnpinFacts(minimums=pins.minimums))


def _raised(entries: Sequence[Entry]) -> dict[str, int]:
    """The users' values of minimums that an attempt has raised and not yet restored."""
    raised: dict[str, int] = {}
    for entry in entries:
        if entry.action == UNPIN:
            raised = {}
        elif (deployed := DeployFacts.of(entry.facts)) and entry.phase is Phase.INTENT:
            raised = (deployed.minimums or {}) | raised
    return raised
