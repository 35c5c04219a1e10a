"""tarsrelease watch"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.options import DURATION, SOME_TIME
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from datetime import datetime

    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.readiness.ga_day import People


@click.option("--once", is_flag=True, help="Evaluate once. A scheduler can repeat it.")
@click.option(
    "--until",
    type=DURATION,
    metavar="DURATION",
    help="Evaluate again and again until this long after the promotion, such as 24h. "
    "Implies --ga-day.",
)
@click.option(
    "--every",
    type=SOME_TIME,
    metavar="DURATION",
    default="15m",
    show_default=True,
    help="Time between two evaluations, with --until.",
)
@click.option(
    "--ga-day",
    is_flag=True,
    help="Evaluate everything since the promotion (up to 24 h) with the stricter limits.",
)
@click.option(
    "--support-tickets",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="Support tickets since the promotion, for the checks from +4 h on.",
)
@click.option(
    "--support-tickets-from",
    "tickets_from",
    metavar="COMMAND",
    help="Program that prints this number, run without a shell, such as 'count-tickets --open'.",
)
@click.option(
    "--usual-tickets",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="Support tickets of a usual day. Default: 0.",
)
@click.option(
    "--pagerduty-alerts",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="PagerDuty alerts since the promotion, for the checks from +4 h on. Default: PagerDuty's "
    "own count, if notifications.pagerduty has token_env.",
)
@click.option(
    "--window",
    type=SOME_TIME,
    metavar="DURATION",
    default="10m",
    show_default=True,
    help="How much recorded data to evaluate; at most one hour.",
)
@click.option(
    "--young",
    type=DURATION,
    metavar="DURATION",
    help="Evaluate only a release promoted within this time, such as 24h.",
)
def _watch(
    settings: Settings,
    once: bool,
    window: float,
    young: float | None,
    until: float | None,
    every: float,
    ga_day: bool,
    **counted: Any,
) -> int:
    """Check the promoted release with the last stage's checks, on recorded data.

    The exit code is 0 if all checks pass, 1 if one fails, and 10 if one cannot decide. Without
    --release, it checks the release that was promoted last according to the cluster's journal. With
    --young, it exits 0 with NOT CHECKED if the last promotion is older or was rolled back.

    With --ga-day, it evaluates everything since the promotion in intervals of 5 minutes with the
    limits of the first 24 hours, names each breach with its time and severity, and shows which of
    the checks at +2, +4, +8, +12 and +24 h is due (docs/watching.md).
    """
    from tarsrelease.cli.session import carry_out

    if once == (until is not None):
        raise click.UsageError("give one of --once and --until")

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.watch import nothing_to_watch
        from tarsrelease.steps.watch import watch as step

        if young is not None:
            context = session.context
            entries = context.cluster.journal.entries()
            resting = nothing_to_watch(entries, session.environment, young, clock=context.clock)
            if resting is not None:
                return resting
        if settings.release is None:
            session = _promoted(session)
        if ga_day or until is not None:
            return _ga_day(session, until, every, counted)
        return step(session.context, window)

    return carry_out(settings, "watch", act, changes=False)


def _ga_day(
    session: Session, until: float | None, every: float, counted: Mapping[str, Any]
) -> Outcome:
    from tarsrelease.model.errors import UsageError
    from tarsrelease.operations.kpis import Measuring
    from tarsrelease.readiness.ga_day import LASTS
    from tarsrelease.rollout.release_journal import promotion
    from tarsrelease.steps.watch_ga_day import watch_ga_day, watch_until

    found = promotion(session.context.cluster.journal.entries())
    if found is None or found.release != session.release.version:
        raise UsageError(
            doing="finding the promotion",
            found="the journal has no promotion of this release that was not rolled back",
            expected="a promoted release",
            next_step="use --window without --ga-day",
        )
    people = _counted(session, found.at, counted)
    measuring = Measuring.of(session.context)
    at = found.at.timestamp()
    if until is None:
        return watch_ga_day(measuring, at, people)
    return watch_until(measuring, at, people, until=min(until, LASTS), every=every)


def _counted(session: Session, since: datetime, given: Mapping[str, Any]) -> People:
    """Tickets and alerts: as given, else from the command, and from PagerDuty."""
    import shlex

    from tarsrelease.adapters.http.number import number_from
    from tarsrelease.adapters.pagerduty.rest import PagerDutyRest
    from tarsrelease.model.checks import NumberSource
    from tarsrelease.model.errors import ReleaseError
    from tarsrelease.readiness.ga_day import ALERTS, TICKETS, People

    tickets, alerts = given["support_tickets"], given["pagerduty_alerts"]
    unanswered = {}
    if tickets is None and given["tickets_from"]:
        source = NumberSource(command=tuple(shlex.split(given["tickets_from"])))
        try:
            tickets = round(number_from(source, _COUNT_TIMEOUT))
        except ReleaseError as problem:
            unanswered[TICKETS] = str(problem)
    pagerduty = session.environment.notifications.pagerduty
    if alerts is None and pagerduty is not None and pagerduty.token_env is not None:
        try:
            alerts = PagerDutyRest(pagerduty).raised(since, session.assignment.clock.now())
        except ReleaseError as problem:
            unanswered[ALERTS] = str(problem)
    return People(tickets, given["usual_tickets"], alerts, unanswered)


_COUNT_TIMEOUT = 20.0


def _promoted(session: Session) -> Session:
    """The session for the bundle of the release that was promoted last."""
    from tarsrelease.adapters.files.configuration import release_of
    from tarsrelease.cli.session import Session
    from tarsrelease.steps.watch import promoted

    version = promoted(session.context.cluster.journal.entries())
    folder = release_of(version)
    return Session(replace(session.settings, release=folder), changes=False)


watch = command(
    "release",
    "environment",
    "target",
    "wave",
    "evidence",
    name="watch",
    example="tarsrelease watch --once --window 10m --environment production\n"
    "tarsrelease watch --once --window 1h --young 24h --environment production\n"
    "tarsrelease watch --once --ga-day --support-tickets 3 --pagerduty-alerts 0 "
    "--environment production",
)(_watch)
