"""Requests to a provider: retried by its rules, and never with its address in an error.

400 (the message is wrong), 404 and 410 (the webhook is gone) are not retried; 429 and 5xx are,
after Retry-After if given, within one deadline per message. Requests keep the distance that the
provider's rate limit asks for.
"""

from __future__ import annotations

import os
import threading
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import httpx

from tarsrelease.adapters.http.client import LATER, Answer, Client, retry_after
from tarsrelease.model.errors import BusyError, NotLetInError, UnreachableError, UsageError

_TIMEOUT = 5.0
ATTEMPTS = 4
_EXCERPT = 200
_LOGIN = frozenset({401, 403, 407})


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


class Provider:
    """Requests to one provider within `deadline` seconds each, at least `distance` seconds apart.

    Raises UnreachableError if it does not answer, and UsageError if it refuses.
    """

    def __init__(
        self, receiver: str, deadline: float, *, distance: float = 0.0, attempts: int = ATTEMPTS
    ) -> None:
        self._receiver, self._deadline = receiver, deadline
        self._attempts, self._distance = attempts, distance
        self._client = Client(seconds=_TIMEOUT)
        self._next, self._turn = 0.0, threading.Lock()

    def request(self, method: str, address: str, **more: Any) -> Answer:
        """The provider's answer, of a status below 300."""
        if not _is_url(address):
            raise self._no_address()
        self._keep_distance()
        try:
            ends_at = monotonic() + self._deadline
            answer = self._client.request(
                method, address, deadline=ends_at, attempts=self._attempts, **more
            )
        except httpx.InvalidURL:
            raise self._no_address() from None
        except httpx.HTTPError as error:
            # The address may be a secret (Slack's webhook) and is never printed.
            raise self.away(type(error).__name__) from None
        if answer.status >= 300:
            raise self._refusal(answer)
        return answer

    def _keep_distance(self) -> None:
        with self._turn:
            wait = self._next - monotonic()
            if wait > 0:
                sleep(wait)
            self._next = monotonic() + self._distance

    def away(self, found: str) -> UnreachableError:
        """The error of a provider that does not answer as it should."""
        return UnreachableError(**self._no_answer(found))

    def busy(self, found: str, after: float | None) -> BusyError:
        """The error of a provider that asks to come back `after` seconds."""
        error = BusyError(**self._no_answer(found))
        error.after = after
        return error

    def not_let_in(self, found: str) -> NotLetInError:
        """The error of a provider that refuses the login."""
        return NotLetInError(
            doing=f"telling {self._receiver}",
            found=found,
            expected="a token or a key that the provider accepts",
            next_step="check the variable that the environment file names under notifications",
        )

    def _no_answer(self, found: str) -> dict[str, str]:
        return {
            "doing": f"telling {self._receiver}",
            "found": found,
            "expected": "an answer from the provider",
            "next_step": "the release continues; notify people yourself",
        }

    def refused(self, said: str) -> UsageError:
        """The error of a provider that does not accept the message."""
        return UsageError(
            doing=f"telling {self._receiver}",
            found=said,
            expected="a message that the provider accepts",
            next_step=f"check {self._receiver} under notifications; the message is not sent again",
        )

    def _refusal(self, answer: Answer) -> UnreachableError | UsageError:
        said = f"status {answer.status}: {answer.text[:_EXCERPT].strip() or '(no text)'}"
        if answer.status in LATER:
            return self.busy(said, retry_after(answer.headers))
        if answer.status in _LOGIN:
            return self.not_let_in(said)
        return self.refused(said)

    def _no_address(self) -> UsageError:
        return UsageError(
            doing=f"telling {self._receiver}",
            found="its address is no URL (it is not shown, as it may be a secret)",
            expected="https://HOST/PATH",
            next_step="correct the variable or the address that notifications name",
        )


def _is_url(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
