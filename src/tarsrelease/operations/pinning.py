"""Pinning stable's size for the length of a release, and giving it back."""

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
    """Stable's size now, to be kept.

    Where an earlier attempt has raised a minimum, the one that it journaled is the user's.
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
    """Keep the autoscalers from shrinking stable below its size."""
    workloads = context.cluster.workloads
    for scaler in workloads.autoscalers():
        wanted = min(pins.replicas.get(scaler.deployment, 0), scaler.max_replicas)
        if scaler.name in pins.minimums and scaler.min_replicas < wanted:
            workloads.keep_at_least(scaler.name, wanted)
            context.say(f"pinned {scaler.name}: at least {wanted} (was {scaler.min_replicas})")


def unpin(context: Context, pins: Pins | None) -> None:
    """Give the autoscalers their minimums back. Can be repeated."""
    if pins is None or not pins.minimums:
        return
    workloads = context.cluster.workloads
    for scaler in workloads.autoscalers():
        before = pins.minimums.get(scaler.name)
        if before is not None and before != scaler.min_replicas:
            workloads.keep_at_least(scaler.name, before)
            context.say(f"unpinned {scaler.name}: at least {before} again")
    journal(context, UNPIN, UNPIN, Phase.RESULT, UnpinFacts(minimums=pins.minimums))


def _raised(entries: Sequence[Entry]) -> dict[str, int]:
    """Minimums that some attempt has raised and not yet given back."""
    standing: dict[str, int] = {}
    for entry in entries:
        if entry.action == UNPIN:
            standing = {}
        elif (deployed := DeployFacts.of(entry.facts)) and entry.phase is Phase.INTENT:
            standing = (deployed.minimums or {}) | standing
    return standing
