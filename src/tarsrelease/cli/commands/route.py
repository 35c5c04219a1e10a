"""tarsrelease route adopt and return"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome

_PLAN = click.option(
    "--plan", "plan_only", is_flag=True, help="Show what would be changed; change nothing."
)

route = LazyGroup(
    "route",
    help="Take routes over from Helm, Argo CD or Flux, and give them back.",
    entries={
        "adopt": Entry(f"{__name__}:adopt", "Take over routes that a delivery tool would reset."),
        "return": Entry(f"{__name__}:give_back", "Give adopted routes back to their owners."),
    },
)


@_PLAN
def _adopt(settings: Settings, plan_only: bool) -> int:
    """Take over the release's routes from the delivery tools that would reset their weights.

    Helm: the route gets helm.sh/resource-policy: keep and leaves Helm's record, with the chart's
    value that leaves it out. Argo CD: the Application ignores differences in the route's rules.
    Flux: the route's reconciliation is disabled. If these settings are in Git, the command changes
    nothing and prints the lines to add.
    """
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.route_adopt import adopt as step
        from tarsrelease.wiring.handover import handover, settled

        environment = session.environment
        return step(
            session.context, handover(environment), settled(environment), plan_only=plan_only
        )

    return carry_out(
        settings,
        "route adopt",
        act,
        changes=not plan_only,
        recording=Recording.WHEN_ASKED if plan_only else Recording.ALWAYS,
    )


@_PLAN
def _give_back(settings: Settings, plan_only: bool) -> int:
    """Give the release's adopted routes back to Helm, Argo CD or Flux.

    The route stays as it is. It is refused while a release is in progress.
    """
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.route_return import give_back as step
        from tarsrelease.wiring.handover import handover

        return step(session.context, handover(session.environment), plan_only=plan_only)

    return carry_out(
        settings,
        "route return",
        act,
        changes=not plan_only,
        recording=Recording.WHEN_ASKED if plan_only else Recording.ALWAYS,
    )


_EXAMPLE = (
    "tarsrelease route {0} --release release/v1_0_1 --environment production --plan\n"
    "tarsrelease route {0} --release release/v1_0_1 --environment production"
)

_command = partial(command, "release", "environment", "target", "wave", "evidence")
adopt = _command(name="adopt", example=_EXAMPLE.format("adopt"))(_adopt)
give_back = _command(name="return", example=_EXAMPLE.format("return"))(_give_back)
