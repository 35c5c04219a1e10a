"""Atlassian Statuspage: the release's maintenance and incident are found by their metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import Any

from tarsrelease.adapters.channels.posting import ATTEMPTS, Provider, secret
from tarsrelease.model.errors import UsageError
from tarsrelease.model.notice import Event, Message, Notice
from tarsrelease.model.notifications import Statuspage
from tarsrelease.report.notices.statuspage import CREATES, ENDED, STATUSPAGE, statuspage

_NEWEST = 100
_DISTANCE = 1.0
"""Statuspage takes one request a second (developer.statuspage.io, "Rate Limiting")."""


class StatuspageChannel:
    """Updates what the release opened, opens it where an event begins it, or leaves it out."""

    def __init__(self, settings: Statuspage, deadline: float, attempts: int = ATTEMPTS) -> None:
        self._settings = settings
        self._provider = Provider(STATUSPAGE, deadline, distance=_DISTANCE, attempts=attempts)

    def messages(self, notice: Notice, at: datetime, *, keys: bool) -> Sequence[Message]:  # noqa: ARG002
        """See `Channel`. Raises UsageError for a scheduled event without its times."""
        if notice.event is Event.SCHEDULED and not (notice.starts_at and notice.ends_at):
            raise UsageError(
                doing="preparing to notify statuspage",
                found="no start and end of the maintenance",
                expected="both times",
                next_step="add --starts TIME --ends TIME",
            )
        return statuspage(notice, self._settings.components)

    @property
    def variables(self) -> tuple[str | None, ...]:
        """See `Channel`."""
        return (self._settings.token_env,)

    def deliver(self, message: Message) -> None:
        """See `Channel`. An update of something that is not there has nothing to do."""
        body: Any = message.body
        incident = body["incident"]
        found = self._open(incident["metadata"]["tarsrelease"]["key"])
        if found is not None:
            changes = {k: v for k, v in incident.items() if k not in ("name", "metadata")}
            self._request("PATCH", f"/incidents/{found['id']}", {"incident": changes})
        elif incident["status"] in CREATES:
            self._request("POST", "/incidents", body)

    def page(self) -> str:
        """The page's name, to test the token."""
        found = self._request("GET", "", None)
        return str(found.get("name", "")) if isinstance(found, dict) else ""

    def check_components(self) -> None:
        """Raises UsageError if the page lacks a component of the environment file."""
        wanted = self._settings.components
        if not wanted:
            return
        known = self._components()
        if missing := [each for each in wanted if each not in known]:
            raise UsageError(
                doing="checking the components of notifications.statuspage",
                found=f"the page has no component {', '.join(missing)}",
                expected=f"of {', '.join(f'{k} ({name})' for k, name in known.items()) or 'none'}",
                next_step="correct notifications.statuspage.components",
            )

    def _components(self) -> dict[str, str]:
        """The names of the page's components, by id."""
        known: dict[str, str] = {}
        for number in count(1):
            address = f"/components?per_page={_NEWEST}&page={number}"
            listed = self._request("GET", address, None)
            try:
                known |= {str(each["id"]): str(each["name"]) for each in listed}
            except (LookupError, TypeError) as error:
                found = f"a list of components in another shape ({type(error).__name__}: {error})"
                raise self._provider.away(found) from error
            if len(listed) < _NEWEST:
                break
        return known

    def _open(self, key: str) -> Mapping[str, Any] | None:
        """Ours that has not ended; the newest if there are several."""
        listed = self._request("GET", f"/incidents?limit={_NEWEST}", None)
        try:
            for each in listed:
                metadata = (each.get("metadata") or {}).get("tarsrelease") or {}
                if metadata.get("key") == key and each.get("status") not in ENDED:
                    return {"id": str(each["id"])}
        except (LookupError, TypeError, AttributeError) as error:
            found = f"a list of incidents in another shape ({type(error).__name__}: {error})"
            raise self._provider.away(found) from error
        return None

    def _request(self, method: str, path: str, body: object) -> Any:
        address = f"{self._settings.url.rstrip('/')}/v1/pages/{self._settings.page}{path}"
        token = secret(self._settings.token_env, STATUSPAGE)
        more = {} if body is None else {"json": body}
        answer = self._provider.request(
            method, address, headers={"Authorization": f"OAuth {token}"}, **more
        )
        try:
            return answer.json()
        except ValueError:
            raise self._provider.away("an answer that is not JSON") from None
