"""A webhook's body: the notice as JSON, or as Microsoft Teams, Discord or Google Chat take it.

Teams: an Adaptive Card for a Workflows webhook (learn.microsoft.com, "Create incoming webhooks with
Workflows"). Discord: at most 2 000 characters, no mentions (discord.com/developers, "Execute
Webhook"). Google Chat: at most 4 096 characters (developers.google.com/chat, "Incoming webhook").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tarsrelease.model.notice import Message, Notice
from tarsrelease.report.notices.wording import cut, facts, headline, link, with_reason

_TEAMS, _DISCORD, _GOOGLE = 20_000, 2000, 4096


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
        **facts(notice, _TEAMS),
    }


def _teams(notice: Notice) -> dict[str, object]:
    body: list[dict[str, object]] = [
        {
            "type": "TextBlock",
            "text": _plain(headline(notice)),
            "weight": "bolder",
            "size": "medium",
            "wrap": True,
        }
    ]
    if notice.reason:
        body.append({"type": "TextBlock", "text": _plain(cut(notice.reason, 5000)), "wrap": True})
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
    lines = [with_reason(notice), *filter(None, [link(notice)])]
    return {
        "content": cut(_plain("\n".join(lines)), _DISCORD),
        "allowed_mentions": {"parse": []},
    }


def _google(notice: Notice) -> dict[str, object]:
    lines = [with_reason(notice), *filter(None, [link(notice)])]
    escaped = "\n".join(lines).replace("<", "\u2039").replace(">", "\u203a")
    return {"text": cut(escaped, _GOOGLE)}


def _plain(text: str) -> str:
    """Without Markdown that would change the text or mention somebody."""
    for sign in "\\`*_~|[]<>":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("@", "@\u200b")


FORMS: Mapping[str, Callable[[Notice], dict[str, object]]] = {
    "json": _json,
    "teams": _teams,
    "discord": _discord,
    "google-chat": _google,
}
