"""PagerDuty's Events API v2: change events for what is planned, alerts for what needs a person.

`summary` has at most 1 024 characters, `dedup_key` 255 (developer.pagerduty.com, "Send an alert
event" and "Send a change event").
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from tarsrelease.model.notice import Event, Message, Notice
from tarsrelease.report.notices.wording import cut, facts, headline, link, with_reason

PAGERDUTY = "pagerduty"
ALERTS = "/v2/enqueue"
CHANGES = "/v2/change/enqueue"
_SUMMARY, _DEDUP = 1024, 255
_SEVERITY = {
    Event.HOLD: "warning",
    Event.PROTECTED: "warning",
    Event.ROLLBACK: "critical",
    Event.ROLLBACK_FAILED: "critical",
    Event.INCIDENT: "error",
}
_SAME = {Event.ROLLBACK_FAILED: Event.ROLLBACK, Event.PROTECTED: Event.HOLD}
"""Events that share the alert of another one."""
_ENDED_BY = {
    Event.COMPLETE: (Event.HOLD,),
    Event.RESOLVED: (Event.HOLD, Event.ROLLBACK, Event.INCIDENT),
}
"""The alerts that an event resolves."""


def pagerduty(notice: Notice, at: datetime, routing_key: str) -> tuple[Message, ...]:
    """A change event for what is planned; an alert for what needs a person.

    The end of a release resolves the alert of a hold in the same run. The alert of a rollback
    stays until a person resolves it, or the same run sends `resolved`.
    """
    if notice.event in _SEVERITY:
        return (_alert(notice, at, routing_key),)
    change = Message(
        receiver=PAGERDUTY,
        path=CHANGES,
        body={
            "routing_key": routing_key,
            "payload": {
                "summary": cut(headline(notice), _SUMMARY),
                "timestamp": at.isoformat(),
                "source": "tarsrelease",
                "custom_details": facts(notice),
            },
            **_links(notice),
        },
    )
    resolved = (
        Message(
            receiver=PAGERDUTY,
            path=ALERTS,
            body={
                "routing_key": routing_key,
                "event_action": "resolve",
                "dedup_key": dedup_key(notice, ended),
            },
        )
        for ended in _ENDED_BY.get(notice.event, ())
    )
    return change, *resolved


def dedup_key(notice: Notice, event: Event) -> str:
    """The key of the alert: one per kind of event in a run; see `_SAME`."""
    same = _SAME.get(event, event)
    parts = (notice.application, notice.environment, notice.release, notice.run, same.value)
    key = "tarsrelease/" + "/".join(parts)
    if len(key) <= _DEDUP:
        return key
    return "tarsrelease/" + hashlib.sha256(key.encode()).hexdigest()


def _alert(notice: Notice, at: datetime, routing_key: str) -> Message:
    return Message(
        receiver=PAGERDUTY,
        path=ALERTS,
        body={
            "routing_key": routing_key,
            "event_action": "trigger",
            "dedup_key": dedup_key(notice, notice.event),
            "client": "tarsrelease",
            "payload": {
                "summary": cut(with_reason(notice), _SUMMARY),
                "source": f"{notice.environment}/{notice.application}",
                "severity": _SEVERITY[notice.event],
                "timestamp": at.isoformat(),
                "component": notice.application,
                "group": notice.environment,
                "class": notice.event.value,
                "custom_details": facts(notice),
            },
            **_links(notice),
        },
    )


def _links(notice: Notice) -> dict[str, object]:
    address = link(notice)
    return {"links": [{"href": address, "text": "the run"}]} if address else {}
