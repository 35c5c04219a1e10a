"""The receivers of messages about a release."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tarsrelease.model.base import Name, Value, repeated
from tarsrelease.model.connections import HttpUrl, VariableName
from tarsrelease.model.notice import Event

PagerDutyId = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]+$")]


class SlackChannel(Value):
    """A channel that the bot writes to: its name or id, and the detail of its messages.

    `technical`: every event with reasons and links. `support`: what customers may notice, and what
    they read. `summary`: begin, end, rollback and incidents, in a line each.
    """

    name: Annotated[str, StringConstraints(pattern=r"^#?[A-Za-z0-9_-]{1,80}$")]
    detail: Literal["technical", "support", "summary"] = "technical"


class Slack(Value):
    """A bot with channels, an incoming webhook, or both.

    The webhook's address and the bot's token are secrets, so `webhook_env` and `token_env` name the
    variables with them. The bot writes one thread per release in each of `channels` and needs the
    scope chat:write. The webhook gets each message alone, with all details.
    """

    webhook_env: VariableName | None = None
    token_env: VariableName | None = None
    channels: tuple[SlackChannel, ...] = ()
    url: HttpUrl = "https://slack.com/api"

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.token_env is None) != (not self.channels):
            raise ValueError("give token_env and channels together")
        if self.webhook_env is None and self.token_env is None:
            raise ValueError("give webhook_env, or token_env with channels")
        names = [each.name for each in self.channels]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"channels: {min(twice)} is listed twice")
        return self


class PagerDuty(Value):
    """The Events API v2. `routing_key_env` names the variable with the integration's key.

    With `token_env`, the variable with a read-only key of the REST API, go or no-go asks for active
    incidents (of `services`, by id) and readiness who is on call (in `escalation_policies`, by id);
    without ids, of the whole account.
    """

    routing_key_env: VariableName
    url: HttpUrl = "https://events.pagerduty.com"
    token_env: VariableName | None = None
    api: HttpUrl = "https://api.pagerduty.com"
    services: tuple[PagerDutyId, ...] = ()
    escalation_policies: tuple[PagerDutyId, ...] = ()


class Statuspage(Value):
    """Atlassian Statuspage. `token_env` names the variable with the API key."""

    page: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+$")]
    token_env: VariableName
    components: tuple[str, ...] = ()
    url: HttpUrl = "https://api.statuspage.io"


MailAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$")]


class Email(Value):
    """A mail server. The connection is always encrypted: by STARTTLS, or from the beginning.

    `ca_file` is a bundle of certificates for a private authority. `customers` get the announcement
    to customers, and nothing else.
    """

    host: str
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls"] = "starttls"
    sender: MailAddress
    to: tuple[MailAddress, ...] = Field(min_length=1)
    customers: tuple[MailAddress, ...] = ()
    username_env: VariableName | None = None
    password_env: VariableName | None = None
    ca_file: str | None = None

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        if (self.username_env is None) != (self.password_env is None):
            raise ValueError("give both username_env and password_env, or neither")
        return self


class Webhook(Value):
    """Any other receiver. Its address is a secret, so `url_env` names the variable with it.

    With `secret_env`, the header X-Tarsrelease-Signature-256 has ``sha256=`` and the HMAC of the
    body. `form` is how the body is written. `events` limits it to these events.
    """

    name: Name
    url_env: VariableName
    secret_env: VariableName | None = None
    form: Literal["json", "teams", "discord", "google-chat"] = "json"
    events: tuple[Event, ...] = ()


class Notifications(Value):
    """The receivers of messages. A receiver that is not named gets no messages.

    `templates` is a folder with texts of the team's own, a Jinja2 file an event: the first line
    becomes the headline, the others the reason.
    """

    slack: Slack | None = None
    pagerduty: PagerDuty | None = None
    statuspage: Statuspage | None = None
    email: Email | None = None
    webhooks: tuple[Webhook, ...] = ()
    templates: str | None = None

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if twice := repeated([each.name for each in self.webhooks]):
            raise ValueError(f"webhooks: {twice} is listed twice")
        return self
