"""Slack's messages: `text`, and at most 50 `blocks`.

A section's text has at most 3 000 characters, a header's 150 (docs.slack.dev, "Block Kit",
"Incoming webhooks" and "chat.postMessage").
"""

from __future__ import annotations

from tarsrelease.model.notice import Event, Message, Notice
from tarsrelease.model.notifications import SlackChannel
from tarsrelease.report.notices.wording import cut, headline, link, public, with_reason

SLACK = "slack"
POST_MESSAGE = "chat.postMessage"
_HEADER, _TEXT, _FIRST_LINE = 150, 3000, 300
_KEY = 255
_SIGNS = {
    Event.SCHEDULED: ":calendar:",
    Event.STARTED: ":rocket:",
    Event.STAGE: ":fast_forward:",
    Event.HOLD: ":pause_button:",
    Event.WAITING: ":raised_hand:",
    Event.PROTECTED: ":shield:",
    Event.ROLLBACK_STARTED: ":rotating_light:",
    Event.ROLLBACK: ":rotating_light:",
    Event.ROLLBACK_FAILED: ":rotating_light:",
    Event.PROMOTED: ":arrow_up:",
    Event.COMPLETE: ":white_check_mark:",
    Event.INCIDENT: ":warning:",
    Event.RESOLVED: ":white_check_mark:",
    Event.CUSTOMERS: ":mega:",
    Event.OVERRIDDEN: ":warning:",
}
_ENDS = {
    *(Event.ROLLBACK_STARTED, Event.ROLLBACK, Event.ROLLBACK_FAILED),
    *(Event.COMPLETE, Event.INCIDENT, Event.RESOLVED),
}
_EVENTS = {
    "technical": frozenset(Event),
    "support": frozenset(
        {Event.SCHEDULED, Event.STARTED, Event.PROMOTED, Event.CUSTOMERS, *_ENDS},
    ),
    "summary": frozenset({Event.SCHEDULED, Event.STARTED, *_ENDS}),
}
"""The events that a channel gets, by its level of detail."""
_BROADCAST = frozenset({Event.HOLD, Event.WAITING, Event.PROTECTED, *_ENDS})
"""Replies that the channel shows outside the thread, too: a person must see them."""


def slack(notice: Notice) -> Message:
    """The webhook's message: a header, the reason, and a link to the run or to the approval."""
    return Message(receiver=SLACK, path="", body=_body(notice, "technical"))


def slack_channel(notice: Notice, channel: SlackChannel) -> tuple[Message, ...]:
    """The bot's message to a channel; none if its level of detail leaves the event out."""
    if notice.event not in _EVENTS[channel.detail]:
        return ()
    body = _body(notice, channel.detail)
    body["channel"] = channel.name
    key = cut(notice.key, _KEY)
    body["metadata"] = {"event_type": "tarsrelease", "event_payload": {"key": key}}
    body["unfurl_links"] = False
    if notice.event in _BROADCAST:
        body["reply_broadcast"] = True
    receiver, thread = f"{SLACK} {channel.name}", f"{notice.thread} {channel.name}"
    return (Message(receiver=receiver, path="", body=body, thread=thread),)


def _body(notice: Notice, detail: str) -> dict[str, object]:
    return {
        "text": _fitting(_said(notice, detail), _TEXT),
        "blocks": _blocks(notice, detail),
    }


def _said(notice: Notice, detail: str) -> str:
    if detail == "technical":
        return with_reason(notice)
    if detail == "support":
        told = public(notice.event)
        return f"{headline(notice)}. Customers read: {told}" if told else headline(notice)
    return headline(notice)


def _blocks(notice: Notice, detail: str) -> list[dict[str, object]]:
    title = cut(f"{_SIGNS[notice.event]} {headline(notice)}", _HEADER)
    blocks: list[dict[str, object]] = [
        {"type": "header", "text": {"type": "plain_text", "text": title}}
    ]
    told = public(notice.event)
    if detail == "technical" and notice.reason:
        blocks.append(_section(_fitting(notice.reason, _TEXT)))
    elif detail == "support" and told:
        blocks.append(_section(f"Customers read on the status page: _{_escaped(told)}_"))
    elif detail == "summary" and notice.reason:
        blocks.append(_section(_fitting(notice.reason.splitlines()[0], _FIRST_LINE)))
    address = link(notice)
    if notice.approval and address and detail == "technical":
        blocks.append(_decision(notice, address))
    if detail == "technical":
        where = f"Run `{_fitting(notice.run, _FIRST_LINE)}`"
        if address:
            where += f" · {_link(address, 'open it')}"
        blocks.append(_section(where))
    return blocks


def _decision(notice: Notice, address: str) -> dict[str, object]:
    where = _fitting(notice.approval, _FIRST_LINE)
    return _section(f"{_link(address, 'Approve or reject')} `{where}`")


def _link(address: str, text: str) -> str:
    return f"<{_escaped(address).replace('|', '%7C')}|{text}>"


def _section(text: str) -> dict[str, object]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _fitting(text: str, most: int) -> str:
    """Escaped, with at most `most` characters, and never cut within an escape."""
    escaped = _escaped(text)
    shown = cut(escaped, most)
    head, sign, tail = shown.rpartition("&")
    return f"{head}…" if shown != escaped and sign and ";" not in tail else shown


def _escaped(text: str) -> str:
    """Escape Slack's three control characters, so that no text can mention a channel or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
