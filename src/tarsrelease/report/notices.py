"""A notice as the message of each receiver. Pure.

Slack: an incoming webhook takes `text` and `blocks`; at most 50 blocks, 3 000 characters a
section's text, 150 a header's (docs.slack.dev, "Block Kit", "Incoming webhooks").
PagerDuty Events API v2: change events for what is planned, alert events for what needs a person;
`summary` at most 1 024 characters, `dedup_key` at most 255 (developer.pagerduty.com, "Send an
alert event", "Send a change event").
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from tarsrelease.model.notice import Event, Message, Notice

SLACK = "slack"
PAGERDUTY = "pagerduty"
ALERTS = "/v2/enqueue"
CHANGES = "/v2/change/enqueue"

_HEADER, _TEXT, _SUMMARY, _DEDUP = 150, 3000, 1024, 255
_WORDS = {
    Event.STARTED: "has begun",
    Event.HOLD: "holds and waits for a decision",
    Event.ROLLBACK: "is rolled back",
    Event.PROMOTED: "is promoted",
    Event.COMPLETE: "is complete",
    Event.INCIDENT: "has an incident",
}
_SIGNS = {
    Event.STARTED: ":rocket:",
    Event.HOLD: ":pause_button:",
    Event.ROLLBACK: ":rotating_light:",
    Event.PROMOTED: ":arrow_up:",
    Event.COMPLETE: ":white_check_mark:",
    Event.INCIDENT: ":warning:",
}
_SEVERITY = {Event.HOLD: "warning", Event.ROLLBACK: "critical", Event.INCIDENT: "error"}


def headline(notice: Notice) -> str:
    """One line: event, release, environment."""
    about = f" ({notice.about})" if notice.about else ""
    return (
        f"{notice.application} {notice.release} {_WORDS[notice.event]} "
        f"in {notice.environment}{about}"
    )


def _told(notice: Notice) -> str:
    """The headline with its reason, which is all that a phone shows."""
    return f"{headline(notice)}: {notice.reason}" if notice.reason else headline(notice)


def slack(notice: Notice) -> Message:
    """A header, the reason, and a link to the run."""
    said = headline(notice)
    blocks: list[dict[str, object]] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": _cut(f"{_SIGNS[notice.event]} {said}", _HEADER)},
        }
    ]
    if notice.reason:
        blocks.append(_section(_cut(_escaped(notice.reason), _TEXT)))
    where = f"Run `{_escaped(notice.run)}`"
    if notice.link.startswith(("https://", "http://")):
        where += f" · <{_escaped(notice.link)}|open it>"
    blocks.append(_section(_cut(where, _TEXT)))
    return Message(
        receiver=SLACK,
        path="",
        body={"text": _cut(_escaped(_told(notice)), _TEXT), "blocks": blocks},
    )


def pagerduty(notice: Notice, at: datetime, routing_key: str) -> tuple[Message, ...]:
    """A change event for what is planned; an alert for what needs a person.

    The end of a release resolves the alert of a hold in the same run. The alert of a rollback
    stays until a person resolves it.
    """
    if notice.event in _SEVERITY:
        return (_alert(notice, at, routing_key),)
    change = Message(
        receiver=PAGERDUTY,
        path=CHANGES,
        body={
            "routing_key": routing_key,
            "payload": {
                "summary": _cut(headline(notice), _SUMMARY),
                "timestamp": at.isoformat(),
                "source": "tarsrelease",
                "custom_details": _details(notice),
            },
            **_links(notice),
        },
    )
    if notice.event is not Event.COMPLETE:
        return (change,)
    resolved = Message(
        receiver=PAGERDUTY,
        path=ALERTS,
        body={
            "routing_key": routing_key,
            "event_action": "resolve",
            "dedup_key": dedup_key(notice, Event.HOLD),
        },
    )
    return change, resolved


def dedup_key(notice: Notice, event: Event) -> str:
    """The key of the alert: one per kind of event in a run."""
    parts = (notice.application, notice.environment, notice.release, notice.run, event.value)
    key = "tarsrelease/" + "/".join(parts)
    if len(key) <= _DEDUP:
        return key
    return "tarsrelease/" + hashlib.sha256(key.encode()).hexdigest()


def _alert(notice: Notice, at: datetime, routing_key: str) -> Message:
    return Message(
        receiver=PAGERDUTY,
        path=ALERTS,
        body={
            "routing_key": routing_key,
            "event_action": "trigger",
            "dedup_key": dedup_key(notice, notice.event),
            "client": "tarsrelease",
            "payload": {
                "summary": _cut(_told(notice), _SUMMARY),
                "source": f"{notice.environment}/{notice.application}",
                "severity": _SEVERITY[notice.event],
                "timestamp": at.isoformat(),
                "component": notice.application,
                "group": notice.environment,
                "class": notice.event.value,
                "custom_details": _details(notice),
            },
            **_links(notice),
        },
    )


def _details(notice: Notice) -> dict[str, str]:
    said = {
        "release": notice.release,
        "environment": notice.environment,
        "run": notice.run,
        "about": notice.about,
        "reason": _cut(notice.reason, _TEXT),
    }
    return {name: value for name, value in said.items() if value}


def _links(notice: Notice) -> dict[str, object]:
    if not notice.link.startswith(("https://", "http://")):
        return {}
    return {"links": [{"href": notice.link, "text": "the run"}]}


def _section(text: str) -> dict[str, object]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _escaped(text: str) -> str:
    """Escape Slack's three control characters, so that no text can mention a channel or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
