"""Slack's incoming webhook and PagerDuty's Events API, with retries.

400 (the message is wrong), 404 and 410 (the webhook is gone) are not retried; 429 and 5xx are,
after Retry-After if given, within one deadline per message.
"""

from __future__ import annotations

import os
from datetime import datetime
from time import monotonic
from urllib.parse import urlsplit

import httpx

from tarsrelease.adapters.http.client import LATER, Answer, Client
from tarsrelease.model.environment import Notifications
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.notice import Message, Notice
from tarsrelease.report import notices
from tarsrelease.report.notices import PAGERDUTY, SLACK

_TIMEOUT = 5.0
_ATTEMPTS = 4
_EXCERPT = 200


def secret(variable: str, receiver: str) -> str:
    """The variable's value, which is never printed. Raises UsageError if it is not set."""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise UsageError(
            doing=f"preparing to notify {receiver}",
            found=f"the environment variable {variable} is not set",
            expected="the variable that the environment file names under notifications",
            next_step=f"set {variable}, or remove {receiver} from the environment file",
        )
    return value


class HttpReceivers:
    """The port `Receivers`. A message is tried `_ATTEMPTS` times, `deadline` seconds at most."""

    def __init__(self, settings: Notifications, *, deadline: float = 20.0) -> None:
        self._settings = settings
        self._deadline = deadline
        self._client = Client(seconds=_TIMEOUT)

    def deliver(self, message: Message) -> None:
        """Return when the provider has accepted it. Raises UnreachableError or UsageError."""
        address = self._address(message)
        if not _is_url(address):
            raise _no_address(message.receiver)
        try:
            answer = self._client.post(
                address,
                json=message.body,
                deadline=monotonic() + self._deadline,
                attempts=_ATTEMPTS,
            )
        except httpx.InvalidURL:
            raise _no_address(message.receiver) from None
        except httpx.HTTPError as error:
            # The address is a secret (Slack's webhook) and is never printed.
            raise _away(message.receiver, type(error).__name__) from None
        if answer.status >= 300:
            raise _refusal(message.receiver, answer)

    def _address(self, message: Message) -> str:
        if message.receiver == SLACK and self._settings.slack is not None:
            return secret(self._settings.slack.webhook_env, SLACK)
        if message.receiver == PAGERDUTY and self._settings.pagerduty is not None:
            return self._settings.pagerduty.url.rstrip("/") + message.path
        raise UsageError(
            doing=f"telling {message.receiver}",
            found="the environment file does not name it",
            expected=f"notifications.{message.receiver}",
            next_step="add it, or choose another receiver",
        )


def _refusal(receiver: str, answer: Answer) -> UnreachableError | UsageError:
    said = f"status {answer.status}: {answer.text[:_EXCERPT].strip() or '(no text)'}"
    if answer.status in LATER:
        return _away(receiver, said)
    return UsageError(
        doing=f"telling {receiver}",
        found=said,
        expected="a message that the provider accepts",
        next_step="check the webhook or the integration key; this message is not retried",
    )


def _is_url(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _no_address(receiver: str) -> UsageError:
    return UsageError(
        doing=f"telling {receiver}",
        found="its address is no URL (it is not shown, as it may be a secret)",
        expected="https://HOST/PATH",
        next_step="correct the variable or the address that notifications name",
    )


def _away(receiver: str, found: str) -> UnreachableError:
    return UnreachableError(
        doing=f"telling {receiver}",
        found=found,
        expected="an answer from the provider",
        next_step="the release continues; notify people yourself",
    )


def messages_for(
    notice: Notice, settings: Notifications, at: datetime, *, pagerduty: bool
) -> tuple[list[Message], list[str]]:
    """The messages to send, and a warning for each receiver whose key is missing."""
    messages, warnings = [], []
    if settings.slack is not None:
        messages.append(notices.slack(notice))
    if settings.pagerduty is not None and pagerduty:
        try:
            key = secret(settings.pagerduty.routing_key_env, PAGERDUTY)
        except UsageError as error:
            warnings.append(f"{PAGERDUTY}: {error}; {error.detail.next}")
        else:
            messages += notices.pagerduty(notice, at, key)
    return messages, warnings


def previewed(
    notice: Notice, settings: Notifications, at: datetime, *, pagerduty: bool
) -> list[Message]:
    """The messages that would be sent, without reading keys."""
    messages = [notices.slack(notice)] if settings.slack is not None else []
    if settings.pagerduty is not None and pagerduty:
        messages += notices.pagerduty(notice, at, "")
    return messages
