"""A webhook's body: the notice as JSON, or as Microsoft Teams, Discord or Google Chat take it.

Teams: an Adaptive Card of at most 28 KB for a Workflows webhook (learn.microsoft.com, "Create
incoming webhooks with Workflows"). Discord: at most 2 000 characters, no mentions
(discord.com/developers, "Execute Webhook"). Google Chat: at most 4 096 characters
(developers.google.com/chat, "Incoming webhook").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tarsrelease.model.notice import Message, Notice
from tarsrelease.report.notices.wording import cut, facts, headline, link, with_reason

_JSON, _DISCORD, _GOOGLE = 20_000, 2000, 4096
_TEAMS_HEADLINE, _TEAMS_REASON = 300, 5000
"""Characters; escaped, a character has at most 4 bytes of the card."""


def webhook(name: str, form: str, notice: Notice) -> Message:
    """The message of the webhook `name`; `form` is a key of `FORMS`."""
    return Message(receiver=f"webhook {name}", path="", body=FORMS[form](notice))


def _json(notice: Notice) -> dict[str, object]:
    return {
        "event": notice.event.value,
        "key": notice.key,
        "headline": headline(notice),
        "application": notice.application,
        "link": link(notice),
        **facts(notice, _JSON),
    }


def _teams(notice: Notice) -> dict[str, object]:
    body: list[dict[str, object]] = [
        {
            "type": "TextBlock",
            "text": _plain(cut(headline(notice), _TEAMS_HEADLINE)),
            "weight": "bolder",
            "size": "medium",
            "wrap": True,
        }
    ]
    if notice.reason:
        reason = _plain(cut(notice.reason, _TEAMS_REASON))
        body.append({"type": "TextBlock", "text": reason, "wrap": True})
    card: dict[str, object] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    if address := link(notice):
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open the run", "url": address}]
    kind = "application/vnd.microsoft.card.adaptive"
    return {
        "type": "message",
        "attachments": [{"contentType": kind, "contentUrl": None, "content": card}],
    }


def _discord(notice: Notice) -> dict[str, object]:
    return {
        "content": _with_link(_plain(with_reason(notice)), notice, _DISCORD),
        "allowed_mentions": {"parse": []},
    }


def _google(notice: Notice) -> dict[str, object]:
    escaped = with_reason(notice).replace("<", "\u2039").replace(">", "\u203a")
    return {"text": _with_link(escaped, notice, _GOOGLE)}


def _with_link(text: str, notice: Notice, most: int) -> str:
    """The text, cut so that the whole link fits after it."""
    address = link(notice)
    end = f"\n{address}" if address else ""
    return cut(text, most - len(end)) + end


def _plain(text: str) -> str:
    """Without Markdown that would change the text or mention somebody."""
    for sign in "\\`*_~|[]<>#":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("@", "@\u200b")


FORMS: Mapping[str, Callable[[Notice], dict[str, object]]] = {
    "json": _json,
    "teams": _teams,
    "discord": _discord,
    "google-chat": _google,
}
