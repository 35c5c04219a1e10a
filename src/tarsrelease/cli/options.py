"""Options that several commands share, and the types of their values."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.model import quantities

if TYPE_CHECKING:
    from tarsrelease.model.release import RunOptions
    from tarsrelease.model.window import FixedWindow


class Written(click.ParamType):  # type: ignore[type-arg]
    """A value that `parse` reads from text; its ValueError becomes a usage error."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parsed value."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


def _some_time(text: str) -> float:
    seconds = quantities.parse_seconds(text)
    if seconds <= 0:
        raise ValueError(f"{text} is not a duration of more than 0s")
    return seconds


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as problem:
        raise ValueError(
            f"{problem}; such as 2026-12-01T08:00 (UTC) or 2026-12-01T09:00+01:00"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _period(text: str) -> FixedWindow:
    from pydantic import ValidationError

    from tarsrelease.model.window import FixedWindow

    starts, _, ends = text.partition("/")
    if not ends:
        raise ValueError("write START/END, such as 2026-12-02T09:00Z/2026-12-02T13:00Z")
    try:
        return FixedWindow(starts=_moment(starts), ends=_moment(ends))
    except ValidationError as problem:
        raise ValueError(problem.errors()[0]["msg"].removeprefix("Value error, ")) from None


PERIOD = Written("period", _period)
"""Two times with a slash between them, the earlier one first."""
DURATION = Written("duration", quantities.parse_seconds)
"""Seconds from ``3m30s``."""
SOME_TIME = Written("duration", _some_time)
"""The same, more than 0."""
MOMENT = Written("time", _moment)
"""A time in ISO 8601; UTC without an offset."""
STAGE = Written("stage", quantities.parse_stage)
"""The weight of ``10``, ``10%`` or ``canary-10``."""

STAGES_OPTION = click.option(
    "--stages",
    type=Written("stages", quantities.parse_stages),
    metavar="LIST",
    help="Stages instead of rollout.yaml's, such as 1,10,100.",
)
STAGE_DURATION_OPTION = click.option(
    "--stage-duration",
    type=SOME_TIME,
    metavar="DURATION",
    help="Duration of each stage, such as 3m30s.",
)
FEATURE_FLAGS_OPTION = click.option(
    "--feature-flags",
    is_flag=True,
    help="Turn on the Helm values under feature_flags in rollout.yaml.",
)


def signer_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that say whose attestations are accepted."""
    for option in (
        click.option(
            "--trusted-root",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Trusted root instead of sigstore's own: a trusted_root.json, or the output of "
            "`gh attestation trusted-root`.",
        ),
        click.option(
            "--signer-workflow",
            metavar="PATH",
            help="Workflow that must have signed: OWNER/NAME/.github/workflows/FILE.",
        ),
        click.option(
            "--repository", metavar="OWNER/NAME", help="Repository whose attestations are accepted."
        ),
    ):
        function = option(function)
    return function


def day_choice(
    stages: tuple[int, ...] | None, stage_duration: float | None, *, feature_flags: bool = False
) -> RunOptions:
    """The stages that the options select."""
    from tarsrelease.model.release import RunOptions

    return RunOptions(stages=stages, stage_duration=stage_duration, feature_flags=feature_flags)
