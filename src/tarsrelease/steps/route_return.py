"""route return: give adopted routes back to the delivery tools that owned them."""

from __future__ import annotations

from tarsrelease.context import Context
from tarsrelease.model.details import Details
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.operations.outcome import StepReport, changing
from tarsrelease.ports.handover import Handover
from tarsrelease.rollout.route_handover import giving_back

STEP = "route return"


def give_back(context: Context, handover: Handover, *, plan_only: bool = False) -> Outcome:
    """Give back each adopted route; with `plan_only`, only say what that changes.

    Raises RefusedError before anything is changed while a route leads to a canary.
    """
    report = StepReport(context, STEP)
    routes = handover.routes(context.rollout.services)
    changes = [(route, giving_back(route)) for route in routes]
    lines = tuple(line for _, found in changes for line in found)
    if not plan_only:
        with changing("run `tarsrelease route return` again"):
            for route, found in changes:
                if found:
                    handover.give_back(route)
                    for line in found:
                        context.say(line)
    given = ", ".join(f"{route.ref} to {route.owner}" for route, found in changes if found)
    done = "would return" if plan_only else "returned"
    return report.outcome(
        Verdict.PROCEED,
        f"{done} {given}" if given else "no route was adopted; nothing to return",
        details=Details(plan=lines),
    )
