"""The help of `tarsrelease` itself: one line per command. Imports almost nothing, to be fast."""

from __future__ import annotations

from tarsrelease.cli.exit_code_help import EXIT_CODES

COMMANDS = {
    "verify": ("verify:verify", "Verify a bundle."),
    "bundle": ("bundle:bundle", "Build and compare bundles."),
    "plan": ("plan:plan", "Show the planned stages, durations and deployment window."),
    "check": ("check:check", "Run read-only checks before a release."),
    "migrate": ("migrate:migrate", "Apply migrations without blocking production queries."),
    "validate": ("validate:validate", "Run the release's own tests against the canary or stable."),
    "canary": ("canary:canary", "Deploy the canary and run its stages."),
    "promote": ("promote:promote", "Make the canary's version stable."),
    "rollback": ("rollback:rollback", "Move all traffic back and restore the previous version."),
    "hold": ("interventions:hold", "Hold the release; its traffic stays evaluated."),
    "resume": ("interventions:resume", "Resume a release that a person holds."),
    "abort": ("interventions:abort", "Move all traffic to the good side and end the release."),
    "status": ("status:status", "Show the state of the release and what it waits for."),
    "route": ("route:route", "Take routes over from Helm, Argo CD or Flux, and give them back."),
    "dashboard": ("dashboard:dashboard", "Show the release in progress as a web page."),
    "run": ("run:run", "Run a whole release from this machine."),
    "rehearse": ("rehearse:rehearse", "Rehearse a whole release on a local Kubernetes cluster."),
    "guard": ("guard:guard", "Move traffic off a canary that nobody evaluates any more."),
    "watch": ("watch:watch", "Check the promoted release."),
    "measure": ("measure:measure", "Measure KPIs, SLOs, drift and WebSockets."),
    "notify": ("notify:notify", "Send messages to people."),
    "incident": ("incident:incident", "Classify an incident, and show what to do."),
    "report": ("report:report", "Check and summarize the recorded evidence."),
    "doctor": ("doctor:doctor", "Check every precondition of a release."),
    "init": ("init:init", "Write the files of a first release of your product."),
    "import": ("import_:import_", "Turn Argo Rollouts' or Flagger's objects into a rollout."),
    "schema": ("schema:schema", "Print the JSON Schemas of all files and Outcomes."),
}
"""Name: (module of `tarsrelease.cli.commands` and attribute in it, help line)."""


def overview() -> str:
    """What ``tarsrelease --help`` prints."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items())
    codes = "\n".join(f"  {line}".rstrip() for line in EXIT_CODES.splitlines()[1:])
    return f"""\
Usage: tarsrelease [OPTIONS] COMMAND [ARGS]...

  Release a new version to Kubernetes in canary stages, and roll it back if it is proven bad.

  Example:
      tarsrelease verify release/v1_0_1
      tarsrelease run --release release/v1_0_1 --environment production --plan
      tarsrelease rehearse --fault errors

{codes}

Options:
  --version   Show the version.
  -h, --help  Show this message, or the help of a command.

Commands:
{lines}
"""
