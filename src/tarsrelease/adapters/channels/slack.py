"""Slack: an incoming webhook, or a bot that keeps one thread a release in each channel."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from datetime import datetime
from typing import Any

from tarsrelease.adapters.channels.posting import ATTEMPTS, Provider, secret
from tarsrelease.model.notice import Message, Notice
from tarsrelease.model.notifications import Slack, SlackChannel
from tarsrelease.report.notices.slack import POST_MESSAGE, SLACK, slack, slack_channel

_DISTANCE = 1.0
"""Slack takes one message a second and channel (docs.slack.dev, "Rate limits")."""
_LOGIN = frozenset({"invalid_auth", "not_authed", "token_expired", "token_revoked"})


class SlackWebhook:
    """One message per notice."""

    def __init__(self, settings: Slack, deadline: float, attempts: int = ATTEMPTS) -> None:
        self._settings = settings
        self._provider = Provider(SLACK, deadline, distance=_DISTANCE, attempts=attempts)

    def messages(self, notice: Notice, at: datetime, *, keys: bool) -> Sequence[Message]:  # noqa: ARG002
        """See `Channel`."""
        return (slack(notice),)

    def deliver(self, message: Message) -> None:
        """See `Channel`."""
        assert self._settings.webhook_env is not None  # noqa: S101
        address = secret(self._settings.webhook_env, SLACK)
        answer = self._provider.request("POST", address, json=message.body)
        if answer.text.strip() != "ok":
            raise self._provider.away("an answer other than Slack's ok")

    @property
    def variables(self) -> tuple[str | None, ...]:
        """See `Channel`."""
        return (self._settings.webhook_env,)


class SlackBot:
    """The messages of one channel: the first of a release, and replies to it in its thread.

    `threads` has the first message's `ts` by thread; a message that opens a thread adds to it.
    """

    def __init__(
        self,
        settings: Slack,
        channel: SlackChannel,
        threads: MutableMapping[str, str],
        deadline: float,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._settings, self._channel, self.threads = settings, channel, threads
        self._name = f"{SLACK} {channel.name}"
        self._provider = Provider(self._name, deadline, distance=_DISTANCE, attempts=attempts)

    def messages(self, notice: Notice, at: datetime, *, keys: bool) -> Sequence[Message]:  # noqa: ARG002
        """See `Channel`."""
        return slack_channel(notice, self._channel)

    def deliver(self, message: Message) -> None:
        """See `Channel`."""
        body = dict(message.body)
        opened = self.threads.get(message.thread)
        if opened is not None:
            body["thread_ts"] = opened
        else:
            body.pop("reply_broadcast", None)
        answer = self.call(POST_MESSAGE, body)
        if opened is None:
            self.threads[message.thread] = str(answer.get("ts", ""))

    def call(self, method: str, body: dict[str, object]) -> dict[str, Any]:
        """Slack's answer to a method of its Web API, which is `ok`."""
        assert self._settings.token_env is not None  # noqa: S101
        token = secret(self._settings.token_env, self._name)
        answer = self._provider.request(
            "POST",
            f"{self._settings.url.rstrip('/')}/{method}",
            json=body,
            headers={"Authorization": f"Bearer {token}"},
        )
        try:
            said: dict[str, Any] = answer.json()
            ok, error = said["ok"], str(said.get("error", ""))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise self._provider.away("an answer that is not Slack's JSON") from None
        if ok is True:
            return said
        if error in _LOGIN:
            raise self._provider.not_let_in(f"Slack says {error}")
        if error in ("ratelimited", "rate_limited", "internal_error", "fatal_error"):
            raise self._provider.busy(f"Slack says {error}", None)
        raise self._provider.refused(f"Slack says {error[:100]}")

    @property
    def variables(self) -> tuple[str | None, ...]:
        """See `Channel`."""
        return (self._settings.token_env,)
