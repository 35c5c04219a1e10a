"""The words of a notice: its headline, and its text for people of the team and for customers."""

from __future__ import annotations

from datetime import UTC

from tarsrelease.model.notice import Event, Notice

_LINK = 1000
"""Characters of the longest link."""
_HEADLINES = {
    Event.SCHEDULED: "is scheduled",
    Event.STARTED: "has begun",
    Event.STAGE: "is at its next stage",
    Event.HOLD: "holds and waits for a decision",
    Event.WAITING: "waits for an approval",
    Event.PROTECTED: "lost its traffic to protect users",
    Event.ROLLBACK_STARTED: "is being rolled back",
    Event.ROLLBACK: "is rolled back",
    Event.ROLLBACK_FAILED: "could not be rolled back completely",
    Event.PROMOTED: "is promoted",
    Event.COMPLETE: "is complete",
    Event.INCIDENT: "has an incident",
    Event.RESOLVED: "has no incident any more",
    Event.CUSTOMERS: "is available",
    Event.OVERRIDDEN: "has an overridden criterion",
}
_PUBLIC = {
    Event.SCHEDULED: "We will release a new version in this window. No interruption is expected.",
    Event.STARTED: "The release has begun. No interruption is expected.",
    Event.PROMOTED: "The new version serves all requests. We are checking it.",
    Event.COMPLETE: "The release is complete.",
    Event.ROLLBACK_STARTED: "We found a problem after an update and are restoring the previous "
    "version.",
    Event.ROLLBACK: "The previous version is restored. We are watching it.",
    Event.ROLLBACK_FAILED: "We are still restoring the previous version after an update.",
    Event.INCIDENT: "We are investigating a problem.",
    Event.RESOLVED: "The problem is resolved.",
}
"""What customers read: no names of checks, hosts or people."""


def headline(notice: Notice) -> str:
    """One line: event, release, environment, window; or the team's own."""
    if notice.headline:
        return notice.headline
    more = ", ".join(filter(None, (notice.about, window(notice))))
    return (
        f"{notice.application} {notice.release} {_HEADLINES[notice.event]} "
        f"in {notice.environment}{f' ({more})' if more else ''}"
    )


def window(notice: Notice) -> str:
    """``2026-12-01 09:00 to 13:00 UTC``; "" without a planned time."""
    if notice.starts_at is None or notice.ends_at is None:
        return ""
    starts, ends = notice.starts_at.astimezone(UTC), notice.ends_at.astimezone(UTC)
    until = f"{ends:%H:%M}" if ends.date() == starts.date() else f"{ends:%Y-%m-%d %H:%M}"
    return f"{starts:%Y-%m-%d %H:%M} to {until} UTC"


def with_reason(notice: Notice) -> str:
    """The headline with its reason, which is all that a phone shows."""
    return f"{headline(notice)}: {notice.reason}" if notice.reason else headline(notice)


def public(event: Event) -> str | None:
    """The sentence for a status page; None for an event that customers are not told."""
    return _PUBLIC.get(event)


def facts(notice: Notice, most: int = 3000) -> dict[str, str]:
    """What the notice says, by field; only what is not empty. `most`: characters of a field."""
    said = {
        "release": notice.release,
        "environment": notice.environment,
        "run": notice.run,
        "about": notice.about,
        "window": window(notice),
        "reason": notice.reason,
    }
    return {name: cut(value, most) for name, value in said.items() if value}


def link(notice: Notice) -> str:
    """The link to the run; "" for anything but a whole address by http or https."""
    address = notice.link
    whole = address.isprintable() and not set(' <>"`\\') & set(address)
    fits = address.startswith(("https://", "http://")) and len(address) <= _LINK
    return address if whole and fits else ""


def cut(text: str, most: int) -> str:
    """At most `most` characters, of which an emoji is two, as JavaScript and Java count."""
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) <= 2 * most:
        return text
    return units[: 2 * (most - 1)].decode("utf-16-le", "ignore") + "…"
