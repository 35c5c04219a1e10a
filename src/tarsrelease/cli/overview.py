"""The first page of help: every command in a line. Imports nothing, so that it comes at once."""

from __future__ import annotations

from tarsrelease.cli.exits import EXIT_CODES

COMMANDS = {
    "verify": ("verify:verify", "Is the bundle whole, and does it agree with itself?"),
    "bundle": ("bundle:bundle", "Build bundles."),
    "plan": ("plan:plan", "The day on paper: stages, minutes, window."),
    "check": ("check:check", "Go or no-go, before anything is touched."),
    "migrate": ("migrate:migrate", "Apply the database migrations, and stop nobody."),
    "validate": ("validate:validate", "The bundle's own tests against what runs."),
    "canary": ("canary:canary", "Deploy the canary, and take it through a stage."),
    "promote": ("promote:promote", "Make the canary's version the stable one."),
    "rollback": ("rollback:rollback", "Take traffic off, and restore what was there."),
    "status": ("status:status", "Where the day is, and what it waits for."),
    "run": ("run:run", "The whole day, from here."),
    "rehearse": ("rehearse:rehearse", "The whole day on a cluster made for it."),
    "watch": ("watch:watch", "How the promoted release does."),
    "notify": ("notify:notify", "Tell people what happens."),
    "report": ("report:report", "Is the evidence whole?"),
    "init": ("init:init", "What is to be set up once, as commands."),
    "schema": ("schema:schema", "The JSON Schemas of all files and outcomes."),
}
"""Name: (module of `tarsrelease.cli.commands` and attribute in it, line of help)."""


def overview() -> str:
    """What ``tarsrelease --help`` prints."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items())
    codes = "\n".join(f"  {line}".rstrip() for line in EXIT_CODES.splitlines()[1:])
    return f"""\
Usage: tarsrelease [OPTIONS] COMMAND [ARGS]...

  Take a release through its day, and a bad one back, provably.

  Example:
      tarsrelease verify release/v1_0_1
      tarsrelease run --release release/v1_0_1 --environment production --plan
      tarsrelease rehearse --fault errors

{codes}

Options:
  --version   Show the version.
  -h, --help  Show this message; after a command, its own.

Commands:
{lines}
"""
