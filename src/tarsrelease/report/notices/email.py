"""An e-mail with a plain and an HTML part."""

from __future__ import annotations

from html import escape

from tarsrelease.model.notice import Message, Notice
from tarsrelease.report.notices.wording import cut, facts, headline, link

EMAIL = "email"
_SUBJECT, _REASON = 200, 20_000
_STYLE = (
    "font-family:system-ui,sans-serif;color:#1f2328;background:#ffffff;max-width:40em;padding:1em"
)


def email(notice: Notice) -> Message:
    """`body` has event, key, subject, text and html. A subject never has more than one line."""
    subject = cut(" ".join(headline(notice).split()), _SUBJECT)
    said = facts(notice, _REASON)
    reason, address = said.pop("reason", ""), link(notice)
    rows = [*said.items()] + ([("link", address)] if address else [])
    text = "\n".join([subject, "", *([reason, ""] if reason else []), *_lines(rows)]) + "\n"
    return Message(
        receiver=EMAIL,
        path="",
        body={
            "event": notice.event.value,
            "key": notice.key,
            "subject": subject,
            "text": text,
            "html": _html(subject, reason, rows),
        },
    )


def _lines(rows: list[tuple[str, str]]) -> list[str]:
    return [f"{name}: {value}" for name, value in rows]


def _html(subject: str, reason: str, rows: list[tuple[str, str]]) -> str:
    cells = "".join(
        f"<tr><th align=left valign=top style='padding-right:1em'>{escape(name)}</th>"
        f"<td style='overflow-wrap:anywhere'>{_value(name, value)}</td></tr>"
        for name, value in rows
    )
    said = f"<p style='white-space:pre-wrap'>{escape(reason)}</p>" if reason else ""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(subject)}</title>"
        f"<body style='{_STYLE}'><h1 style='font-size:1.2em'>{escape(subject)}</h1>{said}"
        f"<table>{cells}</table></body></html>"
    )


def _value(name: str, value: str) -> str:
    shown = escape(value)
    return f"<a href='{shown}'>{shown}</a>" if name == "link" else shown
