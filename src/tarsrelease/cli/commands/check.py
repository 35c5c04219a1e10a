"""tarsrelease check preflight and environments"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome

check = LazyGroup(
    "check",
    help="Questions before anything is touched. They change nothing.",
    entries={
        "preflight": Entry(f"{__name__}:preflight", "Does the ground carry a release?"),
        "environments": Entry(f"{__name__}:environments", "Do two people stand between?"),
    },
)


@click.option(
    "--running", metavar="VERSION", help="The version that must run now; by default any before."
)
def _preflight(settings: Settings, running: str | None) -> int:
    """Nodes, namespace, rights, Helm release, who owns the routes, and whether pods are scraped.

    The rights asked for are exactly those of rbac/role.yaml. What cannot be asked is no pass.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.preflight import preflight as step

        ports = session.ports
        return step(
            session.release,
            session.environment,
            running=running,
            ground=ports.ground,
            charts=ports.charts,
            workloads=ports.workloads,
            routes=ports.routes,
            metrics=ports.metrics,
            clock=ports.clock,
        )

    return carry_out(settings, "check preflight", act, changes=False)


preflight = command(
    "release",
    "environment",
    "evidence",
    name="preflight",
    example="tarsrelease check preflight --release release/v1_0_1 --environment production",
)(_preflight)


@click.option(
    "--approvals",
    "approvals_of",
    metavar="RUN_ID",
    help="Prove, too, that two different people approved this run.",
)
def _environments(settings: Settings, approvals_of: str | None) -> int:
    """Ask GitHub whether the environments have the reviewers that the environment file names.

    A missing environment would be created without rules, silently, by the workflow that names it.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.clock import SystemClock
        from tarsrelease.adapters.github import GitHubReviews
        from tarsrelease.steps.check_environments import check_environments as step
        from tarsrelease.steps.check_environments import configured

        return step(
            session.release,
            session.environment,
            approvals_of=approvals_of,
            reviews=GitHubReviews(configured(session.environment)),
            clock=SystemClock(),
        )

    return carry_out(settings, "check environments", act, changes=False)


environments = command(
    "release",
    "environment",
    "evidence",
    name="environments",
    example="tarsrelease check environments --environment production\n"
    "tarsrelease check environments --environment production --approvals 1234567890",
)(_environments)
