"""E-mail by SMTP, always encrypted."""

from __future__ import annotations

import hashlib
import smtplib
import ssl
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from email.message import EmailMessage
from email.utils import formatdate
from time import sleep
from typing import Any

from tarsrelease.adapters.channels.posting import secret
from tarsrelease.adapters.other_shapes import UNREADABLE, excerpt
from tarsrelease.model.errors import NotLetInError, UnreachableError, UsageError
from tarsrelease.model.notice import Event, Message, Notice
from tarsrelease.model.notifications import Email
from tarsrelease.report.notices.email import EMAIL, email

_TIMEOUT = 5.0
_ATTEMPTS, _PAUSE = 3, 1.0
_LOGIN = frozenset({530, 534, 535, 538})


class EmailChannel:
    """One e-mail per notice to all recipients."""

    def __init__(self, settings: Email, deadline: float, attempts: int = _ATTEMPTS) -> None:
        self._settings, self._deadline, self._most = settings, deadline, attempts

    @property
    def variables(self) -> tuple[str | None, ...]:
        """See `Channel`."""
        return (self._settings.username_env, self._settings.password_env)

    def messages(self, notice: Notice, at: datetime, *, keys: bool) -> Sequence[Message]:  # noqa: ARG002
        """See `Channel`."""
        return (email(notice),)

    def deliver(self, message: Message) -> None:
        """See `Channel`."""
        written = self._written(message.body)
        self._within_deadline(lambda server: server.send_message(written))

    def greet(self) -> None:
        """Connect and log in, and send nothing."""
        self._within_deadline(lambda server: server.noop())

    def _written(self, body: dict[str, object]) -> EmailMessage:
        written = EmailMessage()
        written["Subject"] = str(body["subject"])
        written["From"] = self._settings.sender
        customers = self._settings.customers if body["event"] == Event.CUSTOMERS else ()
        if customers:
            written["To"] = self._settings.sender
            written["Bcc"] = ", ".join(customers)
        else:
            written["To"] = ", ".join(self._settings.to)
        written["Date"] = formatdate(usegmt=True)
        # The same notice has the same id, so that a mailbox shows a second delivery once.
        name = hashlib.sha256(str(body["key"]).encode()).hexdigest()[:32]
        written["Message-ID"] = f"<{name}@{self._settings.sender.rpartition('@')[2]}>"
        written["Auto-Submitted"] = "auto-generated"
        written.set_content(str(body["text"]))
        written.add_alternative(str(body["html"]), subtype="html")
        return written

    def _within_deadline(self, act: Callable[[smtplib.SMTP], object]) -> None:
        """smtplib counts its timeout anew for every byte, so a thread has the total one."""
        ended: list[Exception | None] = []

        def work() -> None:
            try:
                self._attempts(act)
            except Exception as problem:  # noqa: BLE001 - raised below, in the caller's thread
                ended.append(problem)
            else:
                ended.append(None)

        thread = threading.Thread(target=work, daemon=True, name="sending e-mail")
        thread.start()
        thread.join(self._deadline)
        if not ended:
            raise self._away(f"no answer within {self._deadline:g}s")
        if ended[0] is not None:
            raise ended[0]

    def _attempts(self, act: Callable[[smtplib.SMTP], object]) -> None:
        for attempt in range(self._most):
            last = attempt == self._most - 1
            try:
                with self._connected() as server:
                    act(server)
            except smtplib.SMTPResponseException as problem:
                if last or not 400 <= problem.smtp_code < 500:
                    found = f"{problem.smtp_code} {_text(problem.smtp_error)}"
                    if not 500 <= problem.smtp_code < 600:
                        raise self._away(found) from None
                    raise self._refused(found, problem.smtp_code) from None
            except smtplib.SMTPRecipientsRefused as problem:
                raise self._refused(f"all recipients: {_first(problem.recipients)}") from None
            except (OSError, smtplib.SMTPException) as problem:
                if last or isinstance(problem, ssl.SSLError):
                    raise self._away(excerpt(problem)) from None
            except UNREADABLE as problem:
                raise self._away(excerpt(problem)) from None
            else:
                return
            sleep(_PAUSE)

    def _connected(self) -> smtplib.SMTP:
        settings = self._settings
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                settings.host, settings.port, timeout=_TIMEOUT, context=context
            )
        else:
            server = smtplib.SMTP(settings.host, settings.port, timeout=_TIMEOUT)
        try:
            if settings.security == "starttls":
                server.starttls(context=context)
            if settings.username_env and settings.password_env:
                server.login(
                    secret(settings.username_env, EMAIL), secret(settings.password_env, EMAIL)
                )
        except BaseException:
            server.close()
            raise
        return server

    def _refused(self, found: str, code: int = 0) -> UsageError:
        kind = NotLetInError if code in _LOGIN else UsageError
        return kind(
            doing="telling email",
            found=f"the mail server refused it: {found}",
            expected="a sender, recipients and a login that it accepts",
            next_step="check notifications.email in the environment file",
        )

    def _away(self, found: str) -> UnreachableError:
        return UnreachableError(
            doing="telling email",
            found=found,
            expected=f"an answer from {self._settings.host}:{self._settings.port}",
            next_step="the release continues; notify people yourself",
        )


def _text(said: Any) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _first(refused: dict[str, tuple[int, bytes]]) -> str:
    code, said = next(iter(refused.values()), (0, b""))
    return f"{code} {_text(said)}"
