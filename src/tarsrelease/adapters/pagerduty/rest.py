"""PagerDuty's REST API: active incidents, and who is on call.

See PagerDuty/api-schema, reference/REST: `GET /incidents` and `GET /oncalls`, both paginated with
`offset` and `more`. The key is a read-only one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from tarsrelease.adapters.channels.posting import Provider, secret
from tarsrelease.model.errors import UsageError
from tarsrelease.model.notifications import PagerDuty
from tarsrelease.model.people import ActiveIncident, OnCall

_T = TypeVar("_T")
_NAME = "pagerduty"
_DEADLINE = 20.0
_PAGE = 100
_MOST = 1000
"""Entries; PagerDuty's own limit for `offset` plus `limit` is 10 000."""


class PagerDutyRest:
    """The ports `Incidents` and `Schedules` on one account."""

    def __init__(self, settings: PagerDuty) -> None:
        """Read the token. Raises UsageError if it is not set; sends no request."""
        if settings.token_env is None:
            raise UsageError(
                doing="preparing to query PagerDuty",
                found="notifications.pagerduty has no token_env",
                expected="the variable with a read-only key of the REST API",
                next_step="add token_env to the environment file (docs/readiness.md)",
            )
        self._settings = settings
        self._provider = Provider(_NAME, _DEADLINE)
        self._headers = {
            "Authorization": f"Token token={secret(settings.token_env, _NAME)}",
            "Accept": "application/vnd.pagerduty+json;version=2",
            "Content-Type": "application/json",
        }

    def active(self) -> Sequence[ActiveIncident]:
        """See `Incidents`."""
        asked = [("statuses[]", "triggered"), ("statuses[]", "acknowledged")]
        asked += [("service_ids[]", each) for each in self._settings.services]
        found = self._all("/incidents", "incidents", asked)
        return self._shaped(
            lambda: [
                ActiveIncident(
                    title=str(each.get("title") or each.get("summary") or each["id"]),
                    status=str(each["status"]),
                    link=str(each.get("html_url") or ""),
                )
                for each in found
            ]
        )

    def raised(self, since: datetime, until: datetime) -> int:
        """How many incidents were created in this time, whatever has become of them."""
        asked = [("since", since.isoformat()), ("until", until.isoformat())]
        asked += [("service_ids[]", each) for each in self._settings.services]
        return len(self._all("/incidents", "incidents", asked))

    def on_call(self, at: datetime) -> Sequence[OnCall]:
        """See `Schedules`."""
        until = at + timedelta(seconds=1)  # a period: PagerDuty refuses one without length
        asked = [("since", at.isoformat()), ("until", until.isoformat())]
        policies = self._settings.escalation_policies
        asked += [("escalation_policy_ids[]", each) for each in policies]
        found = self._all("/oncalls", "oncalls", asked)
        return self._shaped(
            lambda: sorted(
                (
                    OnCall(
                        person=_said(each["user"]),
                        policy=_said(each["escalation_policy"]),
                        level=each["escalation_level"],
                        schedule=_said(each["schedule"]) if each.get("schedule") else "",
                        until=datetime.fromisoformat(each["end"]) if each.get("end") else None,
                    )
                    for each in found
                ),
                key=lambda each: (each.policy, each.level, each.person),
            )
        )

    def _all(self, path: str, key: str, asked: Sequence[tuple[str, str]]) -> list[Any]:
        """The entries of every page."""
        address = self._settings.api.rstrip("/") + path
        found: list[Any] = []
        while True:
            page = [("limit", str(_PAGE)), ("offset", str(len(found)))]
            answer = self._provider.request(
                "GET", address, headers=self._headers, params=[*asked, *page]
            )
            try:
                body = answer.json()
                entries, more = list(body[key]), bool(body.get("more"))
            except (ValueError, LookupError, TypeError, AttributeError):
                raise self._provider.away(f"an answer without {key}") from None
            found += entries
            if not more or not entries or len(found) >= _MOST:
                return found

    def _shaped(self, read: Callable[[], Sequence[_T]]) -> Sequence[_T]:
        try:
            return read()
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            found = f"an answer in another shape ({type(error).__name__})"
            raise self._provider.away(found) from error


def _said(reference: Any) -> str:
    return str(reference.get("summary") or reference["id"])
