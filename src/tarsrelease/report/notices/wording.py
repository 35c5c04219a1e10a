"""The words of a notice: its headline, and its text for people of the team and for customers."""

from __future__ import annotations

from tarsrelease.model.notice import Event, Notice

_HEADLINES = {
    Event.SCHEDULED: "is scheduled",
    Event.STARTED: "has begun",
    Event.STAGE: "is at its next stage",
    Event.HOLD: "holds and waits for a decision",
    Event.WAITING: "waits for an approval",
    Event.PROTECTED: "lost its traffic to protect users; the canary is kept",
    Event.ROLLBACK_STARTED: "is being rolled back",
    Event.ROLLBACK: "is rolled back",
    Event.ROLLBACK_FAILED: "could not be rolled back completely",
    Event.PROMOTED: "is promoted",
    Event.COMPLETE: "is complete",
    Event.INCIDENT: "has an incident",
    Event.RESOLVED: "has no incident any more",
    Event.CUSTOMERS: "is available",
    Event.OVERRIDDEN: "may go on although a criterion failed",
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
    """One line: event, release, environment; or the team's own."""
    if notice.headline:
        return notice.headline
    about = f" ({notice.about})" if notice.about else ""
    return (
        f"{notice.application} {notice.release} {_HEADLINES[notice.event]} "
        f"in {notice.environment}{about}"
    )


def with_reason(notice: Notice) -> str:
    """The headline with its reason, which is all that a phone shows."""
    return f"{headline(notice)}: {notice.reason}" if notice.reason else headline(notice)


def public(event: Event) -> str | None:
    """The sentence for a status page; None for an event that customers are not told."""
    return _PUBLIC.get(event)


def facts(notice: Notice, most: int = 3000) -> dict[str, str]:
    """What the notice says, by field; only what is not empty. `most`: characters of the reason."""
    said = {
        "release": notice.release,
        "environment": notice.environment,
        "run": notice.run,
        "about": notice.about,
        "reason": cut(notice.reason, most),
    }
    return {name: value for name, value in said.items() if value}


def link(notice: Notice) -> str:
    """The link to the run; "" for anything but http and https."""
    return notice.link if notice.link.startswith(("https://", "http://")) else ""


def cut(text: str, most: int) -> str:
    """At most `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
