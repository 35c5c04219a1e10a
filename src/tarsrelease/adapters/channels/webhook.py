"""Any other receiver: JSON to an address, signed as GitHub signs its webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import datetime

from tarsrelease.adapters.channels.posting import ATTEMPTS, Provider, secret
from tarsrelease.model.notice import Message, Notice
from tarsrelease.model.notifications import Webhook
from tarsrelease.report.notices.webhook import webhook

_DISTANCE = 1.0
"""Google Chat takes one message a second and space; Teams and Discord take more."""
SIGNATURE = "X-Tarsrelease-Signature-256"


class WebhookChannel:
    """One message per notice, for the events that the receiver wants."""

    def __init__(self, settings: Webhook, deadline: float, attempts: int = ATTEMPTS) -> None:
        self._settings = settings
        self._provider = Provider(
            f"webhook {settings.name}", deadline, distance=_DISTANCE, attempts=attempts
        )

    def messages(self, notice: Notice, at: datetime, *, keys: bool) -> Sequence[Message]:  # noqa: ARG002
        """See `Channel`."""
        wanted = self._settings.events
        if wanted and notice.event not in wanted:
            return ()
        return (webhook(self._settings.name, self._settings.form, notice),)

    @property
    def variables(self) -> tuple[str | None, ...]:
        """See `Channel`."""
        return self._settings.url_env, self._settings.secret_env

    def deliver(self, message: Message) -> None:
        """See `Channel`."""
        name = f"webhook {self._settings.name}"
        content = json.dumps(message.body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if "key" in message.body:
            headers["Idempotency-Key"] = hashlib.sha256(
                str(message.body["key"]).encode()
            ).hexdigest()
        if self._settings.secret_env is not None:
            key = secret(self._settings.secret_env, name).encode()
            digest = hmac.new(key, content, hashlib.sha256).hexdigest()
            headers[SIGNATURE] = f"sha256={digest}"
        address = secret(self._settings.url_env, name)
        self._provider.request("POST", address, content=content, headers=headers)
