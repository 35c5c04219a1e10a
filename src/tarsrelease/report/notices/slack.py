"""Slack's incoming webhooks: `text`, and at most 50 `blocks`.

A section's text has at most 3 000 characters, a header's 150 (docs.slack.dev, "Block Kit" and
"Incoming webhooks").
"""

from __future__ import annotations

from tarsrelease.model.notice import Event, Message, Notice
from tarsrelease.report.notices.wording import cut, headline, link, with_reason

SLACK = "slack"
_HEADER, _TEXT = 150, 3000
_SIGNS = {
    Event.SCHEDULED: ":calendar:",
    Event.STARTED: ":rocket:",
    Event.STAGE: ":fast_forward:",
    Event.HOLD: ":pause_button:",
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


def slack(notice: Notice) -> Message:
    """A header, the reason, and a link to the run."""
    said = headline(notice)
    blocks: list[dict[str, object]] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": cut(f"{_SIGNS[notice.event]} {said}", _HEADER)},
        }
    ]
    if notice.reason:
        blocks.append(_section(cut(_escaped(notice.reason), _TEXT)))
    where = f"Run `{_escaped(notice.run)}`"
    if address := link(notice):
        where += f" · <{_escaped(address)}|open it>"
    blocks.append(_section(cut(where, _TEXT)))
    return Message(
        receiver=SLACK,
        path="",
        body={"text": cut(_escaped(with_reason(notice)), _TEXT), "blocks": blocks},
    )


def _section(text: str) -> dict[str, object]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _escaped(text: str) -> str:
    """Escape Slack's three control characters, so that no text can mention a channel or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
