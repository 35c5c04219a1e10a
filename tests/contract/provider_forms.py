"""The published forms of what Slack and PagerDuty take, as JSON Schemas.

Slack: docs.slack.dev, "Header block" (text: plain_text, 150 characters), "Section block" (3 000),
"Blocks" (50 a message), "Incoming webhooks". PagerDuty: developer.pagerduty.com, "Send an alert
event" and "Send a change event" (routing_key: 32 characters, summary: 1 024, dedup_key: 255).
What they do not name is refused, too.
"""

from __future__ import annotations

from typing import Any


def text(kind: str, most: int) -> dict[str, Any]:
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


SLACK = {
    "type": "object",
    "required": ["text"],
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 40000},
        "blocks": {
            "type": "array",
            "maxItems": 50,
            "items": {
                "oneOf": [
                    {
                        "type": "object",
                        "required": ["type", "text"],
                        "properties": {
                            "type": {"const": "header"},
                            "text": text("plain_text", 150),
                        },
                        "additionalProperties": False,
                    },
                    {
                        "type": "object",
                        "required": ["type", "text"],
                        "properties": {"type": {"const": "section"}, "text": text("mrkdwn", 3000)},
                        "additionalProperties": False,
                    },
                ]
            },
        },
    },
    "additionalProperties": False,
}
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
