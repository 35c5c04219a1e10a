"""PagerDuty's Events API v2."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tarsrelease.adapters.channels.posting import ATTEMPTS, Provider, secret
from tarsrelease.model.notice import Message, Notice
from tarsrelease.model.notifications import PagerDuty
from tarsrelease.report.notices.pagerduty import PAGERDUTY, pagerduty


class PagerDutyChannel:
    """Change events and alerts."""

    def __init__(self, settings: PagerDuty, deadline: float, attempts: int = ATTEMPTS) -> None:
        self._settings = settings
        self._provider = Provider(PAGERDUTY, deadline, attempts=attempts)

    def messages(self, notice: Notice, at: datetime, *, keys: bool) -> Sequence[Message]:
        """See `Channel`. Raises UsageError if the key is wanted and not set."""
        key = secret(self._settings.routing_key_env, PAGERDUTY) if keys else ""
        return pagerduty(notice, at, key)

    @property
    def variables(self) -> tuple[str | None, ...]:
        """See `Channel`."""
        return (self._settings.routing_key_env,)

    def deliver(self, message: Message) -> None:
        """See `Channel`."""
        address = self._settings.url.rstrip("/") + message.path
        answer = self._provider.request("POST", address, json=message.body)
        try:
            accepted = answer.json()["status"] == "success"
        except (ValueError, LookupError, TypeError):
            accepted = False
        if not accepted:
            raise self._provider.away("an answer that is not PagerDuty's JSON")
