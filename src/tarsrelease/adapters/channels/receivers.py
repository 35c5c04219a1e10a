"""Slack's incoming webhook and PagerDuty's Events API, by httpx; repeated as the providers ask.

What a provider refuses (400: the message is wrong; 404, 410: the webhook is gone) is not repeated;
429 and 5xx are, after Retry-After where it is given, within one deadline for each message.
"""

from __future__ import annotations

import os
from datetime import datetime

import httpx
import stamina

from tarsrelease.model.environment import Notifications
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.notice import Message, Notice
from tarsrelease.report import notices
from tarsrelease.report.notices import PAGERDUTY, SLACK

_TIMEOUT = 5.0
_ATTEMPTS = 4
_PATIENCE = 10.0
"""Seconds: a provider that asks for more is not waited for."""
_LATER = {429, 500, 502, 503, 504}
_EXCERPT = 200


def secret(variable: str, receiver: str) -> str:
    """What the variable holds. Raises UsageError where it is not set; it is never printed."""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise UsageError(
            doing=f"preparing to tell {receiver}",
            found=f"the environment variable {variable} is not set",
            expected="what the environment's file names under notifications",
            next_step=f"set {variable}, or take {receiver} out of the environment's file",
        )
    return value


class HttpReceivers:
    """The port `Receivers`. A message is tried `_ATTEMPTS` times, `deadline` seconds at most."""

    def __init__(self, settings: Notifications, *, deadline: float = 20.0) -> None:
        self._settings = settings
        self._deadline = deadline
        self._client = httpx.Client(timeout=_TIMEOUT, follow_redirects=False)

    def deliver(self, message: Message) -> None:
        """Return when the provider has taken it. Raises UnreachableError or UsageError."""
        address = self._address(message)
        post = stamina.retry(
            on=_worth_repeating,
            attempts=_ATTEMPTS,
            timeout=self._deadline,
            wait_initial=0.2,
            wait_max=5.0,
        )(self._post)
        try:
            post(address, message)
        except httpx.HTTPStatusError as error:
            raise _refusal(message.receiver, error.response) from None
        except httpx.HTTPError as error:
            # The address is a secret (Slack's webhook): it stands in no text.
            raise _away(message.receiver, type(error).__name__) from None

    def _post(self, address: str, message: Message) -> None:
        answer = self._client.post(address, json=message.body)
        if answer.status_code >= 300:
            raise httpx.HTTPStatusError("refused", request=answer.request, response=answer)

    def _address(self, message: Message) -> str:
        if message.receiver == SLACK and self._settings.slack is not None:
            return secret(self._settings.slack.webhook_env, SLACK)
        if message.receiver == PAGERDUTY and self._settings.pagerduty is not None:
            return self._settings.pagerduty.url.rstrip("/") + message.path
        raise UsageError(
            doing=f"telling {message.receiver}",
            found="the environment's file does not name it",
            expected=f"notifications.{message.receiver}",
            next_step="add it, or send to others",
        )


def _worth_repeating(error: Exception) -> bool | float:
    """Whether to try again, and after how many seconds where the provider said so."""
    if isinstance(error, httpx.HTTPStatusError):
        if error.response.status_code not in _LATER:
            return False
        asked = error.response.headers.get("retry-after", "")
        if asked.isdigit():
            return float(asked) if float(asked) <= _PATIENCE else False
        return True
    return isinstance(error, httpx.TransportError)


def _refusal(receiver: str, answer: httpx.Response) -> UnreachableError | UsageError:
    said = f"status {answer.status_code}: {answer.text[:_EXCERPT].strip() or '(no text)'}"
    if answer.status_code in _LATER:
        return _away(receiver, said)
    return UsageError(
        doing=f"telling {receiver}",
        found=said,
        expected="a message that the provider takes",
        next_step="check the webhook or the integration key; the same message is not repeated",
    )


def _away(receiver: str, found: str) -> UnreachableError:
    return UnreachableError(
        doing=f"telling {receiver}",
        found=found,
        expected="an answer from the provider",
        next_step="the day goes on; tell people yourself",
    )


def messages_for(
    notice: Notice, settings: Notifications, at: datetime, *, pagerduty: bool
) -> tuple[list[Message], list[str]]:
    """What is to be sent, and a warning for each receiver that cannot be told for lack of a key."""
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
    """What would be sent; no key is read for it."""
    messages = [notices.slack(notice)] if settings.slack is not None else []
    if settings.pagerduty is not None and pagerduty:
        messages += notices.pagerduty(notice, at, "")
    return messages
