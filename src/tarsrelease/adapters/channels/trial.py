"""One harmless request to each channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from tarsrelease.adapters.channels.channels import Channel, Channels
from tarsrelease.adapters.channels.email import EmailChannel
from tarsrelease.adapters.channels.slack import SlackBot
from tarsrelease.adapters.channels.statuspage import StatuspageChannel
from tarsrelease.model.notice import Event, Message, Notice
from tarsrelease.report.notices.pagerduty import ALERTS, PAGERDUTY

_TEXT = "Test of tarsrelease: please ignore."


def trials(channels: Channels, run: str, environment: str) -> Mapping[str, Callable[[], str]]:
    """By channel: a function that tries it and returns what was done.

    The functions raise UnreachableError or UsageError.
    """
    notice = Notice(
        event=Event.STARTED,
        application="tarsrelease",
        release="test",
        environment=environment,
        run=run,
        headline=_TEXT,
    )
    return {
        name: partial(_try, name, channel, notice) for name, channel in channels.by_name.items()
    }


def _try(name: str, channel: Channel, notice: Notice) -> str:
    if isinstance(channel, EmailChannel):
        channel.greet()
        return "logged in; no e-mail was sent"
    if isinstance(channel, StatuspageChannel):
        said = f"the page {channel.page()!r} was read; nothing was published"
        channel.check_components()
        return said
    if isinstance(channel, SlackBot):
        return f"logged in as {channel.call('auth.test', {}).get('user', '?')}; nothing was posted"
    now = datetime.now(UTC)
    if name == PAGERDUTY:
        for message in _alert_and_its_end(channel, notice, now):
            channel.deliver(message)
        return "an alert of severity info was opened and resolved"
    for message in channel.messages(notice, now, keys=True):
        channel.deliver(message)
    return "a test message was sent"


def _alert_and_its_end(channel: Channel, notice: Notice, now: datetime) -> tuple[Message, ...]:
    ending = notice.model_copy(update={"event": Event.RESOLVED})
    resolved = next(m for m in channel.messages(ending, now, keys=True) if m.path == ALERTS)
    alert = Message(
        receiver=PAGERDUTY,
        path=ALERTS,
        body={
            "routing_key": resolved.body["routing_key"],
            "event_action": "trigger",
            "dedup_key": resolved.body["dedup_key"],
            "payload": {"summary": _TEXT, "source": notice.environment, "severity": "info"},
        },
    )
    return alert, resolved
