"""Pinning stable's size for the length of a release, and giving it back."""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.model.cluster import DeploymentState, Revision
from tarsrelease.model.journal import Entry, Phase
from tarsrelease.model.release import Release, Run
from tarsrelease.ports.clock import Clock
from tarsrelease.ports.cluster import Journal, Workloads
from tarsrelease.rollout.release_journal import Pins

UNPIN = "unpin"


def observed_pins(
    stable: Sequence[str],
    deployments: Sequence[DeploymentState],
    serving: Revision,
    entries: Sequence[Entry],
    workloads: Workloads,
) -> Pins:
    """What stands now, to be kept. Minimums that an earlier attempt raised are not taken for
    what the user wants: those it wrote down are."""
    raised = _raised(entries)
    return Pins(
        version=serving.app_version,
        revision=serving.number,
        replicas={state.name: state.replicas for state in deployments if state.name in stable},
        minimums={
            scaler.name: raised.get(scaler.name, scaler.min_replicas)
            for scaler in workloads.autoscalers()
            if scaler.deployment in stable
        },
    )


def pin(pins: Pins, workloads: Workloads) -> list[str]:
    """Keep the autoscalers from shrinking stable below what it has; what was changed."""
    changed = []
    for scaler in workloads.autoscalers():
        wanted = min(pins.replicas.get(scaler.deployment, 0), scaler.max_replicas)
        if scaler.name in pins.minimums and scaler.min_replicas < wanted:
            workloads.keep_at_least(scaler.name, wanted)
            changed.append(f"{scaler.name}: at least {wanted} (was {scaler.min_replicas})")
    return changed


def unpin(
    pins: Pins | None,
    release: Release,
    run: Run,
    *,
    workloads: Workloads,
    journal: Journal,
    clock: Clock,
) -> list[str]:
    """Give the autoscalers their minimums back; what was changed. Can be repeated."""
    if pins is None or not pins.minimums:
        return []
    changed = []
    for scaler in workloads.autoscalers():
        before = pins.minimums.get(scaler.name)
        if before is not None and before != scaler.min_replicas:
            workloads.keep_at_least(scaler.name, before)
            changed.append(f"{scaler.name}: at least {before} again")
    journal.append(
        Entry(
            at=clock.now(),
            run=run.id,
            release=release.version,
            step=UNPIN,
            action=UNPIN,
            phase=Phase.RESULT,
            facts={"minimums": dict(pins.minimums)},
        )
    )
    return changed


def _raised(entries: Sequence[Entry]) -> dict[str, int]:
    """Minimums that some attempt has raised and not yet given back."""
    standing: dict[str, int] = {}
    for entry in entries:
        if entry.action == UNPIN:
            standing = {}
        elif entry.action == "deploy" and entry.phase is Phase.INTENT:
            minimums = entry.facts.get("minimums")
            if isinstance(minimums, dict):
                standing = {str(name): int(least) for name, least in minimums.items()} | standing
    return standing
