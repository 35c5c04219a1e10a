"""The options that commands share, as one value."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

_CODES = "See tarsrelease --help for the exit codes."


@dataclass(frozen=True)
class Settings:
    """The common options; None if they were not given.

    `on_targets`: the command acts on every target of an environment unless --target selects one;
    `on_one_target`: it needs --target there. `by_database`: one target for each database is enough.
    """

    release: Path | None = None
    environment: str | None = None
    target: str | None = None
    wave: int | None = None
    on_targets: bool = False
    on_one_target: bool = False
    by_database: bool = False
    evidence: Path | None = None
    format: str = "text"
    yes: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_FOLDER = click.Path(file_okay=False, path_type=Path)

_OPTIONS: dict[str, Decorator] = {
    "release": click.option(
        "--release",
        type=_FOLDER,
        metavar="DIR",
        help="Bundle folder, such as release/v1_0_1.",
    ),
    "release:newest": click.option(
        "--release",
        type=_FOLDER,
        metavar="DIR",
        help="Bundle folder, such as release/v1_0_1. Default: the newest in ./release/.",
    ),
    "environment": click.option(
        "--environment",
        metavar="NAME",
        envvar="TARSRELEASE_ENVIRONMENT",
        show_envvar=True,
        help="Name in ./environments/, or path of an environment file.",
    ),
    "target": click.option(
        "--target", metavar="NAME", help="Only this one of the environment's targets."
    ),
    "target:waves": click.option(
        "--target",
        metavar="NAME",
        help="Only this one of the environment's targets. Default: all of them, wave by wave.",
    ),
    "target:page": click.option(
        "--target",
        metavar="NAME",
        help="Only this one of the environment's targets. Default: one page for all of them.",
    ),
    "target:at": click.option(
        "--at", "target", metavar="NAME", help="Only this one of the environment's targets."
    ),
    "wave:databases": click.option(
        "--wave",
        type=click.IntRange(min=1),
        metavar="NUMBER",
        help="Only the databases of this wave. Default: all databases, each once.",
    ),
    "wave": click.option(
        "--wave",
        type=click.IntRange(min=1),
        metavar="NUMBER",
        help="Only the targets of this wave. Default: all targets.",
    ),
    "evidence": click.option(
        "--evidence",
        type=_FOLDER,
        metavar="DIR",
        help="Folder to record the Outcome in. Default: ./evidence.",
    ),
    "evidence:none": click.option(
        "--evidence",
        type=_FOLDER,
        metavar="DIR",
        help="Folder to record the Outcome in. Default: it is not recorded.",
    ),
    "yes": click.option("--yes", is_flag=True, help="Approve in advance instead of asking."),
}

_ALWAYS: tuple[Decorator, ...] = (
    click.option(
        "--format",
        type=click.Choice(["text", "json", "markdown"]),
        default="text",
        show_default=True,
        help="Output format; json prints one Outcome and nothing else.",
    ),
    click.option("--quiet", is_flag=True, help="Show no progress."),
    click.option(
        "--verbose",
        is_flag=True,
        help="Show every evaluation, every result and the logs of libraries.",
    ),
    click.option("--debug", is_flag=True, help="Show the traceback of a bug in tarsrelease."),
)


def command(
    *shared: str, name: str, example: str, **attributes: Any
) -> Callable[[Callable[..., int]], click.Command]:
    """A command with the common options; its function gets `settings` and its own options.

    `shared` names its common options besides format, quiet, verbose and debug, with the default
    after a colon. The function's docstring becomes the help, followed by the example.
    `attributes` go to `click.command` (``cls`` for a group that is a command, too).
    """

    def decorate(function: Callable[..., int]) -> click.Command:
        @functools.wraps(function)
        def gathered(**options: Any) -> int:
            own = [one.partition(":")[0] for one in shared]
            names = (*own, "format", "quiet", "verbose", "debug")
            given = {name: options.pop(name) for name in names}
            several = "wave" in own
            settings = Settings(
                **given,
                on_targets=several,
                on_one_target="target" in shared and not several,
                by_database="wave:databases" in shared,
            )
            return function(settings, **options)

        wrapped: Any = gathered
        own = wrapped.__dict__.pop("__click_params__", [])
        for option in (*reversed(_ALWAYS), *(_OPTIONS[one] for one in reversed(shared))):
            wrapped = option(wrapped)
        # click reads the list backwards: the command's own options come first in its help.
        wrapped.__click_params__ += own
        help_text = (function.__doc__ or "").rstrip()
        lines = "\n".join(f"    {line}" for line in example.splitlines())
        text = f"{_dedented(help_text)}\n\n\b\nExample:\n{lines}\n\n{_CODES}"
        make: Any = click.command(name, help=text, **attributes)
        made: click.Command = make(wrapped)
        return made

    return decorate


def _dedented(text: str) -> str:
    first, *rest = text.splitlines() or [""]
    return "\n".join([first, *(line.removeprefix("    ") for line in rest)])
