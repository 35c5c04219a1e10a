"""Which stages a release has: those of rollout.yaml, or a list that was chosen for this run.

Pure. The options of this run override the environment file, which overrides rollout.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence

from tarsrelease.model.errors import UsageError
from tarsrelease.model.journal import Entry, GateFacts, Phase
from tarsrelease.model.rollout import Rollout, Stage
from tarsrelease.rollout import release_journal


def with_stages(rollout: Rollout, weights: Sequence[int]) -> Rollout:
    """The rollout with stages of exactly these weights.

    A weight that is not in the rollout uses the checks of the next higher stage, never weaker
    ones. Raises UsageError if the list does not increase or does not end with 100.
    """
    wanted = list(weights)
    if wanted != sorted(set(wanted)) or wanted[-1:] != [100]:
        known = ", ".join(str(stage.weight) for stage in rollout.stages)
        raise UsageError(
            doing="choosing the stages",
            found=f"--stages {','.join(map(str, wanted[:20]))}",
            expected=f"increasing weights that end with 100 (rollout.yaml has {known})",
            next_step=f"for example --stages {sorted({rollout.stages[0].weight, 100})[0]},100",
        )
    return rollout.model_copy(
        update={"stages": tuple(stage_for(rollout, weight) for weight in wanted)}
    )


def gates_of(rollout: Rollout, weight: int) -> int:
    """The weight of the stage in `rollout` whose checks apply at `weight` percent."""
    return next(stage.weight for stage in rollout.stages if stage.weight >= weight)


def stage_for(rollout: Rollout, weight: int) -> Stage:
    """The stage of `weight` percent, with the checks of the next higher stage if it is new."""
    stage = rollout.stage(gates_of(rollout, weight))
    # Only a stage in rollout.yaml requires its approval, not a stage added before it.
    own = stage.weight == weight
    return stage.model_copy(update={"weight": weight, "approval": stage.approval and own})


def with_duration(rollout: Rollout, seconds: float) -> Rollout:
    """The rollout with every stage evaluated for `seconds` before it may proceed."""
    stages = tuple(stage.model_copy(update={"duration": seconds}) for stage in rollout.stages)
    return rollout.model_copy(update={"stages": stages})


def facts(rollout: Rollout, stage: Stage, restarts: dict[str, int] | None = None) -> GateFacts:
    """What the journal records of a stage that begins, with the list of all stages.

    `restarts`: the canary's restart counts before traffic is shifted, by pod and container.
    """
    return GateFacts(
        weight=stage.weight,
        stages=tuple(each.weight for each in rollout.stages),
        duration=stage.duration,
        restarts=restarts,
    )


def played(rollout: Rollout, entries: Sequence[Entry]) -> tuple[Rollout, str]:
    """The rollout with the stages of this attempt, and the options for a manual gate.

    The options are empty if the stages are those of the rollout.
    """
    noted = [
        gate
        for entry in release_journal.of_this_attempt(entries, rollout.version)
        if entry.phase is Phase.INTENT and (gate := GateFacts.of(entry.facts))
    ]
    if not noted:
        return rollout, ""
    flags = ""
    weights, seconds = noted[-1].stages, noted[-1].duration
    if weights is not None and weights != tuple(stage.weight for stage in rollout.stages):
        rollout = with_stages(rollout, weights)
        flags += f" --stages {','.join(map(str, weights))}"
    known = {stage.weight: stage.duration for stage in rollout.stages}
    own = None if noted[-1].weight is None else known.get(noted[-1].weight)
    if seconds is not None and own is not None and own != seconds:
        rollout = with_duration(rollout, seconds)
        flags += f" --stage-duration {seconds:g}s"
    return rollout, flags
