"""The root command, and the process's way out."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from types import FrameType

import click

from tarsrelease.cli.exits import EXIT_CODES
from tarsrelease.cli.lazy import Entry, LazyGroup

_AT = "tarsrelease.cli.commands"

COMMANDS = {
    "verify": Entry(f"{_AT}.verify:verify", "Is the bundle whole, and does it agree with itself?"),
    "bundle": Entry(f"{_AT}.bundle:bundle", "Build bundles."),
    "canary": Entry(f"{_AT}.canary:canary", "Deploy the canary, and take it through a stage."),
    "promote": Entry(f"{_AT}.promote:promote", "Make the canary's version the stable one."),
    "rollback": Entry(f"{_AT}.rollback:rollback", "Take traffic off, and restore what was there."),
    "status": Entry(f"{_AT}.status:status", "Where the day is, and what it waits for."),
    "run": Entry(f"{_AT}.run:run", "The whole day, from here."),
    "rehearse": Entry(f"{_AT}.rehearse:rehearse", "The whole day on a cluster made for it."),
    "report": Entry(f"{_AT}.report:report", "Is the evidence whole?"),
    "schema": Entry(f"{_AT}.schema:schema", "The JSON Schemas of all files and outcomes."),
}


@click.group(
    "tarsrelease",
    cls=LazyGroup,
    entries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Take a release through its day, and a bad one back, provably.\n\n"
    "\b\nExample:\n"
    "    tarsrelease verify release/v1_0_1\n"
    "    tarsrelease run --release release/v1_0_1 --environment production --plan\n"
    "    tarsrelease rehearse --fault errors\n\n" + EXIT_CODES,
)
@click.option("--version", is_flag=True, help="Show the version.")
def root(version: bool) -> None:
    """The root of all commands."""


def run(arguments: Sequence[str]) -> int:
    """Run one command. Returns the exit code; nothing leaves it as an exception."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 must not end a release
    _interrupt_on(signal.SIGTERM)  # a cancelled CI job: the same way out as Ctrl-C
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
    except Exception as bug:  # noqa: BLE001 - the process's last line of defence
        from tarsrelease.cli.outcomes import failed, print_outcome

        now = datetime.now(UTC)
        outcome = failed("tarsrelease", bug, started_at=now, debug="--debug" in arguments)
        print_outcome(outcome, "json" if _wants_json(arguments) else "text")
        return int(outcome.exit_code)
    return result if isinstance(result, int) else 0


def _interrupt_on(number: signal.Signals) -> None:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(number, interrupt)


def _wrong_usage(problem: click.UsageError, arguments: Sequence[str]) -> int:
    """Wrong flags: as text for people, and as an Outcome for who asked for JSON."""
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
