"""Command groups that import a command only to run it, and suggest names for a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click


class Entry(NamedTuple):
    """Where a command is (``module:attribute``), and its line in the group's help."""

    target: str
    help: str


class LazyGroup(click.Group):
    """A group of `Entry`s. Its own help needs none of them imported."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry] | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self.entries = dict(entries or {})

    # click passes its context to each of these methods; they do not need it.

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of a release."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        module, attribute = entry.target.split(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.target} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List names and help lines without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Like click's, with a suggestion for an unknown name."""
        name = args[0]
        if name not in self.entries and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.entries, n=1, cutoff=0.5)
            known = ", ".join(self.entries)
            advice = f"Did you mean {ctx.command_path} {near[0]}?" if near else f"Commands: {known}"
            ctx.fail(f"Unknown command {ctx.command_path} {name}. {advice}")
        return super().resolve_command(ctx, args)
