"""tarsrelease watch"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.options import DURATION, SOME_TIME
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


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
    "--usual-tickets",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="Support tickets of a usual day. Default: 0.",
)
@click.option(
    "--pagerduty-alerts",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="PagerDuty alerts since the promotion, for the checks from +4 h on.",
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
    **counted: int | None,
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
    session: Session, until: float | None, every: float, counted: Mapping[str, int | None]
) -> Outcome:
    from tarsrelease.model.errors import UsageError
    from tarsrelease.operations.kpis import Measuring
    from tarsrelease.readiness.ga_day import LASTS, People
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
    people = People(
        tickets=counted["support_tickets"],
        tickets_before=counted["usual_tickets"],
        alerts=counted["pagerduty_alerts"],
    )
    measuring = Measuring.of(session.context)
    at = found.at.timestamp()
    if until is None:
        return watch_ga_day(measuring, at, people)
    return watch_until(measuring, at, people, until=min(until, LASTS), every=every)


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
