"""Removing the canary, so that nothing of it is left."""

from __future__ import annotations

from tarsrelease.context import Context
from tarsrelease.operations.traffic import OFF, route_notes, wait_until_accepted


def retire(context: Context, stage: str = OFF) -> None:
    """Leave only stable in the routes, and wait until the gateway accepts them.

    A gateway that does not is only reported: the canary has no traffic already, and stable
    answers.
    """
    context.say("routes: only stable is left in them")
    context.cluster.routes.retire(context.rollout.services, route_notes(context, 0, stage))
    problem = wait_until_accepted(context)
    if problem is not None:
        context.say(f"routes: not accepted yet: {problem}")


def remove_canary(context: Context, deadline: float | None = None) -> None:
    """Remove the canary's Helm release and whatever of it Helm left.

    `deadline` is in seconds, by default the environment's limit for a deploy.
    """
    name, charts = context.rollout.canary_release, context.cluster.charts
    context.say(f"removing {name}")
    if charts.history(name):
        charts.uninstall(name, deadline=deadline or context.environment.limits.deploy)
    left = context.cluster.workloads.remove_leftovers(name)
    if left:
        context.say(f"removed what Helm had left: {', '.join(left)}")
