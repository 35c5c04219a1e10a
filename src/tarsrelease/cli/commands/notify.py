"""tarsrelease notify send, preview and test"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.options import MOMENT, SOME_TIME
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.notice import Notice
    from tarsrelease.model.outcome import Outcome

notify = LazyGroup(
    "notify",
    help="Send messages to people. A failed message never changes the release.",
    entries={
        "send": Entry(f"{__name__}:send", "Send a message to all channels."),
        "preview": Entry(f"{__name__}:preview", "Print the message; send nothing."),
        "test": Entry(f"{__name__}:test", "Try each channel."),
    },
)

_EVENTS = (
    *("scheduled", "started", "stage", "hold", "waiting", "protected", "promoted", "complete"),
    *("rollback-started", "rollback", "rollback-failed", "incident", "resolved", "customers"),
    "overridden",
)


def _notice_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options of a message; both commands have them."""
    for option in (
        click.option("--no-pagerduty", is_flag=True, help="Send nothing to PagerDuty."),
        click.option(
            "--link", metavar="URL", help="Link in the message. Default on GitHub: the run's page."
        ),
        click.option(
            "--approval",
            metavar="ENVIRONMENT",
            default="",
            help="GitHub environment whose approval is waited for; the message links to it.",
        ),
        click.option(
            "--reason", metavar="TEXT", default="", help="Reason, for the readers of the message."
        ),
        click.option(
            "--about",
            metavar="TEXT",
            default="",
            help="Distinguish events that can happen twice in a run, such as canary-10.",
        ),
        click.option(
            "--starts",
            type=MOMENT,
            metavar="TIME",
            help="Start of a scheduled release (ISO 8601). Default: now.",
        ),
        click.option(
            "--ends",
            type=MOMENT,
            metavar="TIME",
            help="End of a scheduled release. Default: of the window, or of the longest stages.",
        ),
        click.option(
            "--event", type=click.Choice(_EVENTS), required=True, help="Event to announce."
        ),
    ):
        function = option(function)
    return function


def _notice(session: Session, options: dict[str, Any]) -> Notice:
    from datetime import UTC, datetime

    from tarsrelease.model.notice import Event, Notice
    from tarsrelease.operations.announcing import planned

    starts, ends = options["starts"], options["ends"]
    if options["event"] == Event.SCHEDULED:
        starts, usual = planned(session.release.rollout, starts or datetime.now(UTC))
        ends = ends or usual
    owner = session.run.owner
    found = owner if owner.startswith("https://") else ""
    return Notice(
        event=Event(options["event"]),
        application=session.release.rollout.application,
        release=session.release.version,
        environment=session.environment.name,
        run=session.run.id,
        about=options["about"],
        reason=options["reason"],
        link=options["link"] or found,
        approval=options["approval"],
        starts_at=starts,
        ends_at=ends,
    )


@_notice_options
@click.option(
    "--wait",
    type=SOME_TIME,
    metavar="DURATION",
    default="20s",
    show_default=True,
    help="How long to wait for receivers that do not answer.",
)
def _send(settings: Settings, wait: float, **options: Any) -> int:
    """Send a message about an event to all channels, once per run.

    The journal on the cluster and the evidence folder show which messages were sent already.
    `notifications` in the environment file names the receivers. If one does not answer, the Outcome
    has a warning, the exit code is 0, and the next command of the release tries again.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.channels.templates import worded
        from tarsrelease.adapters.clock import SystemClock
        from tarsrelease.adapters.files.evidence_file import outcomes_in
        from tarsrelease.steps.notify import send as step
        from tarsrelease.steps.notify import told_before
        from tarsrelease.wiring.outbox import closing_outbox

        clock, place = SystemClock(), session.environment
        notice = _notice(session, options)
        worded(notice, place.notifications.templates)  # a template that is wrong is said at once
        evidence = session.evidence()
        recorded = outcomes_in(evidence.path.parent) if evidence else ()
        known = told_before(recorded, notice, clock.now())
        outbox = closing_outbox(place, session.release, known=known, without=_without(options))
        return step(notice, outbox, wait=wait, clock=clock)

    return carry_out(settings, "notify send", act)


@_notice_options
def _preview(settings: Settings, **options: Any) -> int:
    """Print the message to each channel as JSON; send nothing and show no key."""
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.channels.channels import Channels
        from tarsrelease.adapters.channels.templates import worded
        from tarsrelease.adapters.clock import SystemClock
        from tarsrelease.steps.notify import preview as step

        clock, place = SystemClock(), session.environment
        notice = worded(_notice(session, options), place.notifications.templates)
        messages, warnings = Channels(place.notifications).messages(
            notice, clock.now(), keys=False, without=_without(options)
        )
        return step(notice, messages, clock=clock, warnings=warnings)

    return carry_out(settings, "notify preview", act, changes=False, recording=Recording.WHEN_ASKED)


def _without(options: dict[str, Any]) -> tuple[str, ...]:
    return ("pagerduty",) if options["no_pagerduty"] else ()


def _test(settings: Settings) -> int:
    """Try each channel that the environment file names, and clean up.

    Slack and webhooks get a message that says it is a test. PagerDuty gets an alert of severity
    info that is resolved at once. The mail server gets a login, Statuspage a read request; people
    outside the team see neither.
    """
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.channels.channels import Channels
        from tarsrelease.adapters.channels.trial import trials
        from tarsrelease.adapters.clock import SystemClock
        from tarsrelease.steps.notify_test import notify_test

        channels = Channels(session.environment.notifications)
        tries = trials(channels, session.run.id, session.environment.name)
        return notify_test(tries, session.environment.name, clock=SystemClock())

    return carry_out(settings, "notify test", act, changes=False, recording=Recording.WHEN_ASKED)


test = command(
    "environment",
    "evidence:none",
    name="test",
    example="tarsrelease notify test --environment production",
)(_test)

send = command(
    "release",
    "environment",
    "evidence",
    name="send",
    example="tarsrelease notify send --event started --release release/v1_0_1 "
    "--environment production\n"
    'tarsrelease notify send --event hold --about canary-10 --reason "too few requests" '
    "--release release/v1_0_1 --environment production",
)(_send)

preview = command(
    "release:newest",
    "environment",
    "evidence:none",
    name="preview",
    example="tarsrelease notify preview --event rollback --environment production",
)(_preview)
