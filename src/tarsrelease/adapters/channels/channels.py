"""The channels that an environment file names."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import Protocol

from tarsrelease.adapters.channels.email import EmailChannel
from tarsrelease.adapters.channels.pagerduty import PagerDutyChannel
from tarsrelease.adapters.channels.posting import ATTEMPTS
from tarsrelease.adapters.channels.slack import SlackBot, SlackWebhook
from tarsrelease.adapters.channels.statuspage import StatuspageChannel
from tarsrelease.adapters.channels.webhook import WebhookChannel
from tarsrelease.model.errors import UsageError
from tarsrelease.model.notice import Message, Notice
from tarsrelease.model.notifications import Notifications
from tarsrelease.report.notices.email import EMAIL
from tarsrelease.report.notices.pagerduty import PAGERDUTY
from tarsrelease.report.notices.slack import SLACK
from tarsrelease.report.notices.statuspage import STATUSPAGE

_DEADLINE = 20.0
"""Seconds for one message, its retries included."""


class Channel(Protocol):
    """One provider."""

    def messages(self, notice: Notice, at: datetime, *, keys: bool) -> Sequence[Message]:
        """What it is sent, in order; without `keys`, a body has no secret."""

    def deliver(self, message: Message) -> None:
        """Return when the provider has accepted it. Raises UnreachableError or UsageError."""

    @property
    def variables(self) -> tuple[str | None, ...]:
        """The environment variables with its secrets."""


class Channels:
    """The port `Receivers`: each message goes to the channel that it was made for."""

    def __init__(
        self,
        settings: Notifications,
        *,
        deadline: float = _DEADLINE,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Up to `attempts` requests in `deadline` seconds for each message."""
        self.threads: dict[str, str] = {}
        self.by_name: Mapping[str, Channel] = dict(
            _channels(settings, self.threads, deadline, attempts)
        )

    def usable(self) -> list[str]:
        """The channels whose secrets are set."""
        return [
            name
            for name, channel in self.by_name.items()
            if all(os.environ.get(variable) for variable in channel.variables if variable)
        ]

    def deliver(self, message: Message) -> None:
        """See `Channel.deliver`."""
        channel = self.by_name.get(message.receiver)
        if channel is None:
            raise UsageError(
                doing=f"telling {message.receiver}",
                found="the environment file does not name it",
                expected=f"notifications.{message.receiver}",
                next_step="add it, or choose another receiver",
            )
        channel.deliver(message)

    def messages(
        self, notice: Notice, at: datetime, *, keys: bool = True, without: Sequence[str] = ()
    ) -> tuple[list[Message], list[str]]:
        """The messages to send, and a warning for each channel that lacks something."""
        messages: list[Message] = []
        warnings = []
        for name, channel in self.by_name.items():
            if name in without:
                continue
            try:
                messages += channel.messages(notice, at, keys=keys)
            except UsageError as error:
                warnings.append(f"{name}: {error}; {error.detail.next}")
        return messages, warnings


def _channels(
    settings: Notifications, threads: MutableMapping[str, str], deadline: float, attempts: int
) -> list[tuple[str, Channel]]:
    found: list[tuple[str, Channel]] = []
    if settings.slack is not None:
        if settings.slack.webhook_env is not None:
            found.append((SLACK, SlackWebhook(settings.slack, deadline, attempts)))
        found += [
            (f"{SLACK} {each.name}", SlackBot(settings.slack, each, threads, deadline, attempts))
            for each in settings.slack.channels
        ]
    if settings.pagerduty is not None:
        found.append((PAGERDUTY, PagerDutyChannel(settings.pagerduty, deadline, attempts)))
    if settings.statuspage is not None:
        found.append((STATUSPAGE, StatuspageChannel(settings.statuspage, deadline, attempts)))
    if settings.email is not None:
        found.append((EMAIL, EmailChannel(settings.email, deadline, attempts)))
    found += [
        (f"webhook {each.name}", WebhookChannel(each, deadline, attempts))
        for each in settings.webhooks
    ]
    return found
