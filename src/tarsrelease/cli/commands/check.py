"""tarsrelease check preflight, go-no-go and environments"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.options import SOME_TIME
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.errors import ReleaseError
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.ports.cluster import Workloads

check = LazyGroup(
    "check",
    help="Run read-only checks before a release.",
    entries={
        "preflight": Entry(
            f"{__name__}:preflight", "Check that the cluster is ready for a release."
        ),
        "go-no-go": Entry(f"{__name__}:go_no_go", "Show the measured criteria and the votes."),
        "environments": Entry(f"{__name__}:environments", "Check who must approve, and who did."),
    },
)


@click.option(
    "--running", metavar="VERSION", help="Version that must run now. Default: any earlier version."
)
@click.option(
    "--feature-flags",
    is_flag=True,
    help="Also compare the feature_flags of rollout.yaml with staging.",
)
def _preflight(settings: Settings, running: str | None, feature_flags: bool) -> int:
    """Check that the cluster is ready for a release.

    It checks nodes, namespace, permissions (those of rbac/role.yaml), Helm release, who manages the
    routes, everything that canary deploy would refuse, and whether the pods are scraped. What
    cannot be checked never passes. With --feature-flags, it compares the flags with the
    environment's staging.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.cli.preflight import checked
        from tarsrelease.model.release import RunOptions

        session.choose(RunOptions(feature_flags=feature_flags))
        return checked(session, running)

    return carry_out(settings, "check preflight", act, changes=False)


preflight = command(
    "release:newest",
    "environment",
    "target",
    "wave",
    "evidence",
    name="preflight",
    example="tarsrelease check preflight --release release/v1_0_1 --environment production",
)(_preflight)


@click.option(
    "--vote",
    "votes",
    multiple=True,
    metavar="ROLE=go|no-go[:NAME]",
    help="Vote of a role, such as qa=go:Ada. Repeatable.",
)
@click.option(
    "--require-vote",
    "required",
    multiple=True,
    metavar="ROLE",
    help="Role that must vote. Repeatable.",
)
@click.option(
    "--window",
    type=SOME_TIME,
    metavar="DURATION",
    default="10m",
    show_default=True,
    help="How much of stable's recorded data to evaluate; at most one hour.",
)
@click.option(
    "--staging",
    metavar="NAME",
    help="Environment where this version must already run. Default: `staging` in the "
    "environment file.",
)
def _go_no_go(
    settings: Settings,
    votes: tuple[str, ...],
    required: tuple[str, ...],
    window: float,
    staging: str | None,
) -> int:
    """Show the measured criteria and the votes in one table.

    The result of verify comes from the evidence folder; everything else is measured now.
    """
    from tarsrelease.cli.session import carry_out
    from tarsrelease.steps.check_go_no_go import parse_vote

    try:
        cast = [parse_vote(text) for text in votes]
    except ValueError as problem:
        raise click.BadParameter(str(problem), param_hint="--vote") from None

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.files.evidence_file import outcomes_in
        from tarsrelease.steps.check_go_no_go import go_no_go as step

        evidence = session.evidence()
        before = staging or session.environment.staging
        return step(
            session.context,
            votes=cast,
            required=required,
            window=window,
            recorded=outcomes_in(evidence.path.parent) if evidence else (),
            staging=_workloads_of(before, session) if before else None,
        )

    return carry_out(settings, "check go-no-go", act, changes=False)


def _workloads_of(name: str, session: Session) -> Workloads | ReleaseError:
    """Another environment's workloads, or the error; an unreachable staging is a no-go."""
    from tarsrelease.adapters.files.configuration import load_environment
    from tarsrelease.adapters.kubernetes.client import KubernetesApi
    from tarsrelease.adapters.kubernetes.workloads import KubernetesWorkloads
    from tarsrelease.model.errors import ReleaseError

    place = load_environment(name).kubernetes
    try:
        cluster = KubernetesApi.connect(place.context, place.namespace)
    except ReleaseError as error:
        return error
    return KubernetesWorkloads(cluster, session.release.rollout)


go_no_go = command(
    "release:newest",
    "environment",
    "evidence",
    name="go-no-go",
    example="tarsrelease check go-no-go --release release/v1_0_1 --environment production "
    "--staging staging --vote qa=go:Ada --require-vote qa",
)(_go_no_go)


@click.option(
    "--approvals",
    "approvals_of",
    metavar="RUN_ID",
    help="Also prove that two different people approved this run.",
)
def _environments(settings: Settings, approvals_of: str | None) -> int:
    """Check that GitHub's environments have the reviewers in the environment file.

    GitHub silently creates a missing environment, without rules, when a workflow names it.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.github.api import GitHubReviews
        from tarsrelease.steps.check_environments import check_environments as step
        from tarsrelease.steps.check_environments import configured

        reviews = GitHubReviews(configured(session.environment))
        return step(session.assignment, reviews, approvals_of=approvals_of)

    return carry_out(settings, "check environments", act, changes=False)


environments = command(
    "release:newest",
    "environment",
    "evidence",
    name="environments",
    example="tarsrelease check environments --environment production\n"
    "tarsrelease check environments --environment production --approvals 1234567890",
)(_environments)
