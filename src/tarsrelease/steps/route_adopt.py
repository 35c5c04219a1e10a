"""route adopt: take the routes over from the delivery tools that would reset their weights."""

from __future__ import annotations

from tarsrelease.context import Context
from tarsrelease.model.details import Details
from tarsrelease.model.outcome import Outcome, Verdict
from tarsrelease.model.route_ownership import OwnedRoute, OwnerTool, Switch
from tarsrelease.operations.outcome import StepReport, changing
from tarsrelease.operations.route_switch import switch_for
from tarsrelease.ports.cluster import Settled
from tarsrelease.ports.handover import Handover
from tarsrelease.rollout.route_handover import adoption

STEP = "route adopt"


def adopt(
    context: Context, handover: Handover, settled: Settled, *, plan_only: bool = False
) -> Outcome:
    """Adopt each route of the release; with `plan_only`, only say what that changes.

    `settled` gives stable's present values. Raises UsageError before anything is changed if an
    owner's settings cannot be changed from here, and StoppedError after that.
    """
    report = StepReport(context, STEP)
    routes = handover.routes(context.rollout.services)
    chosen = [(route, _switch(context, route, settled)) for route in routes]
    changes = [(route, switch, adoption(route, switch)) for route, switch in chosen]
    lines = tuple(line for _, _, found in changes for line in found)
    if lines and not plan_only:
        with changing("run `tarsrelease route adopt` again"):
            for route, switch, found in changes:
                if found:
                    handover.adopt(route, switch)
                    for line in found:
                        context.say(line)
    return report.outcome(
        Verdict.PROCEED,
        _summary(routes, lines, plan_only=plan_only),
        details=Details(plan=lines),
        next_step="tarsrelease check preflight" if not plan_only else "tarsrelease route adopt",
    )


def _switch(context: Context, route: OwnedRoute, settled: Settled) -> Switch:
    helm = route.owner is not None and route.owner.tool in (OwnerTool.HELM, OwnerTool.FLUX_HELM)
    if not helm or (route.adopted and route.released):
        return ()
    return switch_for(context, route.ref, settled)


def _summary(routes: list[OwnedRoute], lines: tuple[str, ...], *, plan_only: bool) -> str:
    owned = [route for route in routes if route.owner is not None]
    if not lines and owned:
        return f"{', '.join(str(route.ref) for route in owned)}: adopted already"
    if not lines:
        return "no delivery tool writes the routes; nothing to adopt"
    what = ", ".join(f"{route.ref} from {route.owner}" for route in owned)
    return f"{'would adopt' if plan_only else 'adopted'} {what}"
