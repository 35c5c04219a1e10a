"""tarsrelease notify send and preview"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.notice import Notice
    from tarsrelease.model.outcome import Outcome

notify = LazyGroup(
    "notify",
    help="Send messages to Slack and PagerDuty. A failed message never changes the release.",
    entries={
        "send": Entry(f"{__name__}:send", "Send a message to Slack and PagerDuty."),
        "preview": Entry(f"{__name__}:preview", "Print the message; send nothing."),
    },
)

_EVENTS = ("started", "hold", "rollback", "promoted", "complete")


def _notice_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options of a message; both commands have them."""
    for option in (
        click.option("--no-pagerduty", is_flag=True, help="Send nothing to PagerDuty."),
        click.option(
            "--link", metavar="URL", help="Link in the message. Default on GitHub: the run's page."
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
            "--event", type=click.Choice(_EVENTS), required=True, help="Event to announce."
        ),
    ):
        function = option(function)
    return function


def _notice(session: Session, options: dict[str, Any]) -> Notice:
    from tarsrelease.model.notice import Event, Notice

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
    )


@_notice_options
def _send(settings: Settings, **options: Any) -> int:
    """Send a message about an event to Slack and PagerDuty, once per run.

    The evidence folder shows which messages were sent already. `notifications` in the environment
    file names the receivers. If one does not answer, the Outcome has a warning and the exit code is
    0.
    """
    from tarsrelease.cli.session import carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.channels.receivers import HttpReceivers, messages_for
        from tarsrelease.adapters.clock import SystemClock
        from tarsrelease.adapters.files.evidence_file import outcomes_in
        from tarsrelease.steps.notify import send as step

        clock, place = SystemClock(), session.environment
        notice = _notice(session, options)
        messages, warnings = messages_for(
            notice, place.notifications, clock.now(), pagerduty=not options["no_pagerduty"]
        )
        evidence = session.evidence()
        return step(
            notice,
            messages,
            told=outcomes_in(evidence.path.parent) if evidence else (),
            receivers=HttpReceivers(place.notifications),
            clock=clock,
            warnings=warnings,
        )

    return carry_out(settings, "notify send", act)


@_notice_options
def _preview(settings: Settings, **options: Any) -> int:
    """Print the messages to Slack and PagerDuty as JSON; send nothing and show no key."""
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.channels.receivers import previewed
        from tarsrelease.adapters.clock import SystemClock
        from tarsrelease.steps.notify import preview as step

        clock, place = SystemClock(), session.environment
        notice = _notice(session, options)
        messages = previewed(
            notice, place.notifications, clock.now(), pagerduty=not options["no_pagerduty"]
        )
        return step(notice, messages, clock=clock)

    return carry_out(settings, "notify preview", act, changes=False, recording=Recording.WHEN_ASKED)


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
