"""Remove the canary from the routes and from the cluster."""

from __future__ import annotations

from tarsrelease.context import Context
from tarsrelease.operations.traffic import OFF, route_notes, wait_until_accepted


def retire(context: Context, stage: str = OFF) -> None:
    """Remove the canary from the routes, and wait until the gateway accepts them.

    A timeout is only reported, because the canary has no traffic any more.
    """
    context.say("routes: removing the canary")
    context.cluster.routes.retire(context.rollout.services, route_notes(context, 0, stage))
    problem = wait_until_accepted(context)
    if problem is not None:
        context.say(f"routes: not accepted yet: {problem}")


def remove_canary(context: Context, deadline: float | None = None) -> None:
    """Uninstall the canary's Helm release and delete objects that Helm left.

    `deadline` is in seconds, by default `limits.deploy`.
    """
    name, charts = context.rollout.canary_release, context.cluster.charts
    context.say(f"removing {name}")
    if charts.history(name):
        charts.uninstall(name, deadline=deadline or context.environment.limits.deploy)
    left = context.cluster.workloads.remove_leftovers(name)
    if left:
        context.say(f"deleted objects that Helm left: {', '.join(left)}")
