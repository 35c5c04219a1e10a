"""The root command, and the end of the process."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from types import FrameType

import click

from tarsrelease import __version__
from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.overview import COMMANDS, overview


def _version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"tarsrelease {__version__}")
        ctx.exit(0)


class Root(LazyGroup):
    """The root, whose help is the overview that `main` prints without click."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the overview."""
        formatter.write(overview())


@click.group(
    "tarsrelease",
    cls=Root,
    entries={
        name: Entry(f"tarsrelease.cli.commands.{target}", line)
        for name, (target, line) in COMMANDS.items()
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version)
def root() -> None:
    """The root of all commands."""


OBJECTS_BETWEEN_COLLECTIONS = 1_000_000
"""An evaluation reads up to a million samples. With Python's default of 700, the search for
reference cycles takes two thirds of its time, with a million 2 %. A release leaves a thousand
objects a second in cycles at each target, so the number may not be much larger."""


def run(arguments: Sequence[str]) -> int:
    """Run one command. Returns the exit code; never raises."""
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 must not end a release
    # CI cancels a job with either signal; the parent process may have set SIGINT to be ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        _interrupt_on(number)
    try:
        result = root.main(list(arguments), prog_name="tarsrelease", standalone_mode=False)
    except click.UsageError as problem:
        return _wrong_usage(problem, arguments)
    except click.ClickException as problem:
        problem.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except Exception as bug:  # noqa: BLE001 - anything else is a bug, and is reported as one
        from tarsrelease.cli.outcomes import failed, print_outcome
        from tarsrelease.cli.redaction import redaction

        shown = redaction(None)
        debug = shown if "--debug" in arguments else None
        outcome = failed("tarsrelease", bug, started_at=datetime.now(UTC), debug=debug)
        print_outcome(shown.outcome(outcome), "json" if _wants_json(arguments) else "text")
        return int(outcome.exit_code)
    return result if isinstance(result, int) else 0


def _interrupt_on(number: signal.Signals) -> None:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(number, interrupt)


def _wrong_usage(problem: click.UsageError, arguments: Sequence[str]) -> int:
    """Report wrong options as text, or as an Outcome with --format json."""
    path = problem.ctx.command_path if problem.ctx else "tarsrelease"
    if isinstance(problem, click.exceptions.NoArgsIsHelpError):
        problem.show()
        return 2
    if _wants_json(arguments):
        from tarsrelease.cli.outcomes import print_usage_error

        return print_usage_error(path, problem.format_message())
    click.echo(f"{problem.format_message()}\n\nSee {path} --help", err=True)
    return 2


def _wants_json(arguments: Sequence[str]) -> bool:
    return "--format=json" in arguments or ("--format", "json") in pairwise(arguments)
