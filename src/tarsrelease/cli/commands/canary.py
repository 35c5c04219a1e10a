"""tarsrelease canary deploy and gate"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tarsrelease.cli.choosing import FEATURE_FLAGS, STAGE_DURATION, STAGES, day_choice
from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome

canary = LazyGroup(
    "canary",
    help="The canary: the new version beside the old one, with a share of the traffic.",
    entries={
        "deploy": Entry(f"{__name__}:deploy", "Bring the canary up at weight 0 and smoke-test it."),
        "gate": Entry(f"{__name__}:gate", "Take one stage: shift traffic, observe, decide."),
    },
)


@FEATURE_FLAGS
def _deploy(settings: Settings, feature_flags: bool) -> int:
    """Deploy the canary at weight 0, and test it by requests that only it gets.

    Users see nothing of it: the header x-tars-canary leads to the canary, and nothing else does.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.model.release import DayChoice
        from tarsrelease.steps.deploy import deploy as step

        session.choose(DayChoice(feature_flags=feature_flags))
        ports = session.ports
        return step(
            session.release,
            session.environment,
            session.run,
            charts=ports.charts,
            workloads=ports.workloads,
            routes=ports.routes,
            web=ports.web,
            journal=ports.journal,
            lock=ports.lock,
            clock=ports.clock,
            progress=session.progress,
        )

    return carry_out(settings, "canary deploy", act)


@click.option(
    "--stage",
    "weight",
    required=True,
    metavar="WEIGHT",
    help="The stage, by its share of the traffic in percent, such as 10.",
)
@STAGES
@STAGE_DURATION
def _gate(settings: Settings, weight: str, stages: str | None, stage_duration: str | None) -> int:
    """Give the canary a stage's share of the traffic, look at it, and decide.

    On a failure the traffic is taken off at once, by this very process (exit code 11). While
    there is too little to tell, the stage is extended, then it holds (exit code 10). A weight
    that rollout.yaml does not name is looked at by the next higher stage's gates.
    """
    from tarsrelease.cli.session import carry_out
    from tarsrelease.cli.weights import stage_weight

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.gate import gate as step

        session.choose(day_choice(stages, stage_duration))
        chosen = stage_weight(weight, session.release.rollout)
        ports = session.ports
        return step(
            session.release,
            session.environment,
            session.run,
            chosen,
            metrics=ports.metrics,
            workloads=ports.workloads,
            routes=ports.routes,
            journal=ports.journal,
            lock=ports.lock,
            clock=ports.clock,
            progress=session.progress,
        )

    return carry_out(settings, "canary gate", act)


deploy = command(
    "release",
    "environment",
    "evidence",
    name="deploy",
    example="tarsrelease canary deploy --release release/v1_0_1 --environment production",
)(_deploy)

gate = command(
    "release",
    "environment",
    "evidence",
    name="gate",
    example="tarsrelease canary gate --stage 10 --release release/v1_0_1 --environment production",
)(_gate)
