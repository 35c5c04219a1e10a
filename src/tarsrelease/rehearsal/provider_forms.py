"""What the providers of messages take, by their published rules, as JSON Schemas.

Slack: docs.slack.dev, "Header block" (text: plain_text, 150 characters), "Section block" (3 000),
"Blocks" (50 a message), "Incoming webhooks", "chat.postMessage". PagerDuty:
developer.pagerduty.com, "Send an alert event" and "Send a change event" (routing_key: 32
characters, summary: 1 024, dedup_key: 255). Statuspage: developer.statuspage.io, "Incidents". What
they do not name is refused, too.
"""

from __future__ import annotations

from typing import Any


def _text(kind: str, most: int) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", "text"],
        "properties": {
            "type": {"const": kind},
            "text": {"type": "string", "minLength": 1, "maxLength": most},
            "emoji": {"type": "boolean"},
            "verbatim": {"type": "boolean"},
        },
        "additionalProperties": False,
    }


def _block(kind: str, text: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", "text"],
        "properties": {"type": {"const": kind}, "text": text},
        "additionalProperties": False,
    }


_SAID = {
    "text": {"type": "string", "minLength": 1, "maxLength": 40000},
    "blocks": {
        "type": "array",
        "maxItems": 50,
        "items": {
            "oneOf": [
                _block("header", _text("plain_text", 150)),
                _block("section", _text("mrkdwn", 3000)),
            ]
        },
    },
}
SLACK = {
    "type": "object",
    "required": ["text"],
    "properties": _SAID,
    "additionalProperties": False,
}
"""A message to an incoming webhook."""
POST_MESSAGE = {
    "type": "object",
    "required": ["channel", "text"],
    "properties": {
        **_SAID,
        "channel": {"type": "string", "minLength": 1},
        "thread_ts": {"type": "string", "pattern": r"^\d+\.\d{6}$"},
        "reply_broadcast": {"type": "boolean"},
        "unfurl_links": {"type": "boolean"},
        "metadata": {
            "type": "object",
            "required": ["event_type", "event_payload"],
            "properties": {
                "event_type": {"type": "string"},
                "event_payload": {"type": "object"},
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
    "if": {"required": ["reply_broadcast"]},
    "then": {"required": ["thread_ts"]},
}
"""A call of chat.postMessage."""
LINKS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["href"],
        "properties": {"href": {"type": "string"}, "text": {"type": "string"}},
        "additionalProperties": False,
    },
}
KEY = {"type": "string", "minLength": 32, "maxLength": 32}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)$"}
SUMMARY = {"type": "string", "minLength": 1, "maxLength": 1024}
ALERT = {
    "type": "object",
    "required": ["routing_key", "event_action"],
    "properties": {
        "routing_key": KEY,
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "client": {"type": "string"},
        "client_url": {"type": "string"},
        "links": LINKS,
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "properties": {
                "summary": SUMMARY,
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": TIME,
                "component": {"type": "string"},
                "group": {"type": "string"},
                "class": {"type": "string"},
                "custom_details": {"type": "object"},
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload"]},
    "else": {"required": ["dedup_key"]},
}
CHANGE = {
    "type": "object",
    "required": ["routing_key", "payload"],
    "properties": {
        "routing_key": KEY,
        "payload": {
            "type": "object",
            "required": ["summary"],
            "properties": {
                "summary": SUMMARY,
                "timestamp": TIME,
                "source": {"type": "string"},
                "custom_details": {"type": "object"},
            },
            "additionalProperties": False,
        },
        "links": LINKS,
    },
    "additionalProperties": False,
}
FORMS = {"/v2/enqueue": ALERT, "/v2/change/enqueue": CHANGE}
"""By the path; everything else is Slack's."""

MAINTENANCE = ("scheduled", "in_progress", "verifying", "completed")
REALTIME = ("investigating", "identified", "monitoring", "resolved")
_INCIDENT = {
    "name": {"type": "string", "minLength": 1, "maxLength": 255},
    "status": {"enum": [*MAINTENANCE, *REALTIME]},
    "body": {"type": "string", "minLength": 1, "maxLength": 25000},
    "component_ids": {"type": "array", "items": {"type": "string"}},
    "metadata": {"type": "object", "additionalProperties": {"type": "object"}},
    "scheduled_for": TIME,
    "scheduled_until": TIME,
}


def statuspage(required: tuple[str, ...]) -> dict[str, Any]:
    """A request that creates or updates an incident, with these fields at least."""
    incident = {
        "type": "object",
        "required": list(required),
        "properties": _INCIDENT,
        "additionalProperties": False,
        "if": {"properties": {"status": {"const": "scheduled"}}, "required": ["status", "name"]},
        "then": {"required": ["scheduled_for", "scheduled_until"]},
    }
    return {
        "type": "object",
        "required": ["incident"],
        "properties": {"incident": incident},
        "additionalProperties": False,
    }


def allowed(before: str, after: str) -> bool:
    """Whether Statuspage lets an incident go from one status to the other."""
    order = MAINTENANCE if before in MAINTENANCE else REALTIME
    return after in order and before != order[-1]
