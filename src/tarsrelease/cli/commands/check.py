"""tarsrelease check readiness, preflight, go-no-go and environments"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.options import MOMENT, PERIOD, SOME_TIME
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome

check = LazyGroup(
    "check",
    help="Run read-only checks before a release.",
    entries={
        "readiness": Entry(f"{__name__}:readiness", "Show the checklists, and the timeline."),
        "preflight": Entry(
            f"{__name__}:preflight", "Check that the cluster is ready for a release."
        ),
        "go-no-go": Entry(f"{__name__}:go_no_go", "Show the measured criteria and the votes."),
        "environments": Entry(f"{__name__}:environments", "Check who must approve, and who did."),
    },
)


@click.option(
    "--part",
    type=click.Choice(["before", "during", "hours", "days"]),
    default="before",
    show_default=True,
    help="Which checklists: before the release, during it, its first 24 hours, days 1 to 7.",
)
@click.option("--tick", "ticks", multiple=True, metavar="ITEM", help="Confirm an item. Repeatable.")
@click.option("--untick", "unticks", multiple=True, metavar="ITEM", help="Take a tick back.")
@click.option("--by", metavar="NAME", help="Who confirms.")
@click.option("--note", default="", metavar="TEXT", help="What was done. It is recorded.")
@click.option("--follow-up", metavar="TEXT", help="Add a task for after the release.")
@click.option("--owner", metavar="NAME", help="Owner of the follow-up.")
@click.option(
    "--due", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="When the follow-up is due."
)
@click.option(
    "--test-pagerduty", is_flag=True, help="Send PagerDuty a test alert, and resolve it at once."
)
@click.option(
    "--timeline",
    type=click.Choice(["markdown", "ics"]),
    help="Print the timeline instead: Markdown for a wiki, or a calendar.",
)
@click.option(
    "--starts",
    type=MOMENT,
    metavar="TIME",
    help="Start of the release for --timeline. Default: the next window.",
)
def _readiness(
    settings: Settings,
    timeline: str | None,
    starts: datetime | None,
    due: datetime | None,
    **given: Any,
) -> int:
    """Show every item of the checklists: who, when, and the evidence.

    What a machine can check is measured, what a step did is read from its evidence and the journal,
    and people confirm the rest (--tick ITEM --by NAME, kept in the journal). A tick never changes a
    measured failure. The exit code is 1 if an item failed or is overdue.
    """
    from tarsrelease.cli.outcomes import collected, print_outcome
    from tarsrelease.cli.readiness import Asked
    from tarsrelease.cli.session import Recording, carry_out

    asked = Asked(due=due.date() if due else None, **given)
    asked.check()

    def act(session: Session) -> Outcome:
        from tarsrelease.cli.readiness import checked

        return checked(session, asked)

    if timeline is None:
        return carry_out(settings, "check readiness", act, changes=asked.changes)

    def print_it(session: Session) -> Outcome:
        from tarsrelease.cli.readiness import timeline_outcome

        return timeline_outcome(session, timeline, starts)

    with collected() as found:
        code = carry_out(
            settings, "check readiness", print_it, changes=False, recording=Recording.WHEN_ASKED
        )
    (outcome,) = found
    if code == 0 and settings.format != "json":
        text = outcome.details.outputs["timeline"]
        click.echo(text.replace("\n", "\r\n") if timeline == "ics" else text, nl=False)
    else:
        print_outcome(outcome, settings.format)
    return code


readiness = command(
    "release:newest",
    "environment",
    "evidence",
    name="readiness",
    example="tarsrelease check readiness --environment production\n"
    "tarsrelease check readiness --environment production --tick support-briefed --by Ada\n"
    "tarsrelease check readiness --environment production --timeline ics",
)(_readiness)


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
    routes, everything that canary deploy would refuse, and whether the pods are scraped; and, as
    far as the environment file names them, database, Redis, backup, disruption budgets, endpoints,
    certificates and room on nodes and in quotas. What cannot be checked never passes. With
    --feature-flags, it compares the flags with the environment's staging.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.cli.preflight import checked
        from tarsrelease.model.release import RunOptions
        from tarsrelease.wiring.surroundings import surroundings

        session.choose(RunOptions(feature_flags=feature_flags))
        return checked(session, running, surroundings(session.assignment))

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
    metavar="ROLE=GO|NO-GO|POSTPONE",
    help="Record the vote of a role in the journal; requires --by. Repeatable. ROLE=go:NAME and "
    "ROLE=no-go:NAME count in this run only and are not recorded.",
)
@click.option("--by", metavar="NAME", help="Who votes, overrides or postpones.")
@click.option("--reason", default="", metavar="TEXT", help="Why. It is recorded.")
@click.option(
    "--require-vote",
    "required",
    multiple=True,
    metavar="ROLE",
    help="Another role that must vote, besides those of rollout.yaml. Repeatable.",
)
@click.option(
    "--override",
    "overrides",
    multiple=True,
    metavar="CRITERION",
    help="Go although this criterion fails; requires --by and --reason, is recorded and announced. "
    "Repeatable.",
)
@click.option(
    "--postpone-to",
    type=PERIOD,
    metavar="START/END",
    help="New window, such as 2026-12-02T09:00Z/2026-12-02T13:00Z; requires --by and --reason.",
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
@click.option(
    "--approvals",
    "approvals_of",
    metavar="RUN_ID|next",
    help="Count the approvals of this run as the votes of the roles in github.votes. `next`: they "
    "are asked for after this command.",
)
def _go_no_go(settings: Settings, **given: Any) -> int:
    """Show the measured criteria and the votes in one table, and decide: go, no-go or postpone.

    The result of verify comes from the evidence folder; everything else is measured now. Votes,
    overrides and postponements are kept in the journal. A role that did not vote is a no-go. The
    exit code is 1 for no-go and for postpone.
    """
    from tarsrelease.cli.go_no_go import Decisions, read_votes
    from tarsrelease.cli.session import carry_out

    recorded, only_now = read_votes(given.pop("votes"), given["by"])
    asked = Decisions(recorded=recorded, only_now=only_now, **given)
    asked.check()

    def act(session: Session) -> Outcome:
        from tarsrelease.cli.go_no_go import decided

        return decided(session, asked)

    return carry_out(settings, "check go-no-go", act, changes=asked.changes)


go_no_go = command(
    "release:newest",
    "environment",
    "evidence",
    name="go-no-go",
    example="tarsrelease check go-no-go --environment production --vote qa=GO --by Ada\n"
    "tarsrelease check go-no-go --environment production --override staging-suite --by Lin "
    '--reason "staging is down, the suite passed on Monday"',
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
