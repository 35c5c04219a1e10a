"""What the commands of `measure` share: the window, the pods, and where the numbers go."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.options import MOMENT, SOME_TIME
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tarsrelease.cli.session import Session
    from tarsrelease.operations.kpis import Measuring, Window

_USUAL = 300.0


@dataclass(frozen=True)
class Chosen:
    """The window that --duration, --from and --to choose: five minutes until now by default."""

    duration: float | None
    start: datetime | None
    end: datetime | None

    def __post_init__(self) -> None:
        if None not in (self.duration, self.start, self.end):
            raise click.UsageError("give two of --from, --to and --duration")

    @property
    def seconds(self) -> float:
        """Its length, if it begins or ends now."""
        return self.duration or _USUAL

    def of(self, measuring: Measuring) -> Window:
        """The window in the past."""
        from tarsrelease.operations.kpis import Window

        given = measuring.last(self.seconds)
        if self.start is None:
            end = given.end if self.end is None else self.end.timestamp()
            return Window(end - self.seconds, end)
        begin = self.start.timestamp()
        if self.end is not None:
            return Window(begin, self.end.timestamp())
        return Window(begin, given.end if self.duration is None else begin + self.duration)


def in_window(function: Callable[..., int]) -> Callable[..., int]:
    """Adds --duration, --from and --to; the function gets them as one `window`."""

    @click.option(
        "--duration",
        type=SOME_TIME,
        metavar="DURATION",
        help="Length of the window, which ends now by default. Default: 5m.",
    )
    @click.option(
        "--from", "start", type=MOMENT, metavar="TIME", help="Start of a past window, in ISO 8601."
    )
    @click.option(
        "--to", "end", type=MOMENT, metavar="TIME", help="End of a past window. Default: now."
    )
    @functools.wraps(function)
    def gathered(settings: Settings, **given: Any) -> int:
        window = Chosen(*(given.pop(name) for name in ("duration", "start", "end")))
        return function(settings, window=window, **given)

    return gathered


DEPLOYMENT = click.option(
    "--deployment",
    type=click.Choice(["canary", "stable", "all"]),
    default="all",
    show_default=True,
    help="Whose pods to measure.",
)
BY_HEADER = click.option(
    "--deployment",
    type=click.Choice(["canary", "all"]),
    default="all",
    show_default=True,
    help="canary: send the canary's header.",
)
OUTPUT = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the numbers as JSON. A relative path is in the evidence folder.",
)


def measuring_in(session: Session) -> Measuring:
    """What to measure with; the cluster is optional, as recorded samples name their pods."""
    from tarsrelease.model.errors import UsageError
    from tarsrelease.operations.kpis import Measuring
    from tarsrelease.wiring.context import recorded_metrics

    metrics = recorded_metrics(session.environment)
    try:
        workloads = session.context.cluster.workloads
    except UsageError as problem:
        session.progress.say(f"without the cluster: {problem}")
        workloads = None
    return Measuring(session.assignment, metrics, workloads)


def keep(session: Session, output: Path | None, numbers: BaseModel | None) -> None:
    """Writes what was measured, if anything was, to the file of --output."""
    from tarsrelease.adapters.files.measured import kept_in, write_json

    if output is not None and numbers is not None:
        write_json(kept_in(session.evidence_folder, session.own_file(output)), numbers)


measuring_command = functools.partial(
    command, "release:newest", "environment", "target", "wave", "evidence"
)
