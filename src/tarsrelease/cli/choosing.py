"""The options by which a day is played otherwise than rollout.yaml says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tarsrelease.model.release import DayChoice

STAGES = click.option(
    "--stages", metavar="LIST", help="The day's stages instead of rollout.yaml's: 1,10,100."
)
STAGE_DURATION = click.option(
    "--stage-duration", metavar="TIME", help="How long each stage is, such as 10m."
)
FEATURE_FLAGS = click.option(
    "--feature-flags", is_flag=True, help="Switch on what rollout.yaml names under feature_flags."
)


def day_choice(
    stages: str | None, stage_duration: str | None, *, feature_flags: bool = False
) -> DayChoice:
    """What the options say. Raises UsageError for a list or a time that makes no sense."""
    from tarsrelease.cli.weights import stage_weights
    from tarsrelease.model.base import parse_seconds
    from tarsrelease.model.errors import UsageError
    from tarsrelease.model.release import DayChoice

    seconds = None
    if stage_duration is not None:
        try:
            seconds = parse_seconds(stage_duration)
        except ValueError as problem:
            raise UsageError(
                doing="choosing how long a stage is",
                found=f"--stage-duration {stage_duration[:60]!r}",
                expected=str(problem),
                next_step="for example --stage-duration 10m",
            ) from problem
    return DayChoice(
        stages=stage_weights(stages), stage_duration=seconds, feature_flags=feature_flags
    )
