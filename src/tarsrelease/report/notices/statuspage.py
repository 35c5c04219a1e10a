"""Atlassian Statuspage: one maintenance and one incident a release, found again by its metadata.

A maintenance is scheduled, in_progress, verifying or completed, an incident investigating,
identified, monitoring or resolved; a name has at most 255 characters (developer.statuspage.io,
"Incidents").
"""

from __future__ import annotations

from tarsrelease.model.notice import Event, Message, Notice
from tarsrelease.report.notices.wording import cut, public

STATUSPAGE = "statuspage"
MAINTENANCE = "maintenance"
INCIDENT = "incident"
_NAME = 255
_OF_MAINTENANCE = {
    Event.SCHEDULED: "scheduled",
    Event.STARTED: "in_progress",
    Event.PROMOTED: "verifying",
    Event.COMPLETE: "completed",
    Event.ROLLBACK: "completed",
}
_OF_INCIDENT = {
    Event.ROLLBACK_STARTED: "identified",
    Event.ROLLBACK: "monitoring",
    Event.ROLLBACK_FAILED: "identified",
    Event.INCIDENT: "investigating",
    Event.RESOLVED: "resolved",
}
CREATES = frozenset({"scheduled", "investigating", "identified", "monitoring"})
"""The statuses that something new may begin with; the others only update what is there."""
ENDED = frozenset({"completed", "resolved", "postmortem"})


def statuspage(notice: Notice, components: tuple[str, ...] = ()) -> tuple[Message, ...]:
    """The incident first, then the maintenance; none for an event that customers are not told.

    `path` says which; the body is that of the request.
    """
    said = public(notice.event)
    if said is None:
        return ()
    found = []
    for kind, statuses in ((INCIDENT, _OF_INCIDENT), (MAINTENANCE, _OF_MAINTENANCE)):
        status = statuses.get(notice.event)
        if status is not None:
            found.append(_message(notice, kind, status, said, components))
    return tuple(found)


def key(notice: Notice, kind: str) -> str:
    """The same in every run of a release, so that a second run updates what the first made."""
    return "/".join((notice.application, notice.environment, notice.release, kind))


def _message(
    notice: Notice, kind: str, status: str, said: str, components: tuple[str, ...]
) -> Message:
    what = "Release of" if kind == MAINTENANCE else "Problem with"
    incident: dict[str, object] = {
        "name": cut(f"{what} {notice.application} {notice.release}", _NAME),
        "status": status,
        "body": said,
        "metadata": {"tarsrelease": {"key": key(notice, kind)}},
    }
    if components:
        incident["component_ids"] = list(components)
    if status == "scheduled" and notice.starts_at and notice.ends_at:
        incident["scheduled_for"] = notice.starts_at.isoformat()
        incident["scheduled_until"] = notice.ends_at.isoformat()
    return Message(receiver=STATUSPAGE, path=kind, body={"incident": incident})
