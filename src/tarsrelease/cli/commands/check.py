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
    help="Questions before anything is touched. They change nothing.",
    entries={
        "preflight": Entry(f"{__name__}:preflight", "Does the ground carry a release?"),
        "go-no-go": Entry(f"{__name__}:go_no_go", "The measured criteria, and the votes."),
        "environments": Entry(f"{__name__}:environments", "Do two people stand between?"),
    },
)


@click.option(
    "--running", metavar="VERSION", help="The version that must run now; by default any before."
)
@click.option(
    "--feature-flags",
    is_flag=True,
    help="The day switches on what rollout.yaml names under feature_flags: staging must run so.",
)
def _preflight(settings: Settings, running: str | None, feature_flags: bool) -> int:
    """Nodes, namespace, rights, Helm release, who owns the routes, what the canary's deploy would
    refuse, and whether pods are scraped.

    The rights asked for are exactly those of rbac/role.yaml. What cannot be asked is no pass.
    With --feature-flags they are compared with those of the environment's `staging`.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.cli.preflight import looked
        from tarsrelease.model.release import DayChoice

        session.choose(DayChoice(feature_flags=feature_flags))
        return looked(session, running)

    return carry_out(settings, "check preflight", act, changes=False)


preflight = command(
    "release",
    "environment",
    "evidence",
    name="preflight",
    example="tarsrelease check preflight --release release/v1_0_1 --environment production",
)(_preflight)


@click.option(
    "--vote",
    "votes",
    multiple=True,
    metavar="ROLE=go|no-go[:NAME]",
    help="What a role says, such as qa=go:Ada. The approvals of the pipeline are votes, too.",
)
@click.option(
    "--require-vote", "required", multiple=True, metavar="ROLE", help="No go without its vote."
)
@click.option(
    "--window",
    type=SOME_TIME,
    metavar="TIME",
    default="10m",
    show_default=True,
    help="How much recorded data of stable is looked at, one hour at most.",
)
@click.option(
    "--staging",
    metavar="NAME",
    help="The environment where this version must run already; by default the one that the "
    "environment's file names.",
)
def _go_no_go(
    settings: Settings,
    votes: tuple[str, ...],
    required: tuple[str, ...],
    window: float,
    staging: str | None,
) -> int:
    """Everything that can be measured before the decision, as one table, and people's votes.

    Whether the bundle was verified is read from the evidence folder; the rest is measured now.
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
    """Another environment's workloads, or why they cannot be asked: staging's trouble is a no."""
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
    "release",
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
    help="Prove, too, that two different people approved this run.",
)
def _environments(settings: Settings, approvals_of: str | None) -> int:
    """Ask GitHub whether the environments have the reviewers that the environment file names.

    A missing environment would be created without rules, silently, by the workflow that names it.
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
    "release",
    "environment",
    "evidence",
    name="environments",
    example="tarsrelease check environments --environment production\n"
    "tarsrelease check environments --environment production --approvals 1234567890",
)(_environments)
