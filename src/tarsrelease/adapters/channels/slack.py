"""Slack's incoming webhook."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tarsrelease.adapters.channels.posting import Provider, secret
from tarsrelease.model.environment import Slack
from tarsrelease.model.notice import Message, Notice
from tarsrelease.report.notices.slack import SLACK, slack


class SlackChannel:
    """One message per notice."""

    def __init__(self, settings: Slack, deadline: float) -> None:
        self._settings = settings
        self._provider = Provider(SLACK, deadline)

    def messages(self, notice: Notice, at: datetime, *, keys: bool) -> Sequence[Message]:  # noqa: ARG002
        """See `Channel`."""
        return (slack(notice),)

    def deliver(self, message: Message) -> None:
        """See `Channel`."""
        address = secret(self._settings.webhook_env, SLACK)
        self._provider.request("POST", address, json=message.body)
